"""The report of a run: never better than the truth, made whatever happened, and told to every channel."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from backups.cloud.delivery import Channel, console_link, dashboard_link, deliver
from backups.cloud.orchestration import ObjectPointer, Request
from backups.cloud.reporting import Conclusion, Finished, conclude, summary
from backups.context import Context
from backups.errors import BackupsError, NotificationError
from backups.planning import run_id
from backups.records import Outcome, Pruned, RunReport, Told
from tests.jobs import job_with
from tests.servers.slack import Answer, slack_server
from tests.unit.deployment import ASSETS, Deployment, deployment
from tests.unit.reports import lost, report, result, stored

NOW = dt.datetime(2026, 11, 23, 2, 30, tzinfo=dt.UTC)
BEGAN = NOW + dt.timedelta(seconds=2)  # later than scheduled, as it is
LATER = NOW + dt.timedelta(minutes=7)
RUN = "20261123T023000Z"
EXECUTION = f"arn:aws:states:eu-central-1:123456789012:execution:Backups-run:nightly-{RUN}"
FOLDERS = [{"id": id_, "type": "folder", "path": f"/{id_}"} for id_ in ("a", "b")]


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Deployment]:
    with deployment() as made:
        boto3.client("ssm").delete_parameter(Name="/Backups/jobs/nightly")
        flags = [{"id": "flag", "type": "flagfile", "filename": str(tmp_path / "flag")}]
        made.deploy({**job_with("sources", *FOLDERS), "hostname": "web1", "notifications": flags})
        yield made


@pytest.mark.parametrize(
    ("partition", "region", "address"),
    [
        ("aws", "eu-central-1", "https://eu-central-1.console.aws.amazon.com/"),
        ("aws-cn", "cn-north-1", "https://cn-north-1.console.amazonaws.cn/"),
        ("aws-us-gov", "us-gov-west-1", "https://us-gov-west-1.console.amazonaws-us-gov.com/"),
    ],
)
def test_links_lead_to_the_console_of_their_part_of_aws(partition: str, region: str, address: str) -> None:
    execution = f"arn:{partition}:states:{region}:123456789012:execution:Backups-run:x"
    assert console_link(execution) == f"{address}states/home?region={region}#/v2/executions/details/{execution}"
    machine = f"arn:{partition}:states:{region}:123456789012:stateMachine:Backups-run"
    assert dashboard_link(machine, "B") == f"{address}cloudwatch/home?region={region}#dashboards/dashboard/B"


def planned(stack: Deployment) -> dict[str, Any]:
    """The input of a run that was started."""
    request = Request(job="nightly", scheduled_time=NOW)
    return stack.cloud.prepare(request, run=RUN, moment=NOW, own=EXECUTION).model_dump(mode="json")


def concluded(stack: Deployment, given: object) -> tuple[Conclusion, RunReport]:
    finished = Finished.model_validate({"input": given, "execution": EXECUTION, "started": BEGAN})
    conclusion = conclude(stack.cloud, finished, now=LATER)
    began = run_id(BEGAN)
    told = stack.state.report(conclusion.job, RUN) or stack.state.report(conclusion.job, began)
    assert told is not None and told.outcome is conclusion.outcome
    return conclusion, told


def put(stack: Deployment, source: str, outcome: Outcome = Outcome.STORED, **changes: Any) -> None:
    stack.state.put_result(result(source, outcome, run=RUN, **changes))


def test_everything_is_stored(stack: Deployment) -> None:
    given = planned(stack)
    for source in ("a", "b"):
        put(stack, source, destinations=(stored("disk"),))
    done = [Pruned(source=source, destination="disk", removed=("old",)) for source in ("a", "b")]
    stack.state.put_pruned("nightly", RUN, done)
    conclusion, told = concluded(stack, given)
    assert conclusion.outcome is Outcome.STORED
    assert conclusion.summary == "2 sources stored everywhere"
    assert list(told.pruned) == done and told.hostname == "web1"
    assert (told.started, told.finished) == (BEGAN, LATER)
    assert told.link.startswith("https://eu-central-1.console.aws.amazon.com/states/") and EXECUTION in told.link


def test_a_channel_s_message_is_ready_made(stack: Deployment) -> None:
    conclusion, _ = concluded(stack, planned(stack))
    pointer = ObjectPointer(bucket="state", key=f"runs/nightly/{RUN}/job.json")
    assert conclusion.channels == (Channel(job="nightly", run=RUN, channel="flag", job_file=pointer),)


def test_a_planned_source_without_a_result_has_failed(stack: Deployment) -> None:
    given = planned(stack)
    put(stack, "a", destinations=(stored("disk"),))
    conclusion, told = concluded(stack, given)
    assert conclusion.outcome is Outcome.PARTIAL
    assert conclusion.summary == "1 of 2 sources not stored everywhere: b"
    assert [(r.source, r.outcome, r.error) for r in told.results] == [
        ("a", Outcome.STORED, ""),
        ("b", Outcome.FAILED, "the worker ended without a result"),
    ]


def test_a_map_that_failed_is_the_reason(stack: Deployment) -> None:
    given = {**planned(stack), "failure": {"Error": "States.ItemReaderFailed", "Cause": "no such key"}}
    conclusion, told = concluded(stack, given)
    assert conclusion.outcome is Outcome.FAILED
    assert {r.error for r in told.results} == {"the worker could not be started: States.ItemReaderFailed: no such key"}


def test_retention_that_left_no_record_is_told_but_fails_nothing(stack: Deployment) -> None:
    given = planned(stack)
    for source in ("a", "b"):
        put(stack, source, destinations=(stored("disk"),))
    stack.state.put_pruned("nightly", RUN, [Pruned(source="a", destination="disk")])
    conclusion, told = concluded(stack, given)
    assert conclusion.outcome is Outcome.STORED
    assert [(p.source, p.error) for p in told.pruned] == [
        ("a", ""),
        ("b", "retention did not finish; its log says why"),
    ]


def test_retention_is_not_missed_where_nothing_was_stored(stack: Deployment) -> None:
    given = planned(stack)
    put(stack, "a", Outcome.PARTIAL, destinations=(stored("disk"), lost("far")))
    put(stack, "b", Outcome.FAILED)
    _, told = concluded(stack, given)
    assert [(p.source, p.destination) for p in told.pruned] == [("a", "disk")]


def test_results_of_an_earlier_run_do_not_count(stack: Deployment) -> None:
    given = planned(stack)
    stack.state.put_result(result("a", run="20261122T023000Z"))
    conclusion, _ = concluded(stack, given)
    assert conclusion.outcome is Outcome.FAILED


def test_a_skipped_run_is_told(stack: Deployment) -> None:
    pointer = stack.cloud.adopt("nightly", RUN)[1].model_dump()
    given = {"verdict": "skipped", "job": "nightly", "run": RUN, "error": "still going", "job_file": pointer}
    conclusion, told = concluded(stack, given)
    assert conclusion.outcome is Outcome.SKIPPED
    assert conclusion.summary == told.error == "still going"
    assert [channel.channel for channel in conclusion.channels] == ["flag"]


def test_a_failed_plan_is_told(stack: Deployment) -> None:
    given = {"verdict": "failed", "job": "nightly", "run": RUN, "error": "no source", "hint": "it has: a, b"}
    conclusion, told = concluded(stack, given)
    assert (conclusion.outcome, told.error, told.hint) == (Outcome.FAILED, "no source", "it has: a, b")
    assert [channel.channel for channel in conclusion.channels] == ["flag"]


def test_a_planning_that_broke_on_demand_is_told_without_its_stack(stack: Deployment) -> None:
    cause = json.dumps({"errorMessage": "could not read it", "errorType": "FunctionError", "stackTrace": ["line"]})
    given = {"job": "nightly", "failure": {"Error": "FunctionError", "Cause": cause}}
    conclusion, told = concluded(stack, given)
    assert conclusion.outcome is Outcome.FAILED
    assert told.error == "the run could not be planned: could not read it"
    assert told.run == "20261123T023002Z"  # from the time at which the execution began


@pytest.mark.parametrize("given", [{}, {"job": "gone"}, {"job": 7}, {"job": "../../x"}])
def test_a_job_that_nobody_knows_makes_a_report_all_the_same(stack: Deployment, given: dict[str, Any]) -> None:
    conclusion, told = concluded(stack, {**given, "failure": {"Error": "States.Timeout", "Cause": ""}})
    assert conclusion.outcome is Outcome.FAILED and conclusion.channels == ()
    assert "/" not in told.job


def test_a_lost_plan_fails(stack: Deployment) -> None:
    given = planned(stack)
    boto3.client("s3").delete_object(Bucket="state", Key=f"runs/nightly/{RUN}/plan.json")
    conclusion, told = concluded(stack, given)
    assert conclusion.outcome is Outcome.FAILED and "plan is gone" in told.error


def test_a_channel_is_told_and_recorded(stack: Deployment, context: Context, tmp_path: Path) -> None:
    given = planned(stack)
    for source in ("a", "b"):
        put(stack, source, destinations=(stored("disk"),))
    (channel,) = concluded(stack, given)[0].channels
    assert deliver(stack.state, channel, context).status == "sent"
    assert (tmp_path / "flag").read_text().strip() == "OK"
    assert [told.status for told in stack.state.notified("nightly", RUN)] == ["sent"]


def test_a_channel_that_refuses_is_recorded_and_an_error(stack: Deployment, context: Context, tmp_path: Path) -> None:
    given = planned(stack)
    for source in ("a", "b"):
        put(stack, source, destinations=(stored("disk"),))
    (channel,) = concluded(stack, given)[0].channels
    (tmp_path / "flag").mkdir()
    with pytest.raises(NotificationError, match="channel flag was not told"):
        deliver(stack.state, channel, context)
    assert [told.status for told in stack.state.notified("nightly", RUN)] == ["failed"]


def test_a_channel_that_wants_changes_is_told_by_what_it_knew(stack: Deployment, context: Context) -> None:
    with slack_server() as slack:
        chat = {"id": "ops", "type": "slack", "url": slack.url, "notify_on": "change", "remind_days": 2}
        pointer = stack.deploy({**job_with("notifications", chat), "hostname": "web1"}, "changing")

        def night(day: int, outcome: Outcome) -> str:
            began = NOW + dt.timedelta(days=day)
            told = report(result("a", outcome), job="changing", run=f"run-{day}", started=began, finished=began)
            stack.state.put_report(told)
            channel = Channel(job="changing", run=told.run, channel="ops", job_file=pointer)
            return deliver(stack.state, channel, context).status

        assert night(0, Outcome.STORED) == "not wanted"
        assert stack.state.told("changing", "ops") is None
        slack.answers = [Answer(404, "no_service")]
        with pytest.raises(NotificationError):
            night(1, Outcome.FAILED)
        answers = [night(1, Outcome.FAILED), night(1, Outcome.FAILED)]  # Step Functions tries again, even twice
        answers += [night(2, Outcome.FAILED), night(3, Outcome.FAILED), night(4, Outcome.STORED)]
        assert answers == ["sent", "not wanted", "not wanted", "sent", "sent"]
        assert stack.state.told("changing", "ops") == Told(at=NOW + dt.timedelta(days=4))
        assert len(slack.messages) == 3


def test_a_channel_can_t_be_told_of_a_run_without_a_report(stack: Deployment, context: Context) -> None:
    pointer = ObjectPointer(bucket=ASSETS, key="nightly-hash.json")
    with pytest.raises(BackupsError, match="has no report"):
        deliver(stack.state, Channel(job="nightly", run="none", channel="flag", job_file=pointer), context)


def test_a_summary_names_some_and_counts_all() -> None:
    bad = [result(f"s{number}", Outcome.FAILED) for number in range(7)]
    assert summary(report(*bad, result())) == "7 of 8 sources not stored everywhere: s0, s1, s2, s3, s4, …"
