"""When a schedule is due: the times of EventBridge's cron expressions, and the longest pause between two of them.

As EventBridge Scheduler does it: a time that a clock skips in spring is not due, one that it shows twice in autumn is
due once. A rate is counted from a moment that only EventBridge knows, so it has a pause and no times.
"""

from __future__ import annotations

import calendar
import datetime as dt
import functools
import re
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from backups.jobfile.schedule import EVENTBRIDGE, expand, to_eventbridge

_UNITS = {"minute": dt.timedelta(minutes=1), "hour": dt.timedelta(hours=1), "day": dt.timedelta(days=1)}
_DAY = dt.timedelta(days=1)
_LOOKED_BACK = 366 * 5  # days: a cron may name 29 February alone
_SATURDAY = 7


@dataclass(frozen=True)
class Cron:
    """The six fields of a cron expression; ``days`` and ``weekdays`` as they are written, one of them ``?``."""

    times: tuple[dt.time, ...]
    days: str
    months: frozenset[int]
    weekdays: str
    years: frozenset[int]

    def on(self, day: dt.date) -> bool:
        """Whether it is due at any time of a day."""
        if day.month not in self.months or day.year not in self.years:
            return False
        return _is_weekday(day, self.weekdays) if self.days == "?" else _is_day(day, self.days)


def due_between(schedule: str, timezone: str, after: dt.datetime, until: dt.datetime) -> list[dt.datetime]:
    """When a job's schedule was due later than ``after`` and not later than ``until``, in UTC; nothing for a rate."""
    cron, zone = _parsed(schedule), zoneinfo.ZoneInfo(timezone)
    if isinstance(cron, dt.timedelta):
        return []
    first, last = after.astimezone(zone).date() - _DAY, until.astimezone(zone).date()
    days = (first + dt.timedelta(days=number) for number in range((last - first).days + 1))
    return [moment for day in days for moment in _moments(cron, day, zone) if after < moment <= until]


def last_due(schedule: str, timezone: str, now: dt.datetime) -> dt.datetime | None:
    """When a job's schedule was due last, in UTC; None for a rate, or if it never was in the last five years."""
    cron, zone = _parsed(schedule), zoneinfo.ZoneInfo(timezone)
    if isinstance(cron, dt.timedelta):
        return None
    today = now.astimezone(zone).date()
    for number in range(_LOOKED_BACK):
        moments = [moment for moment in _moments(cron, today - number * _DAY, zone) if moment <= now]
        if moments:
            return moments[-1]
    return None


@functools.cache
def longest_pause(schedule: str) -> dt.timedelta | None:
    """The longest time between two runs, by the clock on the wall; None when there are no two."""
    cron = _parsed(schedule)
    if isinstance(cron, dt.timedelta):
        return cron
    start = dt.date(2024 if 2024 in cron.years else min(cron.years), 1, 1)
    days = [day for number in range(_LOOKED_BACK) if cron.on(day := start + number * _DAY)]
    within = [_apart(early, late) for early, late in pairwise(cron.times)] if days else []
    overnight = _apart(cron.times[-1], cron.times[0])
    return max([*within, *(later - earlier + overnight for earlier, later in pairwise(days))], default=None)


def _parsed(schedule: str) -> Cron | dt.timedelta:
    text = to_eventbridge(schedule)
    if rate := re.fullmatch(r"rate\((\d+) (minute|hour|day)s?\)", text):
        return int(rate[1]) * _UNITS[rate[2]]
    fields = text.removeprefix("cron(").removesuffix(")").split()
    minutes, hours, months, years = (
        sorted(expand(EVENTBRIDGE[number], fields[number], open_steps=True)) for number in (0, 1, 3, 5)
    )
    times = tuple(dt.time(hour, minute) for hour in hours for minute in minutes)
    return Cron(times, fields[2].upper(), frozenset(months), fields[4].upper(), frozenset(years))


def _moments(cron: Cron, day: dt.date, zone: zoneinfo.ZoneInfo) -> Iterator[dt.datetime]:
    """When it is due on a day, in order; not at times that the day does not have."""
    if not cron.on(day):
        return
    for time in cron.times:
        moment = dt.datetime.combine(day, time, zone).astimezone(dt.UTC)
        if moment.astimezone(zone).time() == time:
            yield moment


def _is_day(day: dt.date, written: str) -> bool:
    """Whether a day is one of those that the field for days of the month names."""
    last = calendar.monthrange(day.year, day.month)[1]
    if written == "L":
        return day.day == last
    if written == "LW":
        return day == _nearest_workday(day.replace(day=last))
    if written.endswith("W"):
        number = int(written[:-1])
        return number <= last and day == _nearest_workday(day.replace(day=number))
    return day.day in expand(EVENTBRIDGE[2], written, open_steps=True)


def _nearest_workday(day: dt.date) -> dt.date:
    """Monday to Friday, in the same month."""
    if day.isoweekday() == 6:
        return day - _DAY if day.day > 1 else day + 2 * _DAY
    if day.isoweekday() == 7:
        return day + _DAY if (day + _DAY).month == day.month else day - 2 * _DAY
    return day


def _is_weekday(day: dt.date, written: str) -> bool:
    """Whether a day is one of those that the field for days of the week names."""
    weekday = day.isoweekday() % 7 + 1
    field = EVENTBRIDGE[4]
    if written == "L":
        return weekday == _SATURDAY
    if written.endswith("L"):
        last = calendar.monthrange(day.year, day.month)[1]
        return weekday == field.number(written[:-1]) and day.day > last - 7
    if "#" in written:
        which, _, number = written.partition("#")
        return weekday == field.number(which) and (day.day - 1) // 7 + 1 == int(number)
    return weekday in expand(field, written, open_steps=True)


def _apart(early: dt.time, late: dt.time) -> dt.timedelta:
    """From one time of a day to another; less than nothing when that one is earlier."""
    return dt.datetime.combine(dt.date.min, late) - dt.datetime.combine(dt.date.min, early)
