"""Schedules of jobs, in a group of the stack's own: each tells the orchestrator which job, and for what time."""

from __future__ import annotations

from collections.abc import Sequence

from aws_cdk import Duration, RemovalPolicy, Stack, TimeZone
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_scheduler as scheduler
from aws_cdk import aws_scheduler_targets as targets
from constructs import Construct

from backups.job import Job
from backups.jobfile.schedule import to_eventbridge
from infra.acknowledged import acknowledge_wildcards
from infra.constructs.foundation import Foundation
from infra.constructs.functions import Functions
from infra.grants import allow
from infra.settings import Settings


class Schedules(Construct):
    """One role for all of them: it may invoke the orchestrator, and put into the queue what it could not deliver."""

    def __init__(
        self, scope: Construct, id_: str, *, settings: Settings, foundation: Foundation, functions: Functions
    ) -> None:
        super().__init__(scope, id_)
        self._window = settings.flexible_minutes
        self._foundation = foundation
        self._orchestrator = functions["orchestrator"]
        self._group = scheduler.ScheduleGroup(self, "Group", schedule_group_name=Stack.of(self).stack_name)
        self._group.apply_removal_policy(RemovalPolicy.DESTROY)
        self._role = iam.Role(self, "Role", assumed_by=iam.ServicePrincipal("scheduler.amazonaws.com"))
        self._role.add_to_policy(foundation.allow_key())
        versions = allow(("lambda:InvokeFunction",), [f"{self._orchestrator.function_arn}:*"])
        acknowledge_wildcards(self._role, [versions], "CDK adds the versions of the function to the function itself.")

    def watch(self, scope: Construct, function: lambda_.Function, jobs: Sequence[str]) -> None:
        """Have the watch look at these jobs every hour. Its schedule has a dot in its name, as no job's can have."""
        role = iam.Role(scope, "Role", assumed_by=iam.ServicePrincipal("scheduler.amazonaws.com"))
        versions = allow(("lambda:InvokeFunction",), [f"{function.function_arn}:*"])
        acknowledge_wildcards(role, [versions], "CDK adds the versions of the function to the function itself.")
        schedule = scheduler.Schedule(
            scope,
            "Schedule",
            schedule_name="hourly.watch",
            schedule_group=self._group,
            description="Looks at every backup job",
            schedule=scheduler.ScheduleExpression.rate(Duration.hours(1)),
            target=targets.LambdaInvoke(
                function,
                role=role,
                input=scheduler.ScheduleTargetInput.from_object({"jobs": list(jobs)}),
                max_event_age=Duration.minutes(30),
                retry_attempts=3,
            ),
        )
        self.in_group(schedule)

    def in_group(self, schedule: scheduler.Schedule) -> None:
        """Make it after its group: CDK writes the group's name into it, from which nothing knows the order."""
        schedule.node.add_dependency(self._group)

    @property
    def group(self) -> scheduler.ScheduleGroup:
        """For other schedules of the stack."""
        return self._group

    def add(self, scope: Construct, job: Job) -> None:
        """The schedule of one job."""
        event = {"job": job.name, "scheduled_time": scheduler.ContextAttribute.scheduled_time}
        window = scheduler.TimeWindow.off()
        if self._window:
            window = scheduler.TimeWindow.flexible(Duration.minutes(self._window))
        schedule = scheduler.Schedule(
            scope,
            "Schedule",
            schedule_name=job.name,
            schedule_group=self._group,
            description=f"Starts backup job {job.name}",
            schedule=scheduler.ScheduleExpression.expression(
                to_eventbridge(job.settings.schedule), TimeZone.of(job.settings.timezone or "UTC")
            ),
            time_window=window,
            target=targets.LambdaInvoke(
                self._orchestrator,
                role=self._role,
                input=scheduler.ScheduleTargetInput.from_object(event),
                dead_letter_queue=self._foundation.dead_letters,
                max_event_age=Duration.hours(6),
                retry_attempts=20,
            ),
        )
        self.in_group(schedule)
