"""Alarms: the description of each links its section of the manual, with its meaning, first look and way out."""

from __future__ import annotations

import math

from aws_cdk import Duration
from aws_cdk import aws_cloudwatch as cloudwatch
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sqs as sqs
from aws_cdk import aws_stepfunctions as sfn
from constructs import Construct

from backups.freshness import allowed_age
from backups.job import Job

_PERIOD = Duration.minutes(5)
_TWO_LOOKS = Duration.hours(2)
"""The watch looks every hour: within two of them there is a value, or the watch is dead."""
_ABOVE = cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD
_AT_LEAST = cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
_BELOW = cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD
_SILENCE_IS_GOOD = cloudwatch.TreatMissingData.NOT_BREACHING
_SILENCE_IS_BAD = cloudwatch.TreatMissingData.BREACHING
_SILENCE_CHANGES_NOTHING = cloudwatch.TreatMissingData.IGNORE


def own_metric(
    name: str, *, statistic: str, period: Duration = _PERIOD, label: str | None = None, **dimensions: str
) -> cloudwatch.Metric:
    """A metric of functions/metrics.py."""
    return cloudwatch.Metric(
        namespace="Backups",
        metric_name=name,
        dimensions_map={**dimensions, "service": "backups"},
        statistic=statistic,
        period=period,
        label=label,
    )


class Alarms(Construct):
    """Everything that a person must hear of, told to one topic."""

    def __init__(self, scope: Construct, id_: str, *, topic: sns.ITopic, manual: str) -> None:
        super().__init__(scope, id_)
        self._action = actions.SnsAction(topic)
        self._manual = manual

    def watch_runs(self, machine: sfn.StateMachine) -> None:
        """Runs that ended badly, were stopped, or never ended."""
        failed, timed_out = machine.metric_failed(period=_PERIOD), machine.metric_timed_out(period=_PERIOD)
        self._count("ExecutionsFailed", "ExecutionsFailed", failed, "A run failed, wholly or partly")
        self._count("ExecutionsTimedOut", "ExecutionsTimedOut", timed_out, "A run took more than three days")
        aborted = machine.metric_aborted(period=_PERIOD)
        self._count("ExecutionsAborted", "ExecutionsAborted", aborted, "Someone stopped a run")

    def watch_checks(self, machine: sfn.StateMachine) -> None:
        """Checks that found something, or broke off."""
        failed = machine.metric_failed(period=_PERIOD)
        self._count("ChecksFailed", "ChecksFailed", failed, "A check of copies found something, or broke off")
        timed_out = machine.metric_timed_out(period=_PERIOD)
        self._count("ChecksTimedOut", "ChecksFailed", timed_out, "A check of copies took more than a day")

    def watch_function(self, name: str, function: lambda_.Function) -> None:
        """Errors and throttling of one function."""
        self._count(f"{name}Errors", "Errors", function.metric_errors(period=_PERIOD), f"Function {name} failed")
        throttles = function.metric_throttles(period=_PERIOD)
        self._count(f"{name}Throttles", "Throttles", throttles, f"Function {name} was held back")

    def watch_queue(self, queue: sqs.Queue) -> None:
        """Events and messages that could not be delivered."""
        metric = queue.metric_approximate_number_of_messages_visible(period=_PERIOD, statistic="Maximum")
        self._count("DeadLetters", "DeadLetters", metric, "An event or a message could not be delivered")

    def watch_instances(self) -> None:
        """Temporary instances that a worker left behind, and the janitor found."""
        metric = own_metric("TemporaryInstancesRemoved", statistic="Sum")
        meaning = "A temporary database instance was left behind and removed"
        self._count("TemporaryInstances", "TemporaryInstances", metric, meaning)

    def watch_the_watch(self) -> None:
        """The watch itself: nobody else would notice that it is dead."""
        self._alarm(
            "WatchStopped",
            "WatchStopped",
            own_metric("Looks", statistic="Sum", period=_TWO_LOOKS),
            "The watch has not looked at every job for two hours, so nobody would notice a late backup",
            (_BELOW, 1, _SILENCE_IS_BAD),
        )

    def watch_job(self, job: Job, *, window_minutes: int) -> None:
        """Runs of a job, what its retention could not remove, and the age of its copies if a schedule bounds it."""
        name = job.name
        for section, metric, meaning in (
            ("RunsFailed", "RunsFailed", "stored nothing"),
            ("RunsPartlyFailed", "RunsPartlyFailed", "did not store everything"),
            ("RemovalsRefused", "RemovalsRefused", "could not remove old copies"),
        ):
            counted = own_metric(metric, statistic="Sum", job=name)
            self._count(f"{name}-{section}", section, counted, f"Backup job {name} {meaning}")
        self._watch_copies(job)
        limit = allowed_age(job.settings.schedule, window_minutes) if job.settings.schedule else None
        if limit:
            hours = math.ceil(limit.total_seconds() / 3600)
            self._alarm(
                f"{name}-Late",
                "Late",
                own_metric("HoursWithoutGoodCopy", statistic="Maximum", period=_TWO_LOOKS, job=name),
                f"Backup job {name} has had no good copy at some destination for more than {hours} h",
                # A new job has no value until the watch looks at it; that the watch is dead, WatchStopped says.
                (_ABOVE, hours, _SILENCE_CHANGES_NOTHING),
            )

    def _watch_copies(self, job: Job) -> None:
        """Copies that a check has not found good, or that wait too long for one."""
        if job.settings.verification is None:
            return
        days = job.settings.verification.every_days
        for id_, metric, limit, meaning in (
            ("CopiesDamaged", "CopiesDamaged", 0, "has copies that are damaged or missing"),
            ("CopiesUnreadable", "CopiesUnreadable", 0, "has copies that could not be read back"),
            ("Unverified", "HoursUnverified", days * 24, f"has a copy that was not read back for {days} days"),
        ):
            self._alarm(
                f"{job.name}-{id_}",
                id_,
                own_metric(metric, statistic="Maximum", period=_TWO_LOOKS, job=job.name),
                f"Backup job {job.name} {meaning}",
                (_ABOVE, limit, _SILENCE_IS_GOOD),
            )

    def _count(self, id_: str, section: str, metric: cloudwatch.IMetric, meaning: str) -> None:
        """One of these is one too many."""
        self._alarm(id_, section, metric, meaning, (_AT_LEAST, 1, _SILENCE_IS_GOOD))

    def _alarm(
        self,
        id_: str,
        section: str,
        metric: cloudwatch.IMetric,
        meaning: str,
        rule: tuple[cloudwatch.ComparisonOperator, float, cloudwatch.TreatMissingData],
    ) -> None:
        operator, threshold, missing = rule
        alarm = cloudwatch.Alarm(
            self,
            id_,
            alarm_description=f"{meaning}. What to do: {self._manual}#{section.lower()}",
            metric=metric,
            threshold=threshold,
            evaluation_periods=1,
            comparison_operator=operator,
            treat_missing_data=missing,
        )
        alarm.add_alarm_action(self._action)
        alarm.add_ok_action(self._action)
