"""The small Lambdas: one factory with everything that they share, and what each may do."""

from __future__ import annotations

from collections.abc import Iterable

from aws_cdk import AssetHashType, Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from backups.cloud.events import SOURCE, Event, RunFinished, RunStarted, SourceFinished
from infra.acknowledged import acknowledge, acknowledge_wildcards
from infra.bundle import make_bundle
from infra.constructs.foundation import Foundation
from infra.constructs.logs import log_group
from infra.grants import allow
from infra.settings import Settings

STEPS = ("orchestrator", "settle", "janitor", "retention", "report", "notify")
"""What a run is made of."""
NAMES = (*STEPS, "ended", "watch")

_ARCHITECTURES = {"arm64": lambda_.Architecture.ARM_64, "x86_64": lambda_.Architecture.X86_64}
_MINUTES = {
    "orchestrator": 2,
    "settle": 1,
    "janitor": 15,
    "retention": 15,
    "report": 5,
    "notify": 5,
    "ended": 5,
    "watch": 15,
}
_MEMORY = 1024  # MiB: room for the records of ten thousand sources; and the processor's share grows with it
_RUNS = "runs/*"
_NOTICES = "notices/*"
_NOBODY_WAITS = ("orchestrator", "ended")
"""Functions that are invoked without anybody who waits for their answer."""


