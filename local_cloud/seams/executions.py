"""Step Functions' executions: names are unique as on AWS, and an execution that ends takes its work with it."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from local_cloud.seams.patching import Pinned, service
from local_cloud.seams.scope import Scope, Stopped, current, enter
from local_cloud.settings import Settings

Record = dict[str, Any]
Reply = tuple[int, dict[str, str], bytes]

# What AWS refuses in a name: white space, brackets, wildcards, special and control characters.
_NAME = re.compile(r"[^\s<>{}\[\]?*\"#%\\^|~`$&,;:/\x00-\x1f\x7f-\x9f]{1,80}")
_HANDLERS = {
    "_execute_pass": "state_def raw_input ctx",
    "_execute_choice": "state_def raw_input ctx",
    "_execute_wait": "state_def raw_input ctx",
    "_execute_task": "state_def raw_input execution ctx",
    "_execute_parallel": "state_def raw_input execution ctx",
    "_execute_map": "state_def raw_input execution ctx",
}


class Executions:
    """StartExecution, StopExecution, and the time limits of executions and tasks."""

    def __init__(self, sfn: Pinned) -> None:
        self._sfn = sfn
        self._scopes: dict[str, Scope] = {}
        self._start, self._stop = sfn._start_execution, sfn._stop_execution
        self._run, self._fail = sfn._run_execution, sfn._fail_execution
        self._callback = sfn._invoke_with_callback

    def start(self, data: Record) -> Reply:
        """A name is used once, but repeating a running execution's start with the same input is answered the same."""
        name = data.get("name")
        if name is not None and not _NAME.fullmatch(name):
            return self._error("InvalidName", f"Invalid Name: '{name}'")
        try:
            json.loads(data.get("input") or "{}")
        except ValueError:
            return self._error("InvalidExecutionInput", "Invalid State Machine Execution Input: not JSON")
        existing = self._existing(data)
        same = existing is not None and existing["status"] == "RUNNING"
        if existing is not None and same and existing["input"] == data.get("input", "{}"):
            answer: Reply = self._sfn.json_response(
                {"executionArn": existing["executionArn"], "startDate": existing["startDate"]}
            )
            return answer
        started: Reply = self._start(data)
        return started

    def _existing(self, data: Record) -> Record | None:
        machine = self._sfn._state_machines.get(data.get("stateMachineArn", ""))
        if machine is None or not data.get("name"):
            return None
        arn = f"{machine['stateMachineArn'].replace(':stateMachine:', ':execution:')}:{data['name']}"
        found: Record | None = self._sfn._executions.get(arn)
        return found

    def _error(self, code: str, message: str) -> Reply:
        reply: Reply = self._sfn.error_response_json(code, message, 400)
        return reply

    def stop(self, data: Record) -> Reply:
        """ABORTED at once; what the execution started ends right after."""
        reply: Reply = self._stop(data)
        if reply[0] == 200 and (scope := self._scopes.get(data.get("executionArn", ""))):
            scope.close()
        return reply

    def run(self, exec_arn: str) -> None:
        """Walk the states in a scope of their own, which ends with the state machine's TimeoutSeconds."""
        execution = self._sfn._executions.get(exec_arn)
        if execution is None:
            return
        machine = self._sfn._state_machines.get(execution["stateMachineArn"]) or {}
        self._scopes[exec_arn] = scope = Scope(role=machine.get("roleArn", ""))
        enter(scope)
        timer = self._time_limit(execution, machine, scope)
        try:
            with contextlib.suppress(Stopped):
                self._run(exec_arn)
        finally:
            if timer:
                timer.cancel()
            if execution["status"] in ("ABORTED", "TIMED_OUT"):
                self._abort_children(exec_arn)

    def _time_limit(self, execution: Record, machine: Record, scope: Scope) -> threading.Timer | None:
        seconds = json.loads(machine.get("definition", "{}")).get("TimeoutSeconds")
        if seconds is None:
            return None
        timer = threading.Timer(seconds, copy_context().run, [self._time_out, execution, scope])
        timer.daemon = True
        timer.start()
        return timer

    def _time_out(self, execution: Record, scope: Scope) -> None:
        if execution["status"] != "RUNNING":
            return
        execution.update(status="TIMED_OUT", error="States.Timeout", stopDate=self._sfn.now_iso())
        details = {"executionTimedOutEventDetails": {"error": "States.Timeout", "cause": ""}}
        self._sfn._add_event(execution, "ExecutionTimedOut", details)
        self._sfn._emit_execution_status_event(execution)
        scope.close()

    def _abort_children(self, exec_arn: str) -> None:
        for run in [one for one in self._sfn._map_runs.values() if one["executionArn"] == exec_arn]:
            run["status"] = "ABORTED"
            for child in list(self._sfn._executions.values()):
                if child.get("mapRunArn") == run["mapRunArn"] and child["status"] == "RUNNING":
                    child.update(status="ABORTED", stopDate=self._sfn.now_iso())

    def fail(self, execution: Record, error: str, cause: str) -> None:
        """An execution that was stopped or timed out meanwhile keeps that end."""
        if execution["status"] == "RUNNING":
            self._fail(execution, error, cause)

    def sleep(self, seconds: float) -> None:
        """A Wait state or the pause before a retry, which ends early with its execution."""
        current().sleep(seconds * self._sfn._SFN_WAIT_SCALE)

    def with_timeout(self, resource: str, input_data: Record, timeout: float) -> Any:
        """Run a task that has TimeoutSeconds; what it started is stopped when the time is over."""
        scope = Scope(current())

        def work() -> Any:
            enter(scope)
            return self._sfn._invoke_resource(resource, input_data)

        pool = ThreadPoolExecutor(max_workers=1)
        future = pool.submit(copy_context().run, work)
        pool.shutdown(wait=False)
        try:
            return future.result(timeout=timeout)
        except TimeoutError:
            raise self._sfn._ExecutionError("States.Timeout", f"Task timed out after {timeout} seconds") from None
        finally:
            scope.close()

    def callback(self, resource: str, input_data: Record, token: str, state_def: Record) -> Any:
        """Wait for a task token, no longer than HeartbeatSeconds without a heartbeat."""
        scope = Scope(current())
        limit = state_def.get("HeartbeatSeconds")
        watch = copy_context().run
        threading.Thread(target=watch, args=(self._watch_token, token, limit, scope), daemon=True).start()
        try:
            result = self._callback(resource, input_data, token, state_def)
            current().check()
            return result
        finally:
            scope.close()

    def _watch_token(self, token: str, limit: float | None, scope: Scope) -> None:
        waited, step, heartbeat = 0.0, 0.05, None
        with contextlib.suppress(Stopped):
            while limit is None or waited < limit:
                scope.sleep(step)
                beat = (self._sfn._task_tokens.get(token) or {}).get("heartbeat")
                waited, heartbeat = (0.0, beat) if beat != heartbeat else (waited + step, heartbeat)
        if entry := self._sfn._task_tokens.get(token):
            entry["error"] = {"Error": "States.HeartbeatTimeout", "Cause": f"no heartbeat for {limit} seconds"}
            entry["event"].set()

    def guarded(self, handler: Any) -> Any:
        """A state's handler that is not entered once the execution has ended."""

        def enter_state(*arguments: Any) -> Any:
            current().check()
            return handler(*arguments)

        return enter_state


def install(settings: Settings) -> None:  # noqa: ARG001
    """Replace how executions start, end and wait."""
    sfn = service("stepfunctions")
    sfn.require("_state_machines", "_executions", "_map_runs", "_task_tokens", "_ExecutionError", "_SFN_WAIT_SCALE")
    sfn.require("_invoke_resource", "_add_event", "_emit_execution_status_event", "now_iso", "json_response")
    executions = Executions(sfn)
    for name, parameters in _HANDLERS.items():
        sfn.replace(name, parameters, executions.guarded(getattr(sfn, name)))
    sfn.replace("_start_execution", "data", executions.start)
    sfn.replace("_stop_execution", "data", executions.stop)
    sfn.replace("_run_execution", "exec_arn", executions.run)
    sfn.replace("_fail_execution", "execution error cause", executions.fail)
    sfn.replace("_scaled_sleep", "seconds", executions.sleep)
    sfn.replace("_invoke_resource_with_timeout", "resource input_data timeout", executions.with_timeout)
    sfn.replace("_invoke_with_callback", "resource input_data token state_def", executions.callback)
