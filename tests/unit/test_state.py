"""The state bucket: what is put comes back, what is missing is None, what is refused says so."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator

import boto3
import pytest

from backups.cloud.state import MapItem, State
from backups.errors import BackupsError
from backups.progress import Progress
from backups.records import Notified, Outcome, Plan, PlanItem, Pruned, Told
from backups.verification.status import Verification
from tests.unit.deployment import deployment
from tests.unit.reports import report, result

NOW = dt.datetime(2026, 11, 23, 2, 0, tzinfo=dt.UTC)


@pytest.fixture
def state() -> Iterator[State]:
    with deployment() as made:
        yield made.state


def a_plan(*sources: str) -> Plan:
    items = tuple(
        PlanItem(job="nightly", run="run-1", source=source, name=source, type="folder", key="k", destinations=("d",))
        for source in sources
    )
    return Plan(job="nightly", run="run-1", hostname="web1", date=NOW.date(), planned=NOW, items=items)


def content(key: str) -> object:
    return json.loads(boto3.client("s3").get_object(Bucket="state", Key=key)["Body"].read())


def test_nothing_is_known_of_a_run_that_never_was(state: State) -> None:
    assert state.plan("nightly", "run-1") is None
    assert state.result("nightly", "run-1", "db") is None
    assert state.report("nightly", "run-1") is None
    assert not state.results("nightly", "run-1") and not state.progress("nightly", "run-1")


def test_plan_and_the_items_of_its_map(state: State) -> None:
    key = state.put_plan(a_plan("db"), [MapItem("db", 60)])
    assert state.plan("nightly", "run-1") == a_plan("db")
    assert key == "runs/nightly/run-1/items.json"
    assert content(key) == [{"source": "db", "timeout_seconds": 60, "cleanup": False}]


def test_every_record_comes_back_from_where_the_layout_says(state: State) -> None:
    stored = result("a b@c=d")
    pruned = [Pruned(source=s, destination="far", removed=("k",)) for s in ("x", "y")]
    progress = Progress("db").snapshot()
    notified = Notified(channel="ops", type="slack", status="sent")
    state.put_result(stored)
    state.put_pruned("nightly", "run-1", pruned)
    state.put_progress("nightly", "run-1", progress)
    state.put_notified("nightly", "run-1", notified)
    state.put_report(report(stored))
    assert state.result("nightly", "run-1", "a b@c=d") == stored
    assert state.pruned("nightly", "run-1") == pruned
    assert state.progress("nightly", "run-1") == [progress]
    assert state.notified("nightly", "run-1") == [notified]
    assert state.report("nightly", "run-1") == report(stored)
    keys = [item["Key"] for item in boto3.client("s3").list_objects_v2(Bucket="state")["Contents"]]
    assert [key.removeprefix("runs/nightly/run-1/") for key in keys] == [
        "notified/ops.json",
        "progress/db.json",
        "pruned/x/far.json",
        "pruned/y/far.json",
        "report.json",
        "results/a b@c=d.json",
    ]


def test_what_a_channel_was_told_outlives_its_runs(state: State) -> None:
    told = Told(at=dt.datetime(2026, 11, 23, tzinfo=dt.UTC), failing=("db",))
    assert state.told("nightly", "ops") is None
    state.put_told("nightly", "ops", told)
    assert state.told("nightly", "ops") == told
    assert state.told("nightly", "other") is None
    (item,) = boto3.client("s3").list_objects_v2(Bucket="state")["Contents"]
    assert item["Key"] == "outcomes/nightly/ops.json"  # not among the runs, which are removed after some time


def test_runs_and_jobs_do_not_see_each_others_records(state: State) -> None:
    state.put_result(result())
    state.put_result(result(run="run-11"))
    state.put_result(result(job="nightly-2"))
    assert state.results("nightly", "run-1") == [result()]


def test_more_records_than_one_page_lists(state: State) -> None:
    names = [f"s{number:04}" for number in range(1_002)]
    state.put_pruned("nightly", "run-1", [Pruned(source=name, destination="far") for name in names])
    assert [found.source for found in state.pruned("nightly", "run-1")] == names


def test_a_worker_s_own_result_is_not_replaced_by_a_guess(state: State) -> None:
    assert state.put_result(result(), replace=False)
    assert not state.put_result(result(outcome=Outcome.FAILED), replace=False)
    assert state.result("nightly", "run-1", "db") == result()


@pytest.mark.parametrize("call", ["read", "write", "list"])
def test_a_bucket_that_refuses_is_an_error_that_names_it(state: State, call: str) -> None:
    gone = State("no-such-bucket")
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: gone.plan("nightly", "run-1"),
        "write": lambda: gone.put_result(result()),
        "list": lambda: gone.results("nightly", "run-1"),
    }
    with pytest.raises(BackupsError, match=f"could not {call} runs/nightly/run-1/.*no-such-bucket"):
        calls[call]()


def test_a_record_that_is_no_record_is_an_error(state: State) -> None:
    boto3.client("s3").put_object(Bucket="state", Key="runs/nightly/run-1/results/db.json", Body=b'{"job": 1')
    with pytest.raises(BackupsError, match="could not read"):
        state.result("nightly", "run-1", "db")


def test_one_refused_record_among_many_is_not_silent(state: State) -> None:
    gone = State("no-such-bucket")
    with pytest.raises(BackupsError, match="could not write"):
        gone.put_pruned("nightly", "run-1", [Pruned(source="db", destination="far")])


def test_how_copies_stand_is_one_record_of_the_job_that_outlives_its_runs(state: State) -> None:
    assert state.verification("nightly") is None
    oldest = NOW - dt.timedelta(hours=36)
    stands = Verification(
        job="nightly", run="v", hostname="web1", started=NOW, finished=NOW, within_days=30, copies=7, oldest=oldest
    )
    state.put_verification(stands)
    assert state.verification("nightly") == stands
    assert content("verification/nightly.json")
    assert stands.age_hours(NOW) == 36
    assert stands.model_copy(update={"oldest": None}).age_hours(NOW) == 0
