"""One job: its file in S3, its task with its role, what the orchestrator looks up, and its schedule."""

from __future__ import annotations

from aws_cdk import Stack
from aws_cdk import aws_s3_assets as s3_assets
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra import database_grants
from infra.acknowledged import acknowledge_wildcards
from infra.constructs.checks import Checks
from infra.constructs.functions import Functions
from infra.constructs.hosts import WHY_WILD, Hosts
from infra.constructs.schedules import Schedules
from infra.constructs.workers import Workers
from infra.grants import Grants, allow
from infra.jobs import DeployedJob

CONCURRENCY = 10
"""How many sources run at once when the job file does not say."""


class BackupJob(Construct):
    """Everything that exists once for each job file."""

    def __init__(  # noqa: PLR0913 - a construct takes its parts by name
        self,
        scope: Construct,
        id_: str,
        *,
        deployed: DeployedJob,
        functions: Functions,
        workers: Workers,
        hosts: Hosts,
        grants: Grants,
        parameters: str,
        schedules: Schedules,
        checks: Checks,
    ) -> None:
        super().__init__(scope, id_)
        self.name = deployed.name
        job = deployed.job
        # Its key is the hash of its content, so what was planned with it stays what it was.
        file = s3_assets.Asset(self, "File", path=str(deployed.path))
        readable = [f"{file.bucket.bucket_arn}/{file.s3_object_key}"]
        for reader in ("orchestrator", "report", "ended", "watch"):
            functions.allow(reader, [allow(("s3:GetObject",), readable)])
        rights = [*grants.worker(job), *database_grants.worker(Stack.of(self), job, grants.keys)]
        self.task = workers.task_definition(self, job=self.name, statements=rights)
        on_hosts = hosts.worker(job)
        for statement in on_hosts:
            self.task.add_to_task_role_policy(statement)
        acknowledge_wildcards(self.task.task_role, on_hosts, WHY_WILD)
        ssm.StringParameter(
            self,
            "Parameter",
            parameter_name=f"{parameters}{self.name}",
            description=f"What runs backup job {self.name}, and by which file",
            string_value=Stack.of(self).to_json_string(
                {
                    "job_file": {"bucket": file.s3_bucket_name, "key": file.s3_object_key},
                    "task_definition": self.task.task_definition_arn,
                    "concurrency": job.settings.concurrency or CONCURRENCY,
                }
            ),
        )
        if job.settings.schedule:
            schedules.add(self, job)
        if job.settings.verification:
            checks.add(
                self,
                job=job,
                role=workers.check_role(self, job=self.name, statements=grants.check(job), file=readable[0]),
                task_definition=self.task.task_definition_arn,
                file={"bucket": file.s3_bucket_name, "key": file.s3_object_key},
            )
