"""Durations in calendar units, such as ``30d``, ``6m`` or ``1y6m``."""

from __future__ import annotations

import calendar
import datetime as dt
import re
from dataclasses import dataclass

_FORM = re.compile(r"(?:(\d{1,4})y)?(?:(\d{1,4})m)?(?:(\d{1,4})w)?(?:(\d{1,5})d)?")


@dataclass(frozen=True)
class Duration:
    """Months and days: how long a month is depends on where it is counted from."""

    months: int
    days: int

    def before(self, day: dt.date) -> dt.date:
        """The day this long before ``day``; the last of a month where that month is too short."""
        year, month = divmod(day.year * 12 + day.month - 1 - self.months, 12)
        if year < dt.MINYEAR:
            return dt.date.min
        last = calendar.monthrange(year, month + 1)[1]
        try:
            return dt.date(year, month + 1, min(day.day, last)) - dt.timedelta(days=self.days)
        except OverflowError:
            return dt.date.min


def parse_duration(text: str) -> Duration:
    """Years, months, weeks and days, in this order, each at most once. Raises ValueError."""
    match = _FORM.fullmatch(text)
    years, months, weeks, days = (int(number or 0) for number in match.groups()) if match else (0, 0, 0, 0)
    duration = Duration(12 * years + months, 7 * weeks + days)
    if duration == Duration(0, 0):
        raise ValueError("is no duration such as '30d', '8w', '6m', '1y' or '1y6m' (years, months, weeks, days)")
    return duration
