from __future__ import annotations

import datetime as dt

import pytest
from pydantic import ValidationError

from backups.records import Outcome, Plan, PlanItem, Result, StoredAt, overall

START = dt.datetime(2026, 11, 23, 2, 0, tzinfo=dt.UTC)


def result(outcome: Outcome) -> Result:
    return Result(
        job="nightly",
        run="20261123T020000Z",
        hostname="host",
        source="db",
        name="db",
        type="mysql",
        label="MySQL",
        outcome=outcome,
        started=START,
        finished=START + dt.timedelta(seconds=90),
        destinations=(StoredAt(destination="a", type="local", status="stored", size=3),),
    )


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ("stored stored", Outcome.STORED),
        ("stored failed", Outcome.PARTIAL),
        ("stored partial", Outcome.PARTIAL),
        ("stored skipped", Outcome.PARTIAL),
        ("partial", Outcome.PARTIAL),
        ("partial failed", Outcome.PARTIAL),
        ("failed failed", Outcome.FAILED),
        ("failed skipped", Outcome.FAILED),
        ("", Outcome.FAILED),
    ],
)
def test_the_outcome_of_a_run_is_never_better_than_that_of_its_sources(outcomes: str, expected: Outcome) -> None:
    assert overall(tuple(result(Outcome(outcome)) for outcome in outcomes.split())) is expected


def test_a_record_crosses_processes_unchanged() -> None:
    there = result(Outcome.STORED)
    back = Result.model_validate_json(there.model_dump_json())
    assert back == there
    assert back.seconds == 90.0


def test_an_older_reader_understands_a_newer_writer() -> None:
    newer = result(Outcome.STORED).model_dump(mode="json") | {"new": 1}
    assert Result.model_validate(newer) == result(Outcome.STORED)


def test_a_record_can_not_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        result(Outcome.STORED).outcome = Outcome.FAILED  # type: ignore[misc]


def test_a_plan_crosses_processes_unchanged() -> None:
    item = PlanItem(job="j", run="r", source="s", name="S", type="mysql", key="h/d/s.sql.gpg", destinations=("a",))
    plan = Plan(job="j", run="r", hostname="h", date=START.date(), planned=START, items=(item,))
    assert Plan.model_validate_json(plan.model_dump_json()) == plan
