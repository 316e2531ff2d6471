"""Durations in calendar units."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.duration import Duration, parse_duration


@pytest.mark.parametrize(
    ("text", "months", "days"),
    [("30d", 0, 30), ("8w", 0, 56), ("6m", 6, 0), ("1y", 12, 0), ("1y6m", 18, 0), ("2y1m1w3d", 25, 10)],
)
def test_years_months_weeks_and_days_are_read(text: str, months: int, days: int) -> None:
    assert parse_duration(text) == Duration(months, days)


@pytest.mark.parametrize("text", ["", "0d", "30", "d", "-3d", "6h", "1d1y", "1y 6m", "1.5y", "30D", "99999y", "٣d\n"])
def test_anything_else_is_refused_with_examples(text: str) -> None:
    with pytest.raises(ValueError, match="such as '30d'"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "day", "before"),
    [
        ("1d", "2026-03-01", "2026-02-28"),
        ("1m", "2026-03-31", "2026-02-28"),
        ("1y", "2024-02-29", "2023-02-28"),
        ("1y6m", "2026-11-23", "2025-05-23"),
        ("3m", "2026-01-15", "2025-10-15"),
        ("9999y", "2026-11-23", "0001-01-01"),
        ("2025y99999d", "2026-11-23", "0001-01-01"),
    ],
)
def test_counting_back_follows_the_calendar(text: str, day: str, before: str) -> None:
    assert parse_duration(text).before(dt.date.fromisoformat(day)) == dt.date.fromisoformat(before)


@given(st.integers(0, 600), st.integers(0, 2000), st.dates())
def test_a_later_day_never_counts_back_further(months: int, days: int, day: dt.date) -> None:
    duration = Duration(months, days)
    if day < dt.date.max:
        assert duration.before(day) <= duration.before(day + dt.timedelta(days=1))
