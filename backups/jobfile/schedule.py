"""Schedules of the job file: five-field cron, or EventBridge's own ``cron(...)`` and ``rate(...)``.

Cron numbers the days of the week 0 to 7 from Sunday (0 and 7), EventBridge 1 to 7 from Sunday (1). EventBridge
wants ``?`` in one of its two day fields, so a schedule that restricts both can't be expressed there.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True)
class Field:
    """One field of a cron expression: what it is called, its limits, and the names of its values from ``low`` on."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    def number(self, text: str) -> int:
        """The value that a number or name stands for. Raises ValueError."""
        if text.upper() in self.names:
            return self.low + self.names.index(text.upper())
        if not re.fullmatch(r"[0-9]{1,4}", text) or not self.low <= int(text) <= self.high:
            known = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
            raise ValueError(f"{self.name} '{text}' is not in {self.low} to {self.high}{known}")
        return int(text)


_SHARED = (Field("minute", 0, 59), Field("hour", 0, 23), Field("day of month", 1, 31))
_MONTH = Field("month", 1, 12, _MONTHS)
CRON = (*_SHARED, _MONTH, Field("day of week", 0, 7, _DAYS))
EVENTBRIDGE = (*_SHARED, _MONTH, Field("day of week", 1, 7, _DAYS), Field("year", 1970, 2199))

_RATE = re.compile(r"rate\(\s*([0-9]{1,6})\s+(minute|hour|day)s?\s*\)")
_CRON = re.compile(r"cron\((.*)\)")
_SPECIAL = {
    "day of month": re.compile(r"L|LW|([1-9]|[12][0-9]|3[01])W"),
    "day of week": re.compile(rf"L|([1-7]|{'|'.join(_DAYS)})(L|#[1-5])", re.IGNORECASE),
}
_HINT = "write five fields such as '30 2 * * *', or 'cron(30 2 * * ? *)', or 'rate(12 hours)'"


def to_eventbridge(expression: str) -> str:
    """The expression as EventBridge Scheduler takes it. Raises ValueError with what is wrong in it."""
    text = expression.strip()
    if rate := _RATE.fullmatch(text):
        count = int(rate[1])
        if not count:
            raise ValueError("a rate must be 1 or more")
        return f"rate({count} {rate[2]}{'' if count == 1 else 's'})"
    if cron := _CRON.fullmatch(text):
        return f"cron({' '.join(_checked(cron[1].split()))})"
    fields = text.split()
    if len(fields) != len(CRON) or "(" in text:
        raise ValueError(f"is no schedule: {_HINT}")
    return f"cron({' '.join(_converted(fields))})"


def expand(field: Field, text: str, *, open_steps: bool = False) -> frozenset[int]:
    """Every value that a list, range or step of a field stands for. Raises ValueError.

    ``open_steps``: ``5/15`` runs on to the field's end, as EventBridge has it; crons disagree about it.
    """
    values: set[int] = set()
    for item in text.split(","):
        span, slash, step = item.partition("/")
        if slash and not (step.isascii() and step.isdigit() and int(step)):
            raise ValueError(f"{field.name} '{item}' needs a step of 1 or more")
        first, dash, last = span.partition("-")
        if span == "*":
            low, high = field.low, field.high
        elif dash:
            low, high = field.number(first), field.number(last)
            if low > high:
                raise ValueError(f"{field.name} '{item}' runs backwards: list the two parts, separated by a comma")
        else:
            low = field.number(span)
            high = field.high if slash else low
            if slash and not open_steps:
                raise ValueError(f"{field.name} '{item}' is unclear: write '{span}-{field.high}/{step}'")
        values.update(range(low, high + 1, int(step or 1)))
    return frozenset(values)


def _converted(fields: list[str]) -> list[str]:
    """Five cron fields as the six of EventBridge."""
    sets = [expand(field, text) for field, text in zip(CRON, fields, strict=True)]
    minutes, hours, days, months, weekdays = sets
    weekdays = frozenset(day % 7 + 1 for day in weekdays)
    every_day = fields[2].startswith("*") and len(days) == 31
    every_weekday = fields[4].startswith("*") and len(weekdays) == 7
    if not every_day and not every_weekday:
        raise ValueError(
            "restricts the day of month and the day of week, which EventBridge can't express: set one of them to *"
        )
    if not any(day <= _LONGEST[month - 1] for day in days for month in months):
        raise ValueError("names no day that any of its months has")
    if len(weekdays) == 7:
        day_of_month, day_of_week = _written(EVENTBRIDGE[2], days), "?"
    else:
        day_of_month, day_of_week = "?", _written(EVENTBRIDGE[4], weekdays)
    return [
        _written(EVENTBRIDGE[0], minutes),
        _written(EVENTBRIDGE[1], hours),
        day_of_month,
        _written(EVENTBRIDGE[3], months),
        day_of_week,
        "*",
    ]


def _written(field: Field, values: frozenset[int]) -> str:
    """A set of values as a field: ``*``, ``0/15``, ``2-6`` or a list."""
    numbers = sorted(values)
    if len(numbers) == field.high - field.low + 1:
        return "*"
    step = numbers[1] - numbers[0] if len(numbers) > 2 else 0
    if step and numbers == list(range(numbers[0], numbers[-1] + 1, step)):
        if step == 1:
            return f"{numbers[0]}-{numbers[-1]}"
        if numbers[-1] + step > field.high:
            return f"{numbers[0]}/{step}"
    return ",".join(map(str, numbers))


def _checked(fields: list[str]) -> list[str]:
    """The six fields of EventBridge's own cron, checked."""
    if len(fields) != len(EVENTBRIDGE):
        raise ValueError("cron(...) has six fields: minute, hour, day of month, month, day of week, year")
    if (fields[2] == "?") == (fields[4] == "?"):
        raise ValueError("cron(...) needs '?' in one of day of month and day of week, and only in one")
    for field, text in zip(EVENTBRIDGE, fields, strict=True):
        special = _SPECIAL.get(field.name)
        if special and (text == "?" or special.fullmatch(text)):
            continue
        expand(field, text, open_steps=True)
    return fields
