"""The dashboard: a row for each job, which says at a glance how it stands."""

from __future__ import annotations

from collections.abc import Iterable

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from backups.freshness import allowed_age
from backups.job import Job
from infra.constructs.alarms import own_metric

_HEIGHT = 5
_LOOK = Duration.hours(1)
_DAY = Duration.days(1)


class Dashboard(Construct):
    """Numbers of the last success, duration, bytes and copies kept on the left, how they went on the right."""

    def __init__(self, scope: Construct, id_: str, *, jobs: Iterable[Job], window_minutes: int) -> None:
        super().__init__(scope, id_)
        made = cloudwatch.Dashboard(
            self,
            "Dashboard",
            dashboard_name=Stack.of(self).stack_name,
            default_interval=Duration.days(14),
            period_override=cloudwatch.PeriodOverride.INHERIT,
        )
        for job in jobs:
            made.add_widgets(*_row(job, window_minutes))


def _row(job: Job, window_minutes: int) -> tuple[cloudwatch.IWidget, ...]:
    name = job.name
    success = own_metric(
        "HoursSinceSuccess", statistic="Minimum", period=_LOOK, label="hours since the last success", job=name
    )
    seconds = own_metric(
        "RunSeconds", statistic="Maximum", period=_DAY, label="seconds of the last day's run", job=name
    )
    size = own_metric("RunBytes", statistic="Maximum", period=_DAY, label="bytes stored by it", job=name)
    kept = own_metric("CopiesKept", statistic="Minimum", period=_LOOK, label="copies kept, where fewest", job=name)
    age = own_metric(
        "HoursWithoutGoodCopy", statistic="Maximum", period=_LOOK, label="hours without a good copy", job=name
    )
    waits = own_metric(
        "HoursUnverified", statistic="Maximum", period=_LOOK, label="hours since the oldest check", job=name
    )
    limit = allowed_age(job.settings.schedule, window_minutes) if job.settings.schedule else None
    allowed = [cloudwatch.HorizontalAnnotation(value=limit.total_seconds() / 3600, label="late")] if limit else []
    return (
        cloudwatch.SingleValueWidget(title=name, metrics=[success, seconds, size, kept], width=12, height=_HEIGHT),
        cloudwatch.GraphWidget(
            title=f"{name}: age of its copies",
            left=[age],
            right=[waits],
            left_annotations=allowed,
            width=6,
            height=_HEIGHT,
        ),
        cloudwatch.GraphWidget(title=f"{name}: its runs", left=[size], right=[seconds], width=6, height=_HEIGHT),
    )
