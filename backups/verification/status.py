"""Records of verification: what was found of one copy, and how a job's copies stand as a whole."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import Field

from backups.records import Record

CheckStatus = Literal["ok", "damaged", "unreadable", "missing"]

MOST_BAD = 100
"""Bad copies that a status lists; more of them are counted."""


class Check(Record):
    """What became of one copy's verification."""

    source: str
    destination: str
    key: str = ""
    """Empty when there is no copy to verify."""
    status: CheckStatus
    """``damaged``: its bytes are wrong. ``unreadable``: they could not be read, or not be decrypted."""
    checked: str = ""
    """What was found right, such as ``size, sha256 and gpg``."""
    size: int = 0
    """Bytes that were read."""
    seconds: float = 0.0
    error: str = ""
    hint: str = ""


class Verification(Record):
    """How the copies of a job stand after a scheduled check: ``verification/{job}.json`` in the state bucket.

    It describes what destinations held when ``finished``; copies that retention has removed since are gone from it.
    """

    job: str
    run: str
    """The check that wrote it."""
    execution: str = ""
    """Name of the execution that this check was; empty on one machine."""
    hostname: str
    started: dt.datetime
    finished: dt.datetime
    within_days: int
    """Every copy is to be read back whole within so many days."""
    copies: int = 0
    """Copies that take part in the rotation, at all destinations together."""
    size: int = 0
    """Bytes of them."""
    checked: int = 0
    """Copies that this check has read, good and bad."""
    checked_size: int = 0
    """Bytes that this check has read: what it cost."""
    oldest: dt.datetime | None = None
    """When the copy that waits longest was last read back, or first seen if never; None when there are no copies."""
    overdue: int = 0
    """Copies that were not read back within the days."""
    bad: tuple[Check, ...] = ()
    """Copies that were not found good when they were last read; one stays here until it is read as good, or is gone."""
    damaged: int = 0
    """How many of them are damaged,"""
    missing: int = 0
    """how many are missing,"""
    unreadable: int = 0
    """and how many could not be read or decrypted. Of more than are listed, too."""
    left_out: dict[str, str] = Field(default_factory=dict)
    """Destinations that were not looked at, each with the reason."""
    warnings: tuple[str, ...] = ()
    """Why the promise of ``within_days`` can't be kept."""
    credit: int = 0
    """Bytes that the next check may read of copies that are not due yet."""
    overdrawn: int = 0
    """Bytes of a large copy above ``max_gib``, for which no check has read less yet."""
    going: bool = False
    """The check is not over, or was killed."""
    error: str = ""
    """Why the check did not come to its end."""

    @property
    def more_bad(self) -> int:
        """Bad ones that are not listed."""
        return self.damaged + self.missing + self.unreadable - len(self.bad)

    @property
    def good(self) -> bool:
        """Whether nothing is known to be wrong with any copy, and every destination was looked at."""
        return not (self.damaged or self.missing or self.unreadable or self.left_out or self.error)

    def age_hours(self, now: dt.datetime) -> float:
        """Hours for which the copy that waits longest has not been read back; 0 when there are no copies."""
        return max(0.0, (now - self.oldest).total_seconds() / 3600) if self.oldest else 0.0
