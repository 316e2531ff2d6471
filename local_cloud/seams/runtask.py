"""Step Functions' ``ecs:runTask`` and ``ecs:runTask.sync``.

MiniStack waits ten minutes at most, calls every exit code a success, and leaves the task running when the execution
has ended.
"""

from __future__ import annotations

import json
from typing import Any

from local_cloud.seams.patching import Pinned, service
from local_cloud.seams.scope import Stopped, current
from local_cloud.settings import Settings

_POLL_SECONDS = 0.05
_OVERRIDES_LIMIT = 8192

Record = dict[str, Any]


def pascal(value: Any) -> Any:
    """The keys as Step Functions gives them: ``taskArn`` becomes ``TaskArn``."""
    if isinstance(value, dict):
        return {key[:1].upper() + key[1:]: pascal(inner) for key, inner in value.items()}
    return [pascal(inner) for inner in value] if isinstance(value, list) else value


class RunTask:
    """Starts a task, and with ``.sync`` waits for it: any exit code but 0 is States.TaskFailed."""

    def __init__(self, sfn: Pinned, ecs: Pinned) -> None:
        self._sfn = sfn
        self._ecs = ecs

    def __call__(self, resource: str, parameters: Record) -> Any:
        self._check_types(parameters)
        request = self._sfn._pascal_to_camel(parameters)
        self._check_request(request)
        answer = self._call(self._ecs._run_task, {**request, "startedBy": "AWS Step Functions"})
        if answer["failures"]:
            raise self._sfn._ExecutionError("ECS.AmazonECSException", json.dumps(pascal(answer["failures"])))
        if not resource.endswith(".sync"):
            return pascal(answer)
        return self._wait(request.get("cluster", "default"), answer["tasks"][0]["taskArn"])

    def _check_types(self, parameters: Record) -> None:
        for override in parameters.get("Overrides", {}).get("ContainerOverrides", []):
            for variable in override.get("Environment", []):
                if not all(isinstance(value, str) for value in variable.values()):
                    name = variable.get("Name")
                    raise self._sfn._ExecutionError(
                        "States.Runtime", f"The value for the field 'Value' of {name} must be a STRING"
                    )

    def _check_request(self, request: Record) -> None:
        size = len(json.dumps(request.get("overrides", {}), separators=(",", ":")))
        if size > _OVERRIDES_LIMIT:
            self._refuse(f"Overrides are {size} characters long, at most {_OVERRIDES_LIMIT} are allowed")
        definition = self._ecs._task_defs.get(self._ecs._resolve_td_key(request.get("taskDefinition", ""))) or {}
        if definition.get("networkMode") == "awsvpc" and not request.get("networkConfiguration"):
            self._refuse("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
        known = {one["name"] for one in definition.get("containerDefinitions", [])}
        for override in request.get("overrides", {}).get("containerOverrides", []):
            if definition and override.get("name") not in known:
                self._refuse(f"Override for container named {override.get('name')} is not a container in the task")

    def _refuse(self, message: str) -> None:
        raise self._sfn._ExecutionError("ECS.InvalidParameterException", message)

    def _call(self, action: Any, request: Record) -> Record:
        status, _, body = action(request)
        answer: Record = json.loads(body)
        if status >= 400:
            name = str(answer.get("__type", "AmazonECSException")).rpartition("#")[2]
            raise self._sfn._ExecutionError(f"ECS.{name}", answer.get("message", ""))
        return answer

    def _wait(self, cluster: str, arn: str) -> Record:
        scope = current()
        try:
            while True:
                task = self._call(self._ecs._describe_tasks, {"cluster": cluster, "tasks": [arn]})["tasks"][0]
                if task["lastStatus"] == "STOPPED":
                    break
                scope.sleep(_POLL_SECONDS)
        except Stopped:
            reason = "Task stopped because the Step Functions execution ended"
            self._ecs._stop_task({"cluster": cluster, "task": arn, "reason": reason})
            raise
        described: Record = pascal(task)
        if any(container.get("exitCode") != 0 for container in task["containers"]):
            raise self._sfn._ExecutionError("States.TaskFailed", json.dumps(described, default=str))
        return described


def install(settings: Settings) -> None:  # noqa: ARG001
    """Replace the integration, after the seam of ECS, whose StopTask it uses."""
    sfn, ecs = service("stepfunctions"), service("ecs")
    sfn.require("_pascal_to_camel", "_ExecutionError")
    ecs.require("_run_task", "_describe_tasks", "_stop_task", "_task_defs", "_resolve_td_key")
    sfn.replace_entry("_SERVICE_DISPATCH", "arn:aws:states:::ecs:runTask", RunTask(sfn, ecs))
