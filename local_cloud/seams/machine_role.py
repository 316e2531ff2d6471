"""Step Functions: what a state machine does is checked against its role, which MiniStack never asks.

Its tasks reach other services inside the server, past the check that requests go through.
"""

from __future__ import annotations

from typing import Any

from local_cloud.seams.patching import Pinned, pinned, service
from local_cloud.seams.scope import current
from local_cloud.settings import ACCOUNT, Settings

Record = dict[str, Any]

_LAMBDA = "states:::lambda:invoke"
_RUN_TASK = "states:::ecs:runTask"
_SEND_MESSAGE = "states:::sqs:sendMessage"


class MachineRole:
    """Refuses what the role of the running state machine does not allow."""

    def __init__(self, sfn: Pinned, ecs: Pinned, evaluator: Pinned, region: str) -> None:
        self._sfn = sfn
        self._ecs = ecs
        self._evaluator = evaluator
        self._region = region
        self._invoke, self._read_items = sfn._invoke_resource, sfn._read_map_items
        self._distributed = sfn._run_distributed_map

    def _demand(self, error: str, action: str, resource: str, **context: str) -> None:
        role_arn = current().role
        role = role_arn.rpartition("/")[2]
        request = self._evaluator.EvalContext(
            principal_arn=f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/states",
            principal_type="AssumedRole",
            principal_account=ACCOUNT,
            action=action,
            resource_arn=resource,
            region=self._region,
            service_context={name.replace("_", ":", 1).lower(): value for name, value in context.items()},
        )
        policies = self._evaluator._gather_role_policies(role, ACCOUNT)
        if role_arn and self._evaluator.evaluate(request, policies).decision != "Allow":
            message = f"{role_arn} is not authorized to perform: {action} on resource: {resource}"
            raise self._sfn._ExecutionError(error, message)

    def invoke(self, resource: str, input_data: Any) -> Any:
        """A task state's call."""
        if _LAMBDA in resource:
            name = str(input_data.get("FunctionName", ""))
            arn = name if name.startswith("arn:") else f"arn:aws:lambda:{self._region}:{ACCOUNT}:function:{name}"
            self._demand("Lambda.AWSLambdaException", "lambda:InvokeFunction", arn)
        elif _RUN_TASK in resource:
            self._demand_task(input_data)
        elif _SEND_MESSAGE in resource:
            queue = str(input_data.get("QueueUrl", "")).rpartition("/")[2]
            self._demand("SQS.AmazonSQSException", "sqs:SendMessage", f"arn:aws:sqs:{self._region}:{ACCOUNT}:{queue}")
        return self._invoke(resource, input_data)

    def _demand_task(self, parameters: Record) -> None:
        definition = self._ecs._task_defs.get(self._ecs._resolve_td_key(parameters.get("TaskDefinition", "")))
        if definition is None:
            return
        error = "ECS.AccessDeniedException"
        cluster = str(parameters.get("Cluster", "default"))
        if not cluster.startswith("arn:"):
            cluster = f"arn:aws:ecs:{self._region}:{ACCOUNT}:cluster/{cluster}"
        self._demand(error, "ecs:RunTask", definition["taskDefinitionArn"], ecs_cluster=cluster)
        own = parameters.get("Overrides", {}).get("TaskRoleArn") or definition.get("taskRoleArn")
        for role in filter(None, (own, definition.get("executionRoleArn"))):
            self._demand(error, "iam:PassRole", role, iam_PassedToService="ecs-tasks.amazonaws.com")

    def read_items(self, reader: Record, effective: Any, ctx: Record) -> list[Any]:
        """The object that a distributed Map reads its items from."""
        where = self._sfn._resolve_params_obj(reader.get("Parameters") or {}, effective, ctx)
        self._demand(
            "States.ItemReaderFailed", "s3:GetObject", f"arn:aws:s3:::{where.get('Bucket')}/{where.get('Key')}"
        )
        items: list[Any] = self._read_items(reader, effective, ctx)
        return items

    def distributed_map(
        self, state_def: Record, raw_input: Any, effective: Any, iterator: Record, execution: Record, ctx: Record
    ) -> Any:
        """Its items are executions of the same state machine."""
        self._demand("States.Permissions", "states:StartExecution", ctx["StateMachine"]["Id"])
        return self._distributed(state_def, raw_input, effective, iterator, execution, ctx)


def install(settings: Settings) -> None:
    """Put the checks in front of the calls."""
    if not settings.enforce_iam:
        return
    sfn, ecs = service("stepfunctions"), service("ecs")
    evaluator = pinned("core.iam_evaluator")
    evaluator.require("EvalContext", "evaluate", "_gather_role_policies")
    ecs.require("_task_defs", "_resolve_td_key")
    role = MachineRole(sfn, ecs, evaluator, settings.region)
    sfn.replace("_invoke_resource", "resource input_data", role.invoke)
    sfn.replace("_read_map_items", "reader effective ctx", role.read_items)
    parameters = "state_def raw_input effective iterator execution ctx"
    sfn.replace("_run_distributed_map", parameters, role.distributed_map)
