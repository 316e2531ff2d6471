"""The janitor's rights and its hour. The state machine asks it too, after a worker that may have left something."""

from __future__ import annotations

from collections.abc import Iterable

from aws_cdk import Duration, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from constructs import Construct

from backups.job import Job
from backups.rds.naming import EXPIRES_TAG, RUN_TAG
from backups.staging import PREFIX as STAGING
from infra import database_grants
from infra.acknowledged import acknowledge_wildcards
from infra.constructs.foundation import Foundation
from infra.constructs.functions import Functions
from infra.constructs.schedules import Schedules
from infra.grants import Grants, allow

SCHEDULE = "hourly.janitor"
"""No job's name can have a dot."""

_WHY = "What is left behind has no names of its own: it is known by its tags, its prefix and its age."


class Janitor(Construct):
    """May delete temporary instances, which it knows by their tags, staged objects and unfinished uploads."""

    def __init__(  # noqa: PLR0913 - a construct takes its parts by name
        self,
        scope: Construct,
        id_: str,
        *,
        jobs: Iterable[Job],
        foundation: Foundation,
        functions: Functions,
        schedules: Schedules,
        grants: Grants,
    ) -> None:
        super().__init__(scope, id_)
        jobs = list(jobs)
        self._stack = Stack.of(self)
        places = grants.places(jobs)
        regions = sorted({database_grants.region(self._stack, one) for one in database_grants.databases(jobs)})
        function = functions["janitor"]
        function.add_environment("BACKUPS_DATABASE_REGIONS", ",".join(regions))
        self._partition = self._stack.partition
        functions.allow(
            "janitor",
            [*self._databases(regions), *self._uploads(places), *self._staging(foundation)],
            why_wild=_WHY,
        )
        role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("scheduler.amazonaws.com"))
        versions = allow(("lambda:InvokeFunction",), [f"{function.function_arn}:*"])
        acknowledge_wildcards(role, [versions], "CDK adds the versions of the function to the function itself.")
        event = {"uploads": [{"bucket": bucket, "prefix": prefix} for bucket, prefix in places]}
        schedule = scheduler.Schedule(
            self,
            "Schedule",
            schedule_name=SCHEDULE,
            schedule_group=schedules.group,
            description="Removes what workers left behind",
            schedule=scheduler.ScheduleExpression.rate(Duration.hours(1)),
            target=targets.LambdaInvoke(
                function,
                role=role,
                input=scheduler.ScheduleTargetInput.from_object(event),
                max_event_age=Duration.minutes(30),
                retry_attempts=3,
            ),
        )
        schedules.in_group(schedule)

    def _databases(self, regions: Iterable[str]) -> list[iam.PolicyStatement]:
        """Look at everything, delete what has both the name and the tags of a temporary one."""
        regions = list(regions)
        if not regions:
            return []
        tagged = {"StringLike": {f"aws:ResourceTag/{tag}": "*" for tag in (RUN_TAG, EXPIRES_TAG)}}
        targets = [arn for where in regions for arn in database_grants.temporary(self._stack, where, "db", "cluster")]
        return [
            allow(("rds:DescribeDBInstances", "rds:DescribeDBClusters"), ["*"]),
            allow(("rds:DeleteDBInstance", "rds:DeleteDBCluster"), targets, tagged),
        ]

    def _uploads(self, places: Iterable[tuple[str, str]]) -> list[iam.PolicyStatement]:
        """End uploads of the jobs' hosts; what was stored whole is out of reach."""
        places = list(places)
        if not places:
            return []
        listed = [f"arn:{self._partition}:s3:::{bucket}" for bucket in sorted({bucket for bucket, _ in places})]
        ended = [f"arn:{self._partition}:s3:::{bucket}/{prefix}*" for bucket, prefix in places]
        return [
            allow(("s3:ListBucketMultipartUploads",), listed),
            allow(("s3:AbortMultipartUpload",), ended),
        ]

    def _staging(self, foundation: Foundation) -> list[iam.PolicyStatement]:
        bucket = foundation.state
        return [
            allow(("s3:ListBucketMultipartUploads",), [bucket.bucket_arn]),
            allow(("s3:AbortMultipartUpload",), [bucket.arn_for_objects("*")]),
            allow(("s3:DeleteObject",), [bucket.arn_for_objects(f"{STAGING}*")]),
        ]
