"""What the functions count in CloudWatch, in namespace Backups. Alarms and the dashboard of infra/ know these names."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from backups.cloud.watch import Look
from backups.records import Outcome, RunReport
from backups.verification.status import Verification

metrics = Metrics(namespace="Backups", service="backups")

Values = dict[str, tuple[MetricUnit, float]]

_HOUR = 3600
_MOST_PLACES = 100
"""Sources and destinations of a job with metrics of their own; CloudWatch is paid for each."""


def count_run(report: RunReport) -> None:
    """A run that ended: how, how long it took, what it stored, and what retention was refused."""
    failed, partly = report.outcome is Outcome.FAILED, report.outcome is Outcome.PARTIAL
    refused = sum(record.refused_count + bool(record.error) for record in report.pruned)
    counts = {
        "Runs": 1,
        "RunsNotStored": int(failed or partly),
        "RunsFailed": int(failed),
        "RunsPartlyFailed": int(partly),
        "RemovalsRefused": refused,
    }
    values: Values = {name: (MetricUnit.Count, value) for name, value in counts.items()}
    if report.outcome is not Outcome.SKIPPED:
        values["RunSeconds"] = (MetricUnit.Seconds, (report.finished - report.started).total_seconds())
        values["RunBytes"] = (MetricUnit.Bytes, sum(result.size for result in report.results))
    _send({"job": report.job}, values)


def count_state(look: Look, now: dt.datetime) -> None:
    """How a job stands, between its runs: as a whole by the worst of its places, and by place while these are few."""
    places, job = look.seen.places, look.seen.job
    kept = [place.kept for place in places if place.kept is not None]
    values: Values = {
        "HoursWithoutGoodCopy": (MetricUnit.NoUnit, max((_hours(place.age(now)) for place in places), default=0.0)),
        "HoursSinceSuccess": (MetricUnit.NoUnit, _hours(now - (look.seen.success or look.seen.since))),
        "Problems": (MetricUnit.Count, len(look.found)),
    }
    if kept:
        values["CopiesKept"] = (MetricUnit.Count, min(kept))
    if look.verification is not None:
        values |= _of_verification(look.verification, now, look.new_check)
    _send({"job": job}, values)
    for place in places if len(places) <= _MOST_PLACES else ():
        values = {"HoursWithoutGoodCopy": (MetricUnit.NoUnit, _hours(place.age(now)))}
        if place.copies:
            values["CopyBytes"] = (MetricUnit.Bytes, place.copies[0].size)
        if place.kept is not None:
            values["CopiesKept"] = (MetricUnit.Count, place.kept)
        _send({"job": job, "source": place.source, "destination": place.destination}, values)


def count_look() -> None:
    """Every job was looked at. An alarm rings when this stays away."""
    _send({}, {"Looks": (MetricUnit.Count, 1)})


def count_removed(instances: int) -> None:
    """Temporary database instances that a worker left, and the janitor removed. An alarm rings for each."""
    _send({}, {"TemporaryInstancesRemoved": (MetricUnit.Count, instances)})


def _of_verification(status: Verification, now: dt.datetime, is_new: bool) -> Values:
    """How the copies were found; what a check has read is counted once."""
    values: Values = {
        "CopiesDamaged": (MetricUnit.Count, status.damaged + status.missing),
        "CopiesUnreadable": (MetricUnit.Count, status.unreadable + len(status.left_out)),
        "HoursUnverified": (MetricUnit.NoUnit, round(status.age_hours(now), 2)),
    }
    if is_new:
        values["CopiesVerified"] = (MetricUnit.Count, status.checked)
        values["BytesVerified"] = (MetricUnit.Bytes, status.checked_size)
    return values


def _hours(age: dt.timedelta) -> float:
    return round(age.total_seconds() / _HOUR, 2)


def _send(dimensions: Mapping[str, str], values: Values) -> None:
    """One line of output, which CloudWatch takes apart; the service's name is a dimension of all of them."""
    for name, value in dimensions.items():
        metrics.add_dimension(name=name, value=value)
    for name, (unit, number) in values.items():
        metrics.add_metric(name=name, unit=unit, value=number)
    metrics.flush_metrics()
