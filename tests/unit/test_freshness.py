"""What the watch finds in records, and when it is news."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from backups.freshness import Place, Schedule, Seen, allowed_age, findings, first_look, news, remembered, reminder, told
from backups.records import Finding, Outcome, Pruned, RunReport
from backups.verification.status import Check, CheckStatus, Verification
from tests.unit.reports import lost, report, result, stored

NOW = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
NIGHTLY = Schedule(expression="30 2 * * *")
DUE = dt.datetime(2026, 11, 23, 2, 30, tzinfo=dt.UTC)
PLACES = [("db", "main")]


def night(ended: dt.datetime, *, size: int = 1000, outcome: Outcome = Outcome.STORED, **changes: Any) -> RunReport:
    """A run of one source at one destination."""
    places = (stored("main"),) if outcome is Outcome.STORED else (lost("main"),)
    one = result("db", outcome, started=ended - HOUR, finished=ended, plain_size=size, destinations=places)
    return report(one, run=f"{ended:%Y%m%dT%H%M%SZ}", started=ended - HOUR, finished=ended, **changes)


def seen_after(*reports: RunReport, schedule: Schedule = NIGHTLY, since: dt.datetime = NOW - 30 * DAY) -> Seen:
    """What is known of a job that is watched for long."""
    first = first_look("nightly", since)
    first = remembered(first, PLACES, [], [], schedule, since)
    return remembered(first, PLACES, [one.run for one in reports], reports, schedule, NOW)


def kinds(
    seen: Seen, *, schedule: Schedule = NIGHTLY, moments: tuple[dt.datetime, ...] = (DUE,), now: dt.datetime = NOW
) -> list[str]:
    return [found.kind for found in findings(seen, schedule, None, moments, now)]


def test_a_job_whose_copies_are_fresh_has_no_problem() -> None:
    assert kinds(seen_after(night(DUE + HOUR))) == []


@pytest.mark.parametrize(("hours", "late"), [(25.9, []), (26.1, ["late"])])
def test_a_nightly_copy_is_late_after_26_hours(hours: float, late: list[str]) -> None:
    assert kinds(seen_after(night(NOW - hours * HOUR))) == late


def test_a_failed_run_does_not_make_a_copy_fresh() -> None:
    seen = seen_after(night(NOW - 30 * HOUR), night(DUE, outcome=Outcome.FAILED))
    (found,) = findings(seen, NIGHTLY, None, [DUE], NOW)
    assert (found.severity, found.kind, found.source, found.destination) == ("error", "late", "db", "main")
    assert found.text == "'db' at 'main' has had no good copy for 30 h 0 min; the last is of 2026-11-22 03:00 UTC"


def test_each_destination_has_an_age_of_its_own() -> None:
    one = result("db", Outcome.PARTIAL, finished=DUE, plain_size=9, destinations=(stored("main"), lost("far")))
    first = remembered(first_look("nightly", NOW - 9 * DAY), [("db", "main"), ("db", "far")], [], [], NIGHTLY, NOW)
    first = first.model_copy(
        update={"places": tuple(place.model_copy(update={"since": NOW - 9 * DAY}) for place in first.places)}
    )
    places = [("db", "main"), ("db", "far")]
    seen = remembered(first, places, ["r"], [report(one, run="r")], NIGHTLY, NOW)
    assert [found.destination for found in findings(seen, NIGHTLY, None, [DUE], NOW)] == ["far"]


def test_a_place_is_given_its_time_from_when_it_was_first_seen() -> None:
    seen = remembered(first_look("nightly", NOW), PLACES, [], [], NIGHTLY, NOW)
    assert kinds(seen) == []
    assert kinds(seen, moments=(DUE + DAY,), now=NOW + 27 * HOUR) == ["late"]


def test_a_job_without_a_schedule_is_never_late() -> None:
    demand = Schedule()
    assert kinds(seen_after(night(NOW - 400 * DAY), schedule=demand), schedule=demand, moments=()) == []


def test_an_old_copy_is_remembered_when_the_records_of_its_run_are_gone() -> None:
    seen = seen_after(night(NOW - 40 * DAY))
    again = remembered(Seen.model_validate_json(seen.model_dump_json()), PLACES, [], [], NIGHTLY, NOW)
    assert "the last is of 2026-10-14" in findings(again, NIGHTLY, None, [DUE], NOW)[0].text


def test_a_report_that_is_read_twice_counts_once() -> None:
    one = night(DUE)
    twice = remembered(seen_after(one), PLACES, [one.run], [one], NIGHTLY, NOW)
    assert len(twice.places[0].copies) == 1


def test_what_a_job_no_longer_has_is_forgotten() -> None:
    seen = remembered(seen_after(night(DUE)), [("files", "main")], [], [], NIGHTLY, NOW)
    assert [place.source for place in seen.places] == ["files"]


@pytest.mark.parametrize(("size", "found"), [(499, ["shrunk"]), (500, []), (0, ["empty"]), (5000, [])])
def test_a_copy_is_compared_with_the_seven_before_it(size: int, found: list[str]) -> None:
    before = [night(DUE - number * DAY, size=100_000 if number > 7 else 1000) for number in range(1, 12)]
    seen = seen_after(*before, night(DUE, size=size))
    assert kinds(seen) == found
    assert len(seen.places[0].copies) == 8


def test_a_drop_is_a_warning_and_emptiness_an_error() -> None:
    severities = [
        findings(seen_after(night(DUE - DAY), night(DUE, size=size)), NIGHTLY, None, [DUE], NOW)[0].severity
        for size in (1, 0)
    ]
    assert severities == ["warning", "error"]


def test_a_first_copy_is_compared_with_nothing() -> None:
    assert kinds(seen_after(night(DUE, size=1))) == []


def test_a_run_that_did_not_begin_is_missed() -> None:
    seen = seen_after(night(NOW - 25 * HOUR))
    (found,) = findings(seen, NIGHTLY, None, [DUE - DAY], NOW)
    assert (found.kind, found.text) == ("missed", "no run began that was due at 2026-11-23 02:30 UTC")


def test_a_run_that_a_person_started_later_makes_up_for_it() -> None:
    assert kinds(seen_after(night(NOW)), moments=(DUE + 5 * HOUR,)) == []


def test_a_run_of_the_day_before_does_not() -> None:
    assert kinds(seen_after(night(NOW)), moments=(DUE - HOUR,)) == ["missed"]


def test_a_run_has_some_time_to_begin() -> None:
    schedule = Schedule(expression="30 2 * * *", window_minutes=60)
    seen = seen_after(night(DUE - DAY), schedule=schedule)
    at = [
        kinds(seen, schedule=schedule, moments=(DUE - DAY,), now=DUE + dt.timedelta(minutes=minutes))
        for minutes in (89, 91)
    ]
    assert at == [[], ["missed"]]


def test_every_run_of_the_last_day_counts() -> None:
    often = Schedule(expression="0 */6 * * *")
    moments = tuple(NOW.replace(hour=hour) for hour in (0,))
    (found,) = findings(seen_after(night(NOW), schedule=often), often, None, moments, NOW)
    assert found.text == "no run began that was due at 2026-11-23 06:00 UTC and 2 before it"


def test_a_schedule_that_has_just_changed_has_missed_nothing() -> None:
    seen = remembered(seen_after(night(NOW - HOUR)), PLACES, [], [], Schedule(expression="0 8 * * *"), NOW)
    assert kinds(seen, schedule=Schedule(expression="0 8 * * *"), moments=(DUE,)) == []


def test_a_job_of_which_no_run_ever_began() -> None:
    (found,) = findings(seen_after(since=DUE - HOUR), NIGHTLY, None, [], NOW)
    assert found.kind == "never" and "no run has ever begun" in found.text


@pytest.mark.parametrize(("status", "words"), [("DISABLED", "is disabled"), ("MISSING", "is gone")])
def test_a_schedule_that_fires_no_more(status: str, words: str) -> None:
    off = Schedule(expression="30 2 * * *", status=status)
    (found,) = findings(seen_after(night(DUE)), off, None, [DUE], NOW)
    assert (found.kind, found.severity) == ("disabled", "error") and words in found.text


def verified(**changes: Any) -> Verification:
    fields = {"job": "nightly", "run": "v", "hostname": "web1", "started": NOW, "finished": NOW, "within_days": 30}
    return Verification.model_validate({**fields, "copies": 3, "oldest": NOW - 9 * DAY, **changes})


def bad(status: CheckStatus, key: str = "web1/2026-11-20/db.sql.gpg") -> Check:
    return Check(source="db", destination="main", key=key, status=status, error="its sha256 differs", hint="do this")


@pytest.mark.parametrize(
    ("verification", "found"),
    [
        (None, []),
        (verified(), []),
        (verified(oldest=NOW - 31 * DAY), ["unverified"]),
        (verified(overdue=1), ["unverified"]),
        (verified(finished=NOW - 4 * DAY), ["unverified"]),
        (verified(copies=0, oldest=None), []),
        (verified(warnings=("'max_gib' is too low",)), ["unverified"]),
        (verified(error="it was stopped"), ["unverified"]),
        (verified(left_out={"far": "no answer"}), ["unreadable"]),
        (verified(bad=(bad("damaged"), bad("missing")), damaged=2, missing=1), ["damaged", "missing", "damaged"]),
        (verified(bad=(bad("unreadable"),), unreadable=1), ["unreadable"]),
    ],
)
def test_the_age_of_verification(verification: Verification | None, found: list[str]) -> None:
    assert [f.kind for f in findings(seen_after(night(DUE)), NIGHTLY, verification, [DUE], NOW)] == found


def test_each_bad_copy_is_named_with_its_way_out_and_is_news_of_its_own() -> None:
    seen = seen_after(night(DUE))
    one, other = bad("damaged"), bad("damaged", "web1/2026-11-21/db.sql.gpg")
    (first,) = found = findings(seen, NIGHTLY, verified(bad=(one,), damaged=1), [DUE], NOW)
    assert first.text == "copy web1/2026-11-20/db.sql.gpg of 'db' at 'main' is damaged: its sha256 differs"
    assert (first.severity, first.hint, first.key) == ("error", "do this", one.key)
    known = told(seen, found, NOW)
    assert not news(known, found, NOW)
    assert news(known, findings(seen, NIGHTLY, verified(bad=(one, other), damaged=2), [DUE], NOW), NOW)


def test_a_job_whose_copies_were_never_checked() -> None:
    seen = seen_after(night(DUE))
    for days, kinds_found in ((2.9, []), (3.1, ["unverified"])):
        expected = seen.model_copy(update={"checks_since": NOW - days * DAY})
        assert [f.kind for f in findings(expected, NIGHTLY, None, [DUE], NOW)] == kinds_found


def test_errors_come_before_warnings() -> None:
    found = findings(
        seen_after(night(DUE)), Schedule(expression="30 2 * * *", status="MISSING"), verified(overdue=1), [DUE], NOW
    )
    assert [f.severity for f in found] == ["error", "warning"]


def test_copies_kept_and_the_last_success_are_remembered() -> None:
    good = night(DUE, pruned=(Pruned(source="db", destination="main", kept=7),))
    bad = night(DUE + HOUR, outcome=Outcome.FAILED)
    seen = seen_after(good, bad)
    assert (seen.places[0].kept, seen.success) == (7, DUE)


def finding(text: str = "x", **changes: Any) -> Finding:
    return Finding.model_validate({"severity": "error", "kind": "late", "source": "db", "text": text, **changes})


def test_news_is_what_changes_and_a_reminder_each_day() -> None:
    seen = first_look("nightly", NOW)
    assert not news(seen, [], NOW)
    assert news(seen, [finding()], NOW)
    seen = told(seen, [finding()], NOW)
    assert not news(seen, [finding("an hour more")], NOW + 23 * HOUR)
    assert reminder(seen, [finding()])
    assert news(seen, [finding()], NOW + 24 * HOUR)
    assert news(seen, [finding(), finding(source="other")], NOW + HOUR)
    assert news(seen, [], NOW + HOUR) and not reminder(seen, [])
    assert not news(told(seen, [], NOW), [], NOW + 9 * DAY)


@pytest.mark.parametrize(
    ("schedule", "window", "hours"), [("30 2 * * *", 0, 26), ("30 2 * * *", 60, 27), ("rate(1 hour)", 0, 3)]
)
def test_how_old_a_copy_may_become(schedule: str, window: int, hours: float) -> None:
    assert allowed_age(schedule, window) == hours * HOUR


def test_a_place_names_itself() -> None:
    assert Place(source="db", destination="main", since=NOW).name == "'db' at 'main'"
