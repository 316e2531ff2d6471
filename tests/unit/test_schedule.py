"""Schedules mean the same to EventBridge as they mean to cron."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.jobfile.schedule import to_eventbridge


@pytest.mark.parametrize(
    ("cron", "eventbridge"),
    [
        ("30 2 * * *", "cron(30 2 * * ? *)"),
        ("*/15 * * * *", "cron(0/15 * * * ? *)"),
        ("0 0 * * 0", "cron(0 0 ? * 1 *)"),
        ("0 0 * * 7", "cron(0 0 ? * 1 *)"),
        ("0 0 * * 6,7", "cron(0 0 ? * 1,7 *)"),
        ("0 0 * * 5-7", "cron(0 0 ? * 1,6,7 *)"),
        ("0 0 * * mon-FRI", "cron(0 0 ? * 2-6 *)"),
        ("0 0 * * 0-6", "cron(0 0 * * ? *)"),
        ("0 0 * * */1", "cron(0 0 * * ? *)"),
        ("0 3 1 * *", "cron(0 3 1 * ? *)"),
        ("0 3 1,15 jan-mar *", "cron(0 3 1,15 1-3 ? *)"),
        ("0 22-23,0-2 * * *", "cron(0 0,1,2,22,23 * * ? *)"),
        ("5 4 29 2 *", "cron(5 4 29 2 ? *)"),
        ("  30   2 * * *  ", "cron(30 2 * * ? *)"),
    ],
)
def test_five_fields_become_the_six_of_eventbridge(cron: str, eventbridge: str) -> None:
    assert to_eventbridge(cron) == eventbridge


@pytest.mark.parametrize(
    ("given_", "same"),
    [
        ("cron(0 10 * * ? *)", "cron(0 10 * * ? *)"),
        ("cron( 15 12  ? * 2#1 2027-2030 )", "cron(15 12 ? * 2#1 2027-2030)"),
        ("cron(0 8 L * ? *)", "cron(0 8 L * ? *)"),
        ("cron(0 8 15W * ? *)", "cron(0 8 15W * ? *)"),
        ("cron(0/5 8-17 ? * MON-FRI *)", "cron(0/5 8-17 ? * MON-FRI *)"),
        ("cron(0 8 ? * 6L *)", "cron(0 8 ? * 6L *)"),
        ("rate(12 hours)", "rate(12 hours)"),
        ("rate(1 days)", "rate(1 day)"),
        ("rate(5 minute)", "rate(5 minutes)"),
    ],
)
def test_eventbridge_expressions_stay_what_they_are(given_: str, same: str) -> None:
    assert to_eventbridge(given_) == same


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("", "is no schedule"),
        ("every night", "is no schedule"),
        ("@daily", "is no schedule"),
        ("0 30 2 * * *", "is no schedule"),
        ("at(2026-11-23T00:00:00)", "is no schedule"),
        ("60 2 * * *", "minute '60' is not in 0 to 59"),
        ("0 24 * * *", "hour '24' is not in 0 to 23"),
        ("0 0 0 * *", "day of month '0'"),
        ("0 0 * 13 *", "month '13' is not in 1 to 12 or JAN to DEC"),
        ("0 0 * * 8", "day of week '8' is not in 0 to 7 or SUN to SAT"),
        ("0 0 * * mo", "day of week 'mo'"),
        ("-5 0 * * *", "minute ''"),
        ("1,,2 0 * * *", "minute ''"),
        ("*/0 0 * * *", "step of 1 or more"),
        ("*/x 0 * * *", "step of 1 or more"),
        ("5/15 0 * * *", "write '5-59/15'"),
        ("0 22-2 * * *", "runs backwards"),
        ("0 0 1 * 1", "can't express"),
        ("0 0 */2 * 1", "can't express"),
        ("0 0 1-31 * 1", "can't express"),
        ("0 0 31 2,4,6 *", "names no day"),
        ("0 0 ? * *", "day of month '?'"),
        ("² 0 * * *", "minute '²'"),
        ("rate(0 hours)", "1 or more"),
        ("rate(1.5 hours)", "is no schedule"),
        ("rate(2 weeks)", "is no schedule"),
        ("cron(0 10 * * ?)", "six fields"),
        ("cron(0 10 * * * *)", "'?'"),
        ("cron(0 10 ? * ? *)", "'?'"),
        ("cron(0 10 * * ? 1969)", "year '1969'"),
        ("cron(0 10 ? * 0 *)", "day of week '0'"),
        ("cron(0 10 ? * 8L *)", "day of week '8L'"),
        ("cron(0 10 ? * 2#6 *)", "day of week '2#6'"),
    ],
)
def test_what_is_wrong_is_said(expression: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        to_eventbridge(expression)


@dataclass(frozen=True)
class Part:
    """A field's text and what it means."""

    text: str
    values: frozenset[int]


