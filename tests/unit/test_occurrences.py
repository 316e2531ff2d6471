"""When schedules are due, in the words of EventBridge."""

from __future__ import annotations

import datetime as dt

import pytest

from backups.jobfile.occurrences import due_between, last_due, longest_pause

NOW = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)  # a Monday
HOUR = dt.timedelta(hours=1)


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("schedule", "timezone", "last"),
    [
        ("30 2 * * *", "UTC", "2026-11-23T02:30"),
        ("30 2 * * *", "Europe/Berlin", "2026-11-23T01:30"),
        ("30 2 * * *", "America/New_York", "2026-11-23T07:30"),
        ("0 9 * * *", "UTC", "2026-11-23T09:00"),
        ("1 9 * * *", "UTC", "2026-11-22T09:01"),
        ("0 3 * * 1-5", "UTC", "2026-11-23T03:00"),
        ("0 3 * * 0", "UTC", "2026-11-22T03:00"),
        ("0 3 * * 7", "UTC", "2026-11-22T03:00"),
        ("0 3 1 * *", "UTC", "2026-11-01T03:00"),
        ("0 3 29 2 *", "UTC", "2024-02-29T03:00"),
        ("*/20 * * * *", "UTC", "2026-11-23T09:00"),
        ("cron(0 3 L * ? *)", "UTC", "2026-10-31T03:00"),
        ("cron(0 3 LW * ? *)", "UTC", "2026-10-30T03:00"),
        ("cron(0 3 15W * ? *)", "UTC", "2026-11-16T03:00"),
        ("cron(0 3 1W 8 ? *)", "UTC", "2026-08-03T03:00"),
        ("cron(0 3 31W * ? *)", "UTC", "2026-10-30T03:00"),
        ("cron(0 3 ? * 6L *)", "UTC", "2026-10-30T03:00"),
        ("cron(0 3 ? * FRIL *)", "UTC", "2026-10-30T03:00"),
        ("cron(0 3 ? * L *)", "UTC", "2026-11-21T03:00"),
        ("cron(0 3 ? * MON#2 *)", "UTC", "2026-11-09T03:00"),
        ("cron(0 3 ? * 2#4 *)", "UTC", "2026-11-23T03:00"),
        ("cron(0 3 1 1 ? 2025)", "UTC", "2025-01-01T03:00"),
    ],
)
def test_the_last_time_that_a_schedule_was_due(schedule: str, timezone: str, last: str) -> None:
    assert last_due(schedule, timezone, NOW) == at(last)


@pytest.mark.parametrize("schedule", ["rate(12 hours)", "cron(0 3 1 1 ? 2199)"])
def test_what_has_no_last_time(schedule: str) -> None:
    assert last_due(schedule, "UTC", NOW) is None


def test_every_time_within_a_day() -> None:
    found = due_between("0 */6 * * *", "Europe/Berlin", NOW - 24 * HOUR, NOW)
    assert found == [at(f"2026-11-{moment}") for moment in ("22T11:00", "22T17:00", "22T23:00", "23T05:00")]


def test_the_beginning_is_left_out_and_the_end_is_not() -> None:
    assert due_between("0 * * * *", "UTC", NOW - HOUR, NOW) == [NOW]


def test_a_rate_has_no_times() -> None:
    assert due_between("rate(5 minutes)", "UTC", NOW - HOUR, NOW) == []


def test_a_time_that_spring_skips_is_not_due() -> None:
    """On 29 March 2026 clocks in Berlin go from 02:00 to 03:00."""
    found = due_between("30 2 * * *", "Europe/Berlin", at("2026-03-27T12:00"), at("2026-03-30T12:00"))
    assert found == [at("2026-03-28T01:30"), at("2026-03-30T00:30")]


def test_a_time_that_autumn_shows_twice_is_due_once() -> None:
    found = due_between("30 2 * * *", "Europe/Berlin", at("2026-10-24T12:00"), at("2026-10-25T12:00"))
    assert found == [at("2026-10-25T00:30")]


@pytest.mark.parametrize(
    ("schedule", "hours"),
    [
        ("30 2 * * *", 24),
        ("0 3 * * 1-5", 72),
        ("0 3 * * 0", 7 * 24),
        ("0 3 1 * *", 31 * 24),
        ("0 2,14 * * *", 12),
        ("0 8,12,18 * * *", 14),
        ("0 8,18 * * 1", 7 * 24 - 10),
        ("0 * * * *", 1),
        ("*/5 * * * *", 1 / 12),
        ("0 3 29 2 *", (3 * 365 + 366) * 24),
        ("rate(1 day)", 24),
        ("rate(90 minutes)", 1.5),
        ("cron(0 3 1 1 ? 2030)", None),
        ("cron(0 3 1 1,2 ? 2030)", 31 * 24),
    ],
)
def test_the_longest_pause(schedule: str, hours: float | None) -> None:
    assert longest_pause(schedule) == (None if hours is None else hours * HOUR)