class Functions(Construct):
    """Every function has a role of its own; what it may do beside its log stands in this file and in grants.py."""

    def __init__(  # noqa: PLR0913 - a construct takes its parts by name
        self,
        scope: Construct,
        id_: str,
        *,
        settings: Settings,
        foundation: Foundation,
        state_machine_arn: str,
        messages_arn: str,
        job_parameters: str,
    ) -> None:
        super().__init__(scope, id_)
        self._settings = settings
        self._foundation = foundation
        bundle = make_bundle(python=settings.bundle_python, platform=settings.platform)
        self._code = lambda_.Code.from_asset(
            str(bundle.path), asset_hash=bundle.digest, asset_hash_type=AssetHashType.CUSTOM
        )
        self._environment = {
            "BACKUPS_STATE_BUCKET": foundation.state.bucket_name,
            "BACKUPS_STATE_MACHINE": state_machine_arn,
            "BACKUPS_MESSAGES": messages_arn,
            "BACKUPS_SCHEDULES": Stack.of(self).stack_name,
            "BACKUPS_JOB_PARAMETERS": job_parameters,
            "POWERTOOLS_SERVICE_NAME": "backups",
            "POWERTOOLS_METRICS_NAMESPACE": "Backups",
        }
        self._own_environment = {"retention": {"BACKUPS_RETENTION_OBJECTS": str(settings.retention_objects)}}
        self._roles: dict[str, iam.Role] = {}
        self.by_name = {name: self._function(name) for name in NAMES}
        self._rights(state_machine_arn, messages_arn, job_parameters)

    def __getitem__(self, name: str) -> lambda_.Function:
        return self.by_name[name]

    def allow(self, name: str, statements: Iterable[iam.PolicyStatement], *, why_wild: str = "") -> None:
        """More rights for one function; ``why_wild`` when they hold wildcards."""
        statements = list(statements)
        for statement in statements:
            self[name].add_to_role_policy(statement)
        if why_wild:
            acknowledge_wildcards(self._roles[name], statements, why_wild)

    def _function(self, name: str) -> lambda_.Function:
        logs = log_group(self, f"{name}-log", name=name, days=self._settings.log_days, key=self._foundation.key)
        role = iam.Role(self, f"{name}-role", assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"))
        logs.grant_write(role)
        function = lambda_.Function(
            self,
            name,
            description=f"Backups: {name}",
            code=self._code,
            handler=f"functions.{name}.handler.handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=_ARCHITECTURES[self._settings.architecture],
            memory_size=_MEMORY,
            timeout=Duration.minutes(_MINUTES[name]),
            environment={**self._environment, **self._own_environment.get(name, {})},
            log_group=logs,
            role=role,
            tracing=lambda_.Tracing.ACTIVE,
            dead_letter_queue=self._foundation.dead_letters if name in _NOBODY_WAITS else None,
        )
        if name in _NOBODY_WAITS:
            function.configure_async_invoke(retry_attempts=2, max_event_age=Duration.hours(6))
        acknowledge(
            function,
            {"AwsSolutions-L1": "Python 3.13 until 3.14 has run the whole suite; AWS supports it until 2029."},
        )
        acknowledge(role, {"AwsSolutions-IAM5[Resource::*]": "X-Ray knows no resources."})
        self._roles[name] = role
        return function

    def _rights(self, state_machine: str, messages: str, parameters: str) -> None:
        """What each function does with the records of runs; grants.py adds what job files name."""
        self._records("orchestrator", write=("job", "plan", "items"))
        self._records("settle", write=("results/*",), look=True)
        self._records("janitor", write=("results/*",), look=True)
        self._records("retention", write=("pruned/*", "retention/*"), look=True)
        self._records("report", write=("job", "report"), look=True)
        self._records("ended", write=("job", "report"), look=True)
        self.allow("ended", [allow(("states:StartExecution",), [messages])])
        self._watch(messages)
        self._events()
        self._records("notify", write=("notified/*",), look=True)
        bucket = self._foundation.state
        told = [
            allow(("s3:GetObject", "s3:PutObject"), [bucket.arn_for_objects("outcomes/*.json")]),
            allow(("s3:PutObject",), [bucket.arn_for_objects("notices/*/notified/*.json")]),
            allow(("s3:GetObject",), [bucket.arn_for_objects(_NOTICES)]),
        ]
        self.allow("notify", told, why_wild="What channels are told, by their names.")
        executions = state_machine.replace(":stateMachine:", ":execution:")
        self.allow(
            "orchestrator",
            [
                allow(("states:StartExecution", "states:ListExecutions"), [state_machine]),
                allow(("states:DescribeExecution",), [f"{executions}:*"]),
            ],
            why_wild="Executions get their names when they start.",
        )
        for name in ("orchestrator", "report", "ended", "watch"):
            resource = parameters.strip("/") + "/*"
            arn = Stack.of(self).format_arn(service="ssm", resource="parameter", resource_name=resource)
            statement = allow(("ssm:GetParameter",), [arn])
            self.allow(name, [statement], why_wild="The parameters of this stack's jobs, and only those.")

    def _events(self) -> None:
        """Each tells of what it is the first to know, and may put nothing else on the bus."""
        bus = Stack.of(self).format_arn(service="events", resource="event-bus", resource_name="default")
        told: dict[str, tuple[type[Event], ...]] = {
            "orchestrator": (RunStarted,),
            "settle": (SourceFinished,),
            "report": (SourceFinished, RunFinished),
            "ended": (SourceFinished, RunFinished),
        }
        for name, kinds in told.items():
            only: dict[str, dict[str, object]] = {
                "ForAllValues:StringEquals": {"events:source": SOURCE},
                "StringEquals": {"events:detail-type": [kind.detail_type for kind in kinds]},
            }
            self.allow(name, [allow(("events:PutEvents",), [bus], only)])

    def _watch(self, messages: str) -> None:
        """It reads what runs and checks left, the jobs and their schedules, and has notices sent."""
        bucket, stack = self._foundation.state, Stack.of(self)
        read = [f"{_RUNS}/report.json", "verification/*.json", "watch/*.json", _NOTICES]
        write = ["watch/*.json", "notices/*/notice.json", "notices/*/job.json"]
        schedules = stack.format_arn(service="scheduler", resource="schedule", resource_name=f"{stack.stack_name}/*")
        self.allow(
            "watch",
            [
                allow(("s3:ListBucket",), [bucket.bucket_arn]),
                allow(("s3:GetObject",), [bucket.arn_for_objects(what) for what in read]),
                allow(("s3:PutObject",), [bucket.arn_for_objects(what) for what in write]),
                allow(("scheduler:GetSchedule",), [schedules]),
                allow(("states:StartExecution",), [messages]),
                self._foundation.allow_key(),
            ],
            why_wild="Jobs and their runs, by their names.",
        )

    def _records(self, name: str, *, write: tuple[str, ...], look: bool = False) -> None:
        bucket = self._foundation.state
        written = [bucket.arn_for_objects(f"runs/*/{what}.json") for what in write]
        statements = [allow(("s3:PutObject",), written)]
        if look:
            # Without the right to list, S3 calls a record that is not there yet forbidden instead of missing.
            statements.append(allow(("s3:ListBucket",), [bucket.bucket_arn]))
            statements.append(allow(("s3:GetObject",), [bucket.arn_for_objects(_RUNS)]))
        statements.append(self._foundation.allow_key())
        self.allow(name, statements, why_wild="Runs and sources get their names when they run.")
