"""The workers: cluster, image, log, and for each job a task definition with a role of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from aws_cdk import Duration, Stack
from aws_cdk import aws_ecr_assets as assets
from aws_cdk import aws_ecs as ecs
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.acknowledged import acknowledge, acknowledge_wildcards
from infra.bundle import ROOT
from infra.constructs.foundation import Foundation
from infra.constructs.hosts import Hosts
from infra.constructs.logs import log_group
from infra.grants import allow
from infra.settings import Settings

CONTAINER = "worker"
"""The state machine names it when it tells a worker which source is its."""

_CPU = {"arm64": ecs.CpuArchitecture.ARM64, "x86_64": ecs.CpuArchitecture.X86_64}
_PLATFORM = {"arm64": assets.Platform.LINUX_ARM64, "x86_64": assets.Platform.LINUX_AMD64}


class Workers(Construct):
    """Where workers run and what they are made of."""

    def __init__(self, scope: Construct, id_: str, *, settings: Settings, foundation: Foundation, hosts: Hosts) -> None:
        super().__init__(scope, id_)
        self._settings = settings
        self._foundation = foundation
        self._hosts = hosts
        self.cluster = ecs.CfnCluster(
            self,
            "Cluster",
            cluster_settings=[ecs.CfnCluster.ClusterSettingsProperty(name="containerInsights", value="enabled")],
        )
        self.image = assets.DockerImageAsset(
            self,
            "Image",
            directory=str(ROOT),
            file=str(Path("worker_image") / "Dockerfile"),
            platform=_PLATFORM[settings.architecture],
        )
        self.log = log_group(self, "Log", name="worker", days=settings.log_days, key=foundation.key)
        self.execution_role = iam.Role(
            self,
            "Start",
            assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"),
            description="Pulls the image, opens the log",
        )
        acknowledge(
            self.execution_role,
            {"AwsSolutions-IAM5[Resource::*]": "ecr:GetAuthorizationToken knows no resources."},
        )

    def family(self, job: str) -> str:
        """What the task definitions of a job are called; each deployment adds a revision."""
        return f"{Stack.of(self).stack_name}-{job}"

    def task_definition(
        self, scope: Construct, *, job: str, statements: Sequence[iam.PolicyStatement]
    ) -> ecs.FargateTaskDefinition:
        """The task of one job. Its role writes the run's records and does what ``statements`` say, nothing else."""
        role = iam.Role(scope, "Role", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        records = self._records(job)
        for statement in (*records, *statements):
            role.add_to_policy(statement)
        acknowledge_wildcards(role, records, "Runs and sources get their names when they run.")
        acknowledge_wildcards(role, statements, "The copies of one host, whose days and sources come and go.")
        task = ecs.FargateTaskDefinition(
            scope,
            "Task",
            family=self.family(job),
            cpu=self._settings.worker_cpu,
            memory_limit_mib=self._settings.worker_memory,
            ephemeral_storage_gib=self._settings.worker_disk if self._settings.worker_disk > 21 else None,
            execution_role=self.execution_role,
            task_role=role,
            runtime_platform=ecs.RuntimePlatform(
                cpu_architecture=_CPU[self._settings.architecture],
                operating_system_family=ecs.OperatingSystemFamily.LINUX,
            ),
        )
        task.add_container(
            "Worker",
            container_name=CONTAINER,
            image=ecs.ContainerImage.from_docker_image_asset(self.image),
            environment={
                "BACKUPS_STATE_BUCKET": self._foundation.state.bucket_name,
                "BACKUPS_HOST_DOCUMENT": self._hosts.folder_document.ref,
                "BACKUPS_PROGRESS_SECONDS": f"{self._settings.progress_seconds:g}",
            },
            logging=ecs.LogDriver.aws_logs(log_group=self.log, stream_prefix=job),
            # On a stop it aborts uploads and writes its record; Fargate grants two minutes at most.
            stop_timeout=Duration.seconds(120),
            linux_parameters=ecs.LinuxParameters(scope, "Init", init_process_enabled=True),
        )
        acknowledge(task, {"AwsSolutions-ECS2": "Names and numbers only; secrets are read by the worker itself."})
        return task

    def check_role(
        self, scope: Construct, *, job: str, statements: Sequence[iam.PolicyStatement], file: str
    ) -> iam.Role:
        """What the check of a job's copies runs as, in the place of the task's own role: it reads ``file``, does what
        ``statements`` say, and writes what it finds.
        """
        role = iam.Role(scope, "CheckRole", assumed_by=iam.ServicePrincipal("ecs-tasks.amazonaws.com"))
        state = self._foundation.state
        status, ledgers = f"verification/{job}.json", f"verification/{job}/*"
        found = [state.arn_for_objects(status), state.arn_for_objects(ledgers)]
        records = [
            allow(("s3:GetObject",), [file]),
            allow(("s3:GetObject", "s3:PutObject"), found),
            allow(("s3:ListBucket",), [state.bucket_arn], {"StringLike": {"s3:prefix": [status, ledgers]}}),
            self._foundation.allow_key(),
        ]
        for statement in (*records, *statements):
            role.add_to_policy(statement)
        acknowledge_wildcards(role, records, "Destinations and sources of one job, by their names.")
        acknowledge_wildcards(role, statements, "The copies of one host, whose days and sources come and go.")
        return role

    def run_tasks(self, jobs: Iterable[str], roles: Iterable[iam.IRole]) -> list[iam.PolicyStatement]:
        """For a state machine that runs the tasks of these jobs and hands these roles to them."""
        stack = Stack.of(self)
        cluster = {"ArnEquals": {"ecs:cluster": self.cluster.attr_arn}}
        tasks = [
            stack.format_arn(service="ecs", resource="task-definition", resource_name=f"{self.family(job)}:*")
            for job in jobs
        ]
        if not tasks:
            return []
        passed = [self.execution_role.role_arn, *(role.role_arn for role in roles)]
        to_tasks = {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
        return [allow(("ecs:RunTask",), tasks, cluster), allow(("iam:PassRole",), passed, to_tasks)]

    def wait_for_tasks(self) -> list[iam.PolicyStatement]:
        """What Step Functions needs to wait for the end of tasks, and to stop them."""
        stack = Stack.of(self)
        running = stack.format_arn(service="ecs", resource="task", resource_name=f"{self.cluster.ref}/*")
        rule = stack.format_arn(service="events", resource="rule", resource_name="StepFunctionsGetEventsForECSTaskRule")
        return [
            allow(("ecs:StopTask", "ecs:DescribeTasks"), [running]),
            allow(("events:PutTargets", "events:PutRule", "events:DescribeRule"), [rule]),
        ]

    def _records(self, job: str) -> list[iam.PolicyStatement]:
        def runs(what: str) -> str:
            return self._foundation.state.arn_for_objects(f"runs/{job}/*/{what}.json")

        return [
            allow(("s3:GetObject",), [runs("job"), runs("plan")]),
            allow(("s3:PutObject",), [runs("results/*"), runs("progress/*")]),
            self._foundation.allow_key(),
        ]
