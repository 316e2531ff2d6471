"""Every alarm of the template looks at a metric that is really written, which crosses its threshold when it must.

Those of the project's own namespace are compared with what the functions write, whole lines as CloudWatch takes them
apart; those of AWS with the names that AWS documents, and with the resource that they are about.
"""

from __future__ import annotations

import datetime as dt
import json
import operator
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest

from backups.cloud.watch import Look
from backups.freshness import GoodCopy, Place, Seen
from backups.records import Outcome, Pruned, RunReport
from backups.verification.status import Verification
from functions.metrics import count_look, count_removed, count_run, count_state
from tests.infra.test_template import of_type
from tests.unit.reports import report, result

pytestmark = pytest.mark.xdist_group("assembly")

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
JOBS = ("nightly", "weekly")
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
}
OF_AWS = {
    ("AWS/States", "ExecutionsFailed"): ("StateMachineArn", "AWS::StepFunctions::StateMachine"),
    ("AWS/States", "ExecutionsTimedOut"): ("StateMachineArn", "AWS::StepFunctions::StateMachine"),
    ("AWS/States", "ExecutionsAborted"): ("StateMachineArn", "AWS::StepFunctions::StateMachine"),
    ("AWS/Lambda", "Errors"): ("FunctionName", "AWS::Lambda::Function"),
    ("AWS/Lambda", "Throttles"): ("FunctionName", "AWS::Lambda::Function"),
    ("AWS/SQS", "ApproximateNumberOfMessagesVisible"): ("QueueName", "AWS::SQS::Queue"),
}
"""Each metric's only dimension, and the kind of resource that it names."""

Metric = tuple[str, str, frozenset[tuple[str, str]]]


def own(template: dict[str, Any]) -> dict[str, tuple[Metric, dict[str, Any]]]:
    """The alarms of our own namespace, by name."""
    found = {}
    for id_, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        if alarm["Namespace"] == "Backups":
            dimensions = frozenset((one["Name"], one["Value"]) for one in alarm["Dimensions"])
            found[id_] = ("Backups", alarm["MetricName"], dimensions), alarm
    return found


def written(output: str) -> dict[Metric, list[float]]:
    """What CloudWatch makes of the output of functions."""
    values: dict[Metric, list[float]] = defaultdict(list)
    for line in output.splitlines():
        content = json.loads(line)
        for block in content["_aws"]["CloudWatchMetrics"]:
            for names in block["Dimensions"]:
                dimensions = frozenset((name, content[name]) for name in names)
                for metric in block["Metrics"]:
                    values[block["Namespace"], metric["Name"], dimensions] += content[metric["Name"]]
    return values


def count(job: str, *, good: bool) -> None:
    """Everything that is counted of a job, at its best and at its worst."""
    place = Place(source="db", destination="main", since=NOW - 40 * DAY)
    copy = GoodCopy(run="r", at=NOW - DAY / 2, plain_size=1, size=1)
    since = {"since": NOW - 40 * DAY, "schedule_since": NOW - 40 * DAY}
    seen = Seen(job=job, **since, places=(place.model_copy(update={"copies": (copy,) if good else ()}),))
    about = {
        "job": job,
        "run": "c",
        "hostname": "web1",
        "started": NOW,
        "finished": NOW,
        "within_days": 30,
        "copies": 9,
    }
    bad = {} if good else {"damaged": 1, "unreadable": 1, "oldest": NOW - 31 * DAY}
    count_state(Look(seen, (), False, Verification.model_validate({**about, **bad})), NOW)
    for run in runs(job, good=good):
        count_run(run)


def runs(job: str, *, good: bool) -> list[RunReport]:
    """One that stored everything, or one of each kind that did not."""
    if good:
        return [report(result(), job=job)]
    refused = Pruned(source="db", destination="main", refused={"key": "locked"})
    return [
        report(result(outcome=Outcome.FAILED), job=job),
        report(result(outcome=Outcome.PARTIAL), job=job, pruned=(refused,)),
    ]


def test_every_alarm_of_our_own_looks_at_what_the_functions_write(
    template: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    alarms = own(template)
    assert {dict(dimensions).get("job") for (_, _, dimensions), _ in alarms.values()} == {*JOBS, None}
    for good in (True, False):
        for job in JOBS:
            count(job, good=good)
        count_removed(0 if good else 1)
        if good:  # silence is what is bad of this one
            count_look()
        values = written(capsys.readouterr().out)
        for id_, (metric, alarm) in alarms.items():
            if metric[1] == "Looks" and not good:
                assert metric not in values
                assert alarm["TreatMissingData"] == "breaching"
                continue
            assert metric in values, f"{id_} looks at {metric}, which nobody writes"
            value = max(values[metric]) if alarm["Statistic"] == "Maximum" else sum(values[metric])
            rings = COMPARE[alarm["ComparisonOperator"]](value, alarm["Threshold"])
            assert rings is not good, f"{id_}: {value} against {alarm['Threshold']}"


def test_every_other_alarm_looks_at_a_metric_of_aws_and_a_resource_of_the_stack(template: dict[str, Any]) -> None:
    others = [
        alarm for alarm in of_type(template, "AWS::CloudWatch::Alarm").values() if alarm["Namespace"] != "Backups"
    ]
    assert {(alarm["Namespace"], alarm["MetricName"]) for alarm in others} == set(OF_AWS)
    for alarm in others:
        name, kind = OF_AWS[alarm["Namespace"], alarm["MetricName"]]
        (dimension,) = alarm["Dimensions"]
        assert dimension["Name"] == name
        (id_,) = [dimension["Value"]["Ref"]] if "Ref" in dimension["Value"] else [dimension["Value"]["Fn::GetAtt"][0]]
        assert template["Resources"][id_]["Type"] == kind
        assert COMPARE[alarm["ComparisonOperator"]](1, alarm["Threshold"])
