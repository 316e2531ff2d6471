"""The States Language where MiniStack is more lenient than Step Functions, or resolves something else.

A state machine that only works here would be found out on AWS, in the night: missing paths, payloads over the limit,
errors that no Catch may see, and the context object inside a distributed Map.
"""

from __future__ import annotations

import json
from typing import Any

from local_cloud.seams.patching import Pinned, service
from local_cloud.settings import Settings

PAYLOAD_LIMIT = 256 * 1024
_UNCATCHABLE = frozenset({"States.Runtime", "States.DataLimitExceeded"})
_WILDCARDS = frozenset({"States.ALL", "States.TaskFailed"})
_BY_PATH = ("MaxConcurrency", "ToleratedFailurePercentage", "ToleratedFailureCount", "TimeoutSeconds")

Record = dict[str, Any]


class StatesLanguage:
    """The stricter functions, each in the place of MiniStack's."""

    def __init__(self, sfn: Pinned) -> None:
        self._sfn = sfn
        self._matches, self._select = sfn._error_matches, sfn._apply_result_selector
        self._resolve, self._parameters = sfn._resolve_params_obj, sfn._apply_parameters
        self._rule, self._read_items, self._walk = sfn._evaluate_rule, sfn._read_map_items, sfn._run_sub_machine
        self._distributed = sfn._run_distributed_map

    def error_matches(self, error_equals: list[str], error: str) -> bool:
        """A wildcard does not match an error of the state machine itself."""
        if error in _UNCATCHABLE:
            return error in error_equals and error not in _WILDCARDS
        return bool(self._matches(error_equals, error))

    def result_selector(self, state_def: Record, data: Any) -> Any:
        """The raw result of a task, a Map or a Parallel: here its size is known."""
        self._limit("The state returned a result", data)
        return self._select(state_def, data)

    def parameters(self, state_def: Record, data: Any, ctx: Record | None = None) -> Any:
        effective = self._parameters(state_def, data, ctx)
        self._limit("The state's input has", effective)
        return effective

    def _limit(self, what: str, data: Any) -> None:
        size = len(json.dumps(data, default=str, ensure_ascii=False).encode())
        if size > PAYLOAD_LIMIT:
            raise self._sfn._ExecutionError("States.DataLimitExceeded", f"{what} {size} bytes, over {PAYLOAD_LIMIT}")

    def resolve_parameters(self, template: Any, data: Any, ctx: Record | None = None) -> Any:
        """A path that leads nowhere is an error; MiniStack passes null on."""
        for key, path in template.items() if isinstance(template, dict) else ():
            if key.endswith(".$") and isinstance(path, str) and path.startswith("$"):
                self._demand(path, key, data, ctx)
        return self._resolve(template, data, ctx)

    def rule(self, rule: Record, data: Any, ctx: Record | None = None) -> bool:
        """A Choice rule compares what is there; only IsPresent may ask for what is not."""
        if isinstance(rule.get("Variable"), str) and "IsPresent" not in rule:
            self._demand(rule["Variable"], "Variable", data, ctx)
        return bool(self._rule(rule, data, ctx))

    def _demand(self, path: str, field: str, data: Any, ctx: Record | None) -> None:
        if path.startswith("$$"):
            data = ctx or {}
        for kind, value in self._sfn._parse_jsonpath_tokens(path.replace("$$", "$", 1)) or []:
            if kind not in ("field", "index"):
                return
            try:
                data = data[value]
            except (KeyError, IndexError, TypeError):
                message = f"The JSONPath '{path}' specified for the field '{field}' could not be found in the input"
                raise self._sfn._ExecutionError("States.Runtime", message) from None

    def read_items(self, reader: Record, effective: Any, ctx: Record) -> list[Any]:
        """A distributed Map's items: anything wrong with the object has the reader's own error name."""
        try:
            items = self._read_items(reader, effective, ctx)
        except (ValueError, TypeError, KeyError, IndexError) as error:
            raise self._sfn._ExecutionError("States.ItemReaderFailed", f"can't read the items: {error}") from error
        if not isinstance(items, list):
            raise self._sfn._ExecutionError("States.ItemReaderFailed", "Attempting to map over non-iterable node.")
        return items

    def distributed_map(
        self, state_def: Record, raw_input: Any, effective: Any, iterator: Record, execution: Record, ctx: Record
    ) -> Any:
        """An ItemSelector that can't be resolved fails the Map; MiniStack calls such an item a success."""
        selector = state_def.get("ItemSelector") or {}
        if selector and state_def.get("ItemReader"):
            for index, item in enumerate(self.read_items(state_def["ItemReader"], effective, ctx)):
                self.resolve_parameters(selector, effective, {**ctx, "Map": {"Item": {"Index": index, "Value": item}}})
        return self._distributed(state_def, raw_input, effective, iterator, execution, ctx)

    def walk(self, states: Record, start_at: str, input_data: Any, execution: Record, ctx: Record) -> Any:
        """Inside a distributed Map the context object tells of the child execution, not of its parent."""
        if execution.get("mapRunArn") and ctx["Execution"]["Id"] != execution["executionArn"]:
            ctx["Execution"] = {
                "Id": execution["executionArn"],
                "Input": input_data,
                "Name": execution["name"],
                "StartTime": execution["startDate"],
            }
        return self._walk(states, start_at, input_data, execution, ctx)

    def with_paths(self, handler: Any) -> Any:
        """MaxConcurrencyPath and its like; MiniStack reads only the fields without Path."""

        def run(state_def: Record, raw_input: Any, execution: Record, ctx: Record) -> Any:
            resolved = {
                field: self._sfn._resolve_path_or_ctx(state_def[f"{field}Path"], raw_input, ctx)
                for field in _BY_PATH
                if f"{field}Path" in state_def
            }
            for field, value in resolved.items():
                if not isinstance(value, (int, float)) or value < 0:
                    raise self._sfn._ExecutionError("States.Runtime", f"{field}Path is not a number: {value!r}")
            return handler({**state_def, **resolved}, raw_input, execution, ctx)

        return run


def install(settings: Settings) -> None:  # noqa: ARG001
    """Replace the lenient functions."""
    sfn = service("stepfunctions")
    sfn.require("_ExecutionError", "_parse_jsonpath_tokens", "_resolve_path_or_ctx")
    language = StatesLanguage(sfn)
    for name in ("_execute_task", "_execute_map"):
        wrapped = language.with_paths(getattr(sfn, name))
        sfn.replace(name, "state_def raw_input execution ctx", wrapped)
    sfn.replace("_error_matches", "error_equals error", language.error_matches)
    sfn.replace("_apply_result_selector", "state_def data", language.result_selector)
    sfn.replace("_apply_parameters", "state_def data ctx", language.parameters)
    sfn.replace("_resolve_params_obj", "template data ctx", language.resolve_parameters)
    sfn.replace("_evaluate_rule", "rule data ctx", language.rule)
    sfn.replace("_read_map_items", "reader effective ctx", language.read_items)
    parameters = "state_def raw_input effective iterator execution ctx"
    sfn.replace("_run_distributed_map", parameters, language.distributed_map)
    sfn.replace("_run_sub_machine", "states start_at input_data execution ctx", language.walk)
