"""Which runs are news to a channel that wants to hear of changes only."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backups.changes import due, failing, told_after
from backups.notifications.flagfile import FlagFile
from backups.notifications.slack import Slack
from backups.records import Notified, Outcome, RunReport, Told
from tests.unit.reports import STARTED, report, result

GOOD = report(result("a"), result("b"))
SENT = Notified(channel="chat", type="slack", status="sent")
NOT_WANTED = SENT.model_copy(update={"status": "not wanted"})
FAILED = SENT.model_copy(update={"status": "failed"})


def bad(*sources: str) -> RunReport:
    """These failed, another was stored."""
    return report(*(result(source, Outcome.FAILED) for source in sources), result("good"))


def on(day: int, about: RunReport, minutes: int = 0) -> RunReport:
    """The same so many nights later."""
    return about.model_copy(update={"started": STARTED + dt.timedelta(days=day, minutes=minutes)})


def chat(**changes: Any) -> Slack:
    """A channel that hears of changes only."""
    return Slack.model_validate({"id": "chat", "url": "https://hooks.example/x", "notify_on": "change"} | changes)


def heard(channel: Slack, *nights: RunReport | tuple[RunReport, Notified]) -> list[int]:
    """The nights of which the channel is told, one run each night; with an answer, that is what becomes of it."""
    before: Told | None = None
    news = []
    for day, night in enumerate(nights):
        about, answer = night if isinstance(night, tuple) else (night, SENT)
        about = on(day, about)
        wanted = channel.wants(about) and due(channel, about, before)
        if wanted:
            news.append(day)
        before = told_after(about, before, answer if wanted else NOT_WANTED)
    return news


def test_every_run_is_told_without_the_switch() -> None:
    assert heard(chat(notify_on="every run"), GOOD, GOOD, bad("a"), bad("a")) == [0, 1, 2, 3]


def test_the_first_failure_and_the_recovery_are_told() -> None:
    assert heard(chat(remind_days=0), GOOD, GOOD, bad("a"), bad("a"), bad("a"), GOOD, GOOD, bad("a")) == [2, 5, 7]


@pytest.mark.parametrize(("days", "nights"), [(1, [0, 1, 2, 3, 4, 5, 6]), (2, [0, 2, 4, 6]), (3, [0, 3, 6]), (0, [0])])
def test_what_goes_on_failing_is_told_again_every_so_many_days(days: int, nights: list[int]) -> None:
    assert heard(chat(remind_days=days), *[bad("a")] * 7) == nights


def test_a_reminder_is_due_by_the_day_and_not_by_the_minute() -> None:
    before = Told(at=STARTED + dt.timedelta(minutes=9), failing=("a",))
    assert due(chat(), on(1, bad("a"), minutes=-20), before)
    assert not due(chat(), on(0, bad("a"), minutes=90), before)


def test_another_source_that_fails_or_recovers_is_news() -> None:
    assert heard(chat(remind_days=0), bad("a"), bad("b", "a"), bad("a", "b"), bad("b"), bad("b"), GOOD) == [0, 1, 3, 5]


def test_a_run_that_is_skipped_or_not_planned_is_news() -> None:
    skipped = report(outcome=Outcome.SKIPPED, error="still going")
    assert heard(chat(remind_days=0), GOOD, skipped, skipped, GOOD) == [1, 3]


def test_news_that_could_not_be_told_is_news_the_next_time() -> None:
    assert heard(chat(remind_days=0), (bad("a"), FAILED), bad("a"), bad("a"), (GOOD, FAILED), GOOD, GOOD) == [
        0,
        1,
        3,
        4,
    ]


def test_a_recovery_that_is_not_wanted_makes_the_next_failure_news() -> None:
    assert heard(chat(remind_days=0, notify_on_success=0), bad("a"), bad("a"), GOOD, bad("a")) == [0, 3]


@given(st.lists(st.booleans(), max_size=30))
def test_every_turn_is_told_and_nothing_else(nights: list[bool]) -> None:
    turns = [day for day, good in enumerate(nights) if good != ([True, *nights])[day]]
    assert heard(chat(remind_days=0), *(GOOD if good else bad("a") for good in nights)) == turns


@pytest.mark.parametrize(
    ("about", "ids"),
    [
        (GOOD, ()),
        (report(result("b", Outcome.PARTIAL), result("a", Outcome.FAILED)), ("a", "b")),
        (report(), ("",)),
        (report(outcome=Outcome.SKIPPED), ("",)),
        (report(result("a"), result("b", Outcome.FAILED), error="stopped"), ("", "b")),
        (report(result("a"), outcome=Outcome.PARTIAL, error="stopped"), ("",)),
    ],
)
def test_what_fails_is_known_by_its_sources(about: RunReport, ids: tuple[str, ...]) -> None:
    assert failing(about) == ids


def test_what_monitoring_counts_on_can_not_be_told_of_changes_only() -> None:
    with pytest.raises(ValidationError, match="monitoring counts on every run"):
        FlagFile.model_validate({"filename": "/x", "notify_on": "change"})
    with pytest.raises(ValidationError, match="can't tell of starts"):
        FlagFile.model_validate({"filename": "/x", "notify_on_start": 1})
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        chat(remind_days=-1)