def _items(low: int, high: int) -> st.SearchStrategy[Part]:
    numbers = st.integers(low, high)
    single = numbers.map(lambda n: Part(str(n), frozenset({n})))
    spans = st.tuples(numbers, numbers).map(sorted)
    span = spans.map(lambda s: Part(f"{s[0]}-{s[1]}", frozenset(range(s[0], s[1] + 1))))
    stepped = st.tuples(spans, st.integers(1, high)).map(
        lambda t: Part(f"{t[0][0]}-{t[0][1]}/{t[1]}", frozenset(range(t[0][0], t[0][1] + 1, t[1])))
    )
    return st.one_of(single, span, stepped)


def _field(low: int, high: int) -> st.SearchStrategy[Part]:
    everything = frozenset(range(low, high + 1))
    star = st.just(Part("*", everything))
    steps = st.integers(1, high).map(lambda n: Part(f"*/{n}", frozenset(range(low, high + 1, n))))
    lists = st.lists(_items(low, high), min_size=1, max_size=4).map(
        lambda parts: Part(",".join(p.text for p in parts), frozenset().union(*(p.values for p in parts)))
    )
    return st.one_of(star, steps, lists)


STAR_DAY, STAR_WEEKDAY = Part("*", frozenset(range(1, 32))), Part("*", frozenset(range(8)))
DAYS = st.one_of(st.tuples(_field(1, 28), st.just(STAR_WEEKDAY)), st.tuples(st.just(STAR_DAY), _field(0, 7)))


def _meaning(text: str, low: int, high: int) -> set[int]:
    """What a field of EventBridge means, read apart from the code under test."""
    values: set[int] = set()
    for item in text.split(","):
        if item in ("*", "?"):
            values |= set(range(low, high + 1))
        elif "/" in item:
            start, step = map(int, item.split("/"))
            values |= set(range(start, high + 1, step))
        elif "-" in item:
            first, last = map(int, item.split("-"))
            values |= set(range(first, last + 1))
        else:
            values.add(int(item))
    return values


@given(
    minute=_field(0, 59),
    hour=_field(0, 23),
    days=DAYS,
    month=_field(1, 12),
    date=st.dates(dt.date(2026, 1, 1), dt.date(2030, 12, 31)),
)
def test_both_run_at_the_same_times(
    minute: Part, hour: Part, days: tuple[Part, Part], month: Part, date: dt.date
) -> None:
    day, weekday = days
    expression = to_eventbridge(" ".join(part.text for part in (minute, hour, day, month, weekday)))
    assert len(expression) <= 256
    fields = expression.removeprefix("cron(").removesuffix(")").split()
    assert fields[5] == "*"
    assert (fields[2] == "?") != (fields[4] == "?")
    assert _meaning(fields[0], 0, 59) == minute.values
    assert _meaning(fields[1], 0, 23) == hour.values
    cron_weekday = date.isoweekday() % 7
    in_cron = (
        date.month in month.values
        and date.day in day.values
        and (cron_weekday in weekday.values or (cron_weekday == 0 and 7 in weekday.values))
    )
    in_eventbridge = (
        date.month in _meaning(fields[3], 1, 12)
        and date.day in _meaning(fields[2], 1, 31)
        and cron_weekday + 1 in _meaning(fields[4], 1, 7)
    )
    if day.text != "*" or weekday.text != "*":
        assert in_cron == in_eventbridge
    else:
        assert in_eventbridge == (date.month in month.values)
    assert to_eventbridge(expression) == expression


@given(st.text(max_size=40))
def test_any_text_is_a_schedule_or_an_error(text: str) -> None:
    try:
        expression = to_eventbridge(text)
    except ValueError as error:
        assert str(error)
    else:
        assert expression.startswith(("cron(", "rate("))
