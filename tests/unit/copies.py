"""Copies to decide about, written down shortly."""

from __future__ import annotations

import datetime as dt

from backups.copies import Copy
from backups.naming import CopyKey

TODAY = dt.date(2026, 11, 23)
NOW = dt.datetime(2026, 11, 23, 3, 0, tzinfo=dt.UTC)


def copy(
    date: dt.date | int,
    *,
    source: str = "db",
    hostname: str = "web1",
    verified: bool = True,
    compression: str = "",
    locked_until: dt.datetime | None = None,
    modified: dt.datetime | None = None,
) -> Copy:
    """A copy of a date, or of so many days before ``TODAY``."""
    day = TODAY - dt.timedelta(days=date) if isinstance(date, int) else date
    return Copy(
        key=CopyKey(hostname, day, source, "sql", compression),
        size=1000,
        modified=modified or dt.datetime.combine(day, dt.time(2), dt.UTC),
        verified=verified,
        has_manifest=verified,
        locked_until=locked_until,
    )
