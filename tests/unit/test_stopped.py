"""Runs that were cut off: what is known of them is told, once, and never better than the truth."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from backups.cloud import reporting
from backups.cloud.delivery import Channel
from backups.cloud.events import Event, RunFinished, SourceFinished
from backups.cloud.orchestration import ObjectPointer, Request
from backups.cloud.reporting import Conclusion, Stopped, conclude_stopped
from backups.records import Notified, Outcome, RunReport
from tests.jobs import job_with
from tests.unit.deployment import Deployment, deployment
from tests.unit.reports import report, result, stored

NOW = dt.datetime(2026, 11, 23, 2, 30, tzinfo=dt.UTC)
RUN = "20261123T023000Z"
NAME = f"nightly-{RUN}"
OWN = f"arn:aws:states:eu-central-1:123456789012:execution:Backups-run:{NAME}"
FOLDERS = [{"id": id_, "type": "folder", "path": f"/{id_}"} for id_ in ("a", "b")]
CHATS = [{"id": id_, "type": "discord", "url": f"https://chat.example/{id_}"} for id_ in ("ops", "team")]


@pytest.fixture
def stack() -> Iterator[Deployment]:
    with deployment() as made:
        boto3.client("ssm").delete_parameter(Name="/Backups/jobs/nightly")
        made.deploy({**job_with("sources", *FOLDERS), "hostname": "web1", "notifications": CHATS})
        yield made


def event(given: object, status: str = "ABORTED") -> dict[str, Any]:
    """The event as EventBridge documents it."""
    return {
        "version": "0",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "detail": {
            "executionArn": OWN,
            "stateMachineArn": "arn:aws:states:eu-central-1:123456789012:stateMachine:Backups-run",
            "name": NAME,
            "status": status,
            "startDate": int(NOW.timestamp() * 1000),
            "stopDate": int(NOW.timestamp() * 1000) + 60_000,
            "input": json.dumps(given),
            "inputDetails": {"included": True},
            "output": None,
            "outputDetails": None,
        },
    }


def planned(stack: Deployment) -> dict[str, Any]:
    request = Request(job="nightly", scheduled_time=NOW)
    return stack.cloud.prepare(request, run=RUN, moment=NOW, own=OWN).model_dump(mode="json")


def concluded(stack: Deployment, given: object, status: str = "ABORTED") -> Conclusion | None:
    stopped = Stopped.model_validate(event(given, status)["detail"])
    return conclude_stopped(stack.cloud, stopped, now=NOW + dt.timedelta(minutes=1))


def told(stack: Deployment, run: str = RUN) -> RunReport:
    found = stack.state.report("nightly", run)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ("ABORTED", "the run was stopped by someone"),
        ("TIMED_OUT", "the run took more than three days and was stopped"),
        ("FAILED", "the run broke off"),
    ],
)
def test_what_is_known_is_told_to_every_channel(stack: Deployment, status: str, error: str) -> None:
    given = planned(stack)
    stack.state.put_result(result("a", run=RUN, destinations=(stored("disk"),)))
    conclusion = concluded(stack, given, status)
    pointer = ObjectPointer(bucket="state", key=f"runs/nightly/{RUN}/job.json")
    assert conclusion is not None and conclusion.outcome is Outcome.PARTIAL
    assert conclusion.channels == tuple(
        Channel(job="nightly", run=RUN, channel=id_, job_file=pointer) for id_ in ("ops", "team")
    )
    report = told(stack)
    assert report.error == error and report.hint
    assert [(r.source, r.outcome, r.error) for r in report.results] == [
        ("a", Outcome.STORED, ""),
        ("b", Outcome.FAILED, error),
    ]
    assert NAME in report.link


def test_events_tell_of_every_source_that_nobody_may_have_told_of(
    stack: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Event] = []
    monkeypatch.setattr(reporting, "tell", sent.extend)
    given = planned(stack)
    # Its worker wrote this when it was stopped, and then there was no Settle any more.
    stack.state.put_result(result("a", Outcome.FAILED, run=RUN, finished=NOW))
    concluded(stack, given)
    *sources, run = sent
    assert [source.source for source in sources if isinstance(source, SourceFinished)] == ["a", "b"]
    assert isinstance(run, RunFinished) and (run.outcome, run.not_stored) == (Outcome.FAILED, ("a", "b"))
    sent.clear()
    concluded(stack, given)
    assert sent == []  # it has told


def test_events_do_not_tell_again_what_settle_has_told_long_ago(
    stack: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Event] = []
    monkeypatch.setattr(reporting, "tell", sent.extend)
    given = planned(stack)
    stack.state.put_result(result("a", run=RUN, finished=NOW - dt.timedelta(hours=1)))
    concluded(stack, given)
    assert [source.source for source in sent if isinstance(source, SourceFinished)] == ["b"]


def test_a_run_that_was_stopped_is_never_a_success(stack: Deployment) -> None:
    """Everything was stored, but retention was cut off."""
    given = planned(stack)
    for source in ("a", "b"):
        stack.state.put_result(result(source, run=RUN, destinations=(stored("disk"),)))
    conclusion = concluded(stack, given)
    assert conclusion is not None and conclusion.outcome is told(stack).outcome is Outcome.PARTIAL
    assert all("retention did not finish" in record.error for record in told(stack).pruned)


def test_a_run_that_a_person_started_is_found_by_the_time_of_its_start(stack: Deployment) -> None:
    planned(stack)
    conclusion = concluded(stack, {"job": "nightly"})
    assert conclusion is not None and conclusion.run == RUN
    assert len(told(stack).results) == 2


def test_a_run_that_was_stopped_before_it_was_planned_is_told(stack: Deployment) -> None:
    conclusion = concluded(stack, {"job": "nightly"})
    assert conclusion is not None and conclusion.outcome is Outcome.FAILED
    assert told(stack).results == () and len(conclusion.channels) == 2


def test_a_run_that_has_told_is_not_told_again(stack: Deployment) -> None:
    given = planned(stack)
    before = report(result("a", Outcome.FAILED), run=RUN)
    stack.state.put_report(before)
    assert concluded(stack, given, "FAILED") is None
    assert told(stack) == before


def test_channels_that_an_aborted_run_had_not_told_are_told_what_it_wanted_to_tell(stack: Deployment) -> None:
    given = planned(stack)
    before = report(result("a"), result("b"), run=RUN)
    stack.state.put_report(before)
    stack.state.put_notified("nightly", RUN, Notified(channel="ops", type="discord", status="sent"))
    conclusion = concluded(stack, given)
    assert conclusion is not None and [channel.channel for channel in conclusion.channels] == ["team"]
    assert told(stack) == before


@pytest.mark.parametrize("given", ["[]", '"x"', "not JSON", None])
def test_an_execution_that_nobody_knows_harms_nothing(stack: Deployment, given: str | None) -> None:
    stopped = Stopped.model_validate({**event({})["detail"], "input": given})
    conclusion = conclude_stopped(stack.cloud, stopped, now=NOW)
    assert conclusion is not None and conclusion.channels == ()
