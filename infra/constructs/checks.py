"""Checks of the jobs' copies: a schedule for each job, and the state machine that they start."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from aws_cdk import Fn, Stack, TimeZone
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from backups.job import Job
from backups.jobfile.schedule import to_eventbridge
from infra.acknowledged import acknowledge, acknowledge_wildcards
from infra.constructs.foundation import Foundation
from infra.constructs.functions import Functions
from infra.constructs.logs import log_group
from infra.constructs.network import Network
from infra.constructs.schedules import Schedules
from infra.constructs.workers import Workers
from infra.grants import allow
from infra.settings import Settings

DEFINITION = Path(__file__).resolve().parent.parent / "check.asl.json"


_LONGEST_NAME = 64


def schedule_name(job: str) -> str:
    """What the schedule of a job's check is called: with a dot, as no job's own can be."""
    name = f"check.{job}"
    if len(name) <= _LONGEST_NAME:
        return name
    digest = hashlib.sha256(job.encode()).hexdigest()[:8]
    return f"{name[: _LONGEST_NAME - 9]}.{digest}"


class Checks(Construct):
    """The state machine runs the worker's image under a role that reads copies and writes nothing but what it finds."""

    def __init__(  # noqa: PLR0913 - a construct takes its parts by name
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        foundation: Foundation,
        functions: Functions,
        workers: Workers,
        network: Network,
        schedules: Schedules,
    ) -> None:
        super().__init__(scope, id_)
        name = f"{Stack.of(self).stack_name}-checks"
        self._workers = workers
        self._foundation = foundation
        self._roles: dict[str, iam.IRole] = {}
        watch = functions["watch"].function_arn
        definition = DEFINITION.read_text(encoding="utf-8").replace('"arn:aws:', f'"arn:{settings.partition}:')
        self.state_machine = sfn.StateMachine(
            self,
            "StateMachine",
            state_machine_name=name,
            definition_body=sfn.DefinitionBody.from_string(definition),
            definition_substitutions={
                "Watch": watch,
                "Cluster": workers.cluster.attr_arn,
                "Subnets": Fn.join(",", network.subnet_ids),
                "SecurityGroup": network.security_group.security_group_id,
                "AssignPublicIp": "ENABLED" if network.public_addresses else "DISABLED",
            },
            tracing_enabled=True,
            logs=sfn.LogOptions(
                destination=log_group(self, "Log", name="checks", days=settings.log_days, key=foundation.key),
                level=sfn.LogLevel.ALL,
                include_execution_data=False,
            ),
        )
        acknowledge(self.state_machine, {"AwsSolutions-IAM5[Resource::*]": "Log delivery and X-Ray know no resources."})
        self._allow([allow(("lambda:InvokeFunction",), [watch]), foundation.allow_key(), *workers.wait_for_tasks()])
        self._schedules = schedules
        self._role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("scheduler.amazonaws.com"))
        self._role.add_to_policy(foundation.allow_key())

    def add(
        self, scope: Construct, *, job: Job, role: iam.IRole, task_definition: str, file: Mapping[str, str]
    ) -> None:
        """Have the copies of a job checked; ``file`` is its job file's bucket and key."""
        rules = job.settings.verification
        if rules is None:
            return
        self._roles[job.name] = role
        given = {"job": job.name, "task_definition": task_definition, "role": role.role_arn, "job_file": dict(file)}
        schedule = scheduler.Schedule(
            scope,
            "CheckSchedule",
            schedule_name=schedule_name(job.name),
            schedule_group=self._schedules.group,
            description=f"Checks the copies of backup job {job.name}",
            schedule=scheduler.ScheduleExpression.expression(
                to_eventbridge(rules.schedule), TimeZone.of(job.settings.timezone or "UTC")
            ),
            target=targets.StepFunctionsStartExecution(
                self.state_machine,
                role=self._role,
                input=scheduler.ScheduleTargetInput.from_object(given),
                dead_letter_queue=self._foundation.dead_letters,
            ),
        )
        self._schedules.in_group(schedule)

    def finish(self) -> None:
        """Allow what the jobs that were added need."""
        self._allow(self._workers.run_tasks(self._roles, self._roles.values()))

    def _allow(self, statements: Iterable[iam.PolicyStatement]) -> None:
        statements = list(statements)
        for statement in statements:
            self.state_machine.add_to_role_policy(statement)
        acknowledge_wildcards(self.state_machine, statements, "Tasks get their names and revisions when they start.")
