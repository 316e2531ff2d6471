"""What is said of a worker that left no result, from what Step Functions and Amazon ECS say of it."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest

from backups.cloud.settling import Failure, explain, lost, settle
from backups.cloud.state import MapItem, State
from backups.records import Outcome, PlanItem
from tests.unit.deployment import deployment
from tests.unit.reports import result
from tests.unit.test_state import NOW, a_plan


def task(**changes: Any) -> str:
    """A stopped task as the Cause of States.TaskFailed shows it."""
    container = {"Name": "worker", "LastStatus": "STOPPED", "ExitCode": 1, **changes.pop("container", {})}
    described = {"LastStatus": "STOPPED", "StopCode": "EssentialContainerExited", "Containers": [container]}
    return json.dumps({**described, **changes})


@pytest.mark.parametrize(
    ("failure", "says"),
    [
        (None, "the worker ended without a result"),
        (Failure(error="States.Timeout"), "the worker ran out of time and was stopped"),
        (
            Failure(error="ECS.AmazonECSException", cause="Capacity is unavailable at this time"),
            "the worker could not be started: ECS.AmazonECSException: Capacity is unavailable at this time",
        ),
        (
            Failure(
                error="States.TaskFailed",
                cause=task(container={"ExitCode": 137, "Reason": "OutOfMemoryError: container killed"}),
            ),
            "the worker ran out of memory",
        ),
        (
            Failure(
                error="States.TaskFailed",
                cause=task(StoppedReason="Essential container in task exited", container={"ExitCode": 137}),
            ),
            "the worker was killed",
        ),
        (
            Failure(
                error="States.TaskFailed",
                cause=task(StoppedReason="Your Spot Task was interrupted.", container={"ExitCode": 137}),
            ),
            "the worker was killed (Your Spot Task was interrupted.)",
        ),
        (
            Failure(
                error="States.TaskFailed",
                cause=task(StoppedReason="CannotPullContainerError: no such image", container={"ExitCode": None}),
            ),
            "the worker did not start (CannotPullContainerError: no such image)",
        ),
        (
            Failure(error="States.TaskFailed", cause=task(container={"ExitCode": 2})),
            "the worker died with exit status 2",
        ),
        (
            Failure(error="States.TaskFailed", cause=json.dumps({"containers": [{"exitCode": 139}]})),
            "the worker died with exit status 139",
        ),
        (Failure(error="States.TaskFailed", cause=task(Containers=[])), "the worker did not start"),
    ],
)
def test_the_reason_is_told(failure: Failure | None, says: str) -> None:
    assert explain(failure)[0] == says


def test_a_failure_is_read_as_step_functions_writes_it() -> None:
    assert Failure.model_validate({"Error": "E", "Cause": "c"}) == Failure(error="E", cause="c")


@pytest.fixture
def state() -> Iterator[State]:
    with deployment() as made:
        made.state.put_plan(a_plan("db"), [MapItem("db", 60)])
        yield made.state


def settled(state: State, source: str = "db") -> Any:
    failure = Failure(error="States.TaskFailed", cause=task(container={"ExitCode": 137}))
    return settle(state, job="nightly", run="run-1", source=source, failure=failure, now=NOW + dt.timedelta(minutes=1))


def test_a_dead_worker_becomes_a_failed_result(state: State) -> None:
    made = settled(state)
    assert made == state.result("nightly", "run-1", "db")
    assert (made.outcome, made.error, made.label, made.hostname) == (
        Outcome.FAILED,
        "the worker was killed",
        "Folder",
        "web1",
    )
    assert made.destinations == () and made.finished == NOW + dt.timedelta(minutes=1)


def test_what_a_dead_worker_may_have_left_is_told() -> None:
    one = PlanItem(job="nightly", run="r", source="a", name="", type="snapshot", key="", destinations=())
    (warning,) = lost(a_plan(), one, None, NOW).warnings
    assert "tagged backups:state=unfinished" in warning
    assert lost(a_plan(), one.model_copy(update={"type": "folder"}), None, NOW).warnings == ()


def test_what_the_worker_wrote_itself_stays(state: State) -> None:
    partly = result(outcome=Outcome.PARTIAL, error="far: denied")
    state.put_result(partly)
    assert settled(state) == partly


def test_what_the_worker_writes_in_the_last_moment_stays(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and writing, a worker that is being stopped writes its own result."""
    own = result(outcome=Outcome.FAILED, error="stopped")
    look = State.plan

    def writes_meanwhile(self: State, job: str, run: str) -> Any:
        state.put_result(own)
        return look(self, job, run)

    monkeypatch.setattr(State, "plan", writes_meanwhile)
    assert settled(state) == own


def test_a_source_that_was_not_planned_makes_no_result(state: State) -> None:
    assert settled(state, "other") is None
    assert state.results("nightly", "run-1") == []
