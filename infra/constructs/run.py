"""The state machine that every run of every job goes through; ``state_machine.asl.json`` is its definition."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from aws_cdk import Fn, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from infra.acknowledged import acknowledge, acknowledge_wildcards
from infra.constructs.foundation import Foundation
from infra.constructs.functions import STEPS, Functions
from infra.constructs.logs import log_group
from infra.constructs.network import Network
from infra.constructs.workers import Workers
from infra.grants import allow
from infra.settings import Settings

DEFINITION = Path(__file__).resolve().parent.parent / "state_machine.asl.json"


def definition(partition: str) -> str:
    """The state machine in Amazon States Language, with the names of the partition's services."""
    return DEFINITION.read_text(encoding="utf-8").replace('"arn:aws:', f'"arn:{partition}:')


class Run(Construct):
    """The state machine, and what it may do."""

    def __init__(  # noqa: PLR0913 - a construct takes its parts by name
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        name: str,
        foundation: Foundation,
        functions: Functions,
        workers: Workers,
        network: Network,
    ) -> None:
        super().__init__(scope, id_)
        self._workers = workers
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_name=name,
            definition_body=sfn.DefinitionBody.from_string(definition(settings.partition)),
            definition_substitutions={
                **{function.capitalize(): functions[function].function_arn for function in STEPS},
                "Cluster": workers.cluster.attr_arn,
                "Subnets": Fn.join(",", network.subnet_ids),
                "SecurityGroup": network.security_group.security_group_id,
                "AssignPublicIp": "ENABLED" if network.public_addresses else "DISABLED",
                "DeadLetters": foundation.dead_letters.queue_url,
            },
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=log_group(self, "Log", name="runs", days=settings.log_days, key=foundation.key),
                level=sfn.LogLevel.ALL,
                include_execution_data=False,
            ),
        )
        invoked = [functions[function].function_arn for function in STEPS]
        self._allow(
            [
                allow(("lambda:InvokeFunction",), invoked),
                allow(("s3:GetObject",), [foundation.state.arn_for_objects("runs/*/items.json")]),
                allow(("sqs:SendMessage",), [foundation.dead_letters.queue_arn]),
                foundation.allow_key(),
                *self._of_itself(name),
            ],
            why_wild="Runs, executions and tasks get their names when they start.",
        )
        acknowledge(self.state_machine, {"AwsSolutions-IAM5[Resource::*]": "Log delivery and X-Ray know no resources."})

    def runs_tasks_of(self, jobs: Iterable[str], roles: Iterable[iam.IRole]) -> None:
        """Allow it to run the tasks of these jobs, and to hand these roles to them."""
        why = "Every revision, since a run goes on with the one that it was planned with."
        self._allow(self._workers.run_tasks(jobs, roles), why_wild=why)

    def _of_itself(self, name: str) -> list[iam.PolicyStatement]:
        """What Step Functions needs to wait for tasks, and for the Map's own executions."""
        stack = Stack.of(self)

        def states(resource: str) -> str:
            return stack.format_arn(service="states", resource=resource)

        return [
            *self._workers.wait_for_tasks(),
            allow(("states:StartExecution",), [states(f"stateMachine:{name}")]),
            allow(("states:DescribeExecution", "states:StopExecution"), [states(f"execution:{name}/Sources:*")]),
        ]

    def _allow(self, statements: Sequence[iam.PolicyStatement], *, why_wild: str) -> None:
        for statement in statements:
            self.state_machine.add_to_role_policy(statement)
        acknowledge_wildcards(self.state_machine, statements, why_wild)
