"""What is known of each copy from check to check: seen when, found good when, and what was wrong with it. Pure.

A ledger belongs to one source at one destination. It is written after each copy that was read, so that a check which
is killed loses at most the copy that it was reading.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from backups.copies import Copy
from backups.naming import parse_key
from backups.records import Record
from backups.verification.status import Check, Verification

Where = tuple[str, str]
"""Source and destination."""


class Known(Record):
    """One copy."""

    size: int
    """Bytes."""
    modified: dt.datetime
    manifest: bool
    """A manifest stood beside it."""
    seen: dt.datetime
    """When a check first listed it as it is now."""
    checked: dt.datetime | None = None
    """When it was last found good; None when it never was."""
    tried: dt.datetime | None = None
    """When it was last read and not found good."""
    failures: int = 0
    """How often that was since it was last found good."""
    changed: bool = False
    """It took the place of one that was not good, or is newer than its manifest: to be read at once."""
    check: Check | None = None
    """What was wrong with it; None when nothing is known to be."""

    @property
    def waits_since(self) -> dt.datetime:
        """Since when it has not been read back whole; damage is an answer, too."""
        answered = self.tried if self.check and self.check.status == "damaged" else None
        return max(filter(None, (self.seen, self.checked, answered)))

    def after(self, check: Check, now: dt.datetime) -> Known:
        """What is known once it was read, or found missing."""
        if check.status == "ok":
            good = {"checked": now, "tried": None, "failures": 0, "check": None, "changed": False}
            return self.model_copy(update=good)
        bad = {"tried": now, "failures": self.failures + 1, "check": check, "changed": False}
        return self.model_copy(update=bad)


class Ledger(Record):
    """The copies of one source at one destination."""

    source: str
    destination: str
    copies: dict[str, Known] = Field(default_factory=dict)
    """By their keys."""

    @property
    def where(self) -> Where:
        """Whose it is."""
        return self.source, self.destination

    def with_copy(self, key: str, known: Known) -> Ledger:
        """The same with another word on one copy."""
        return self.model_copy(update={"copies": {**self.copies, key: known}})


class Books(Protocol):
    """Where ledgers and the status are kept. Every method raises BackupsError when that does not answer."""

    def ledgers(self, job: str) -> list[Ledger]:
        """Every ledger of a job."""

    def put_ledger(self, job: str, ledger: Ledger) -> None:
        """Keep a ledger in the place of what was there; whole or not at all."""

    def verification(self, job: str) -> Verification | None:
        """How the job's copies stood after its last check; None before the first."""

    def put_verification(self, verification: Verification) -> None:
        """Keep how the job's copies stand."""


@dataclass(frozen=True)
class Compared:
    """A ledger brought up to what a destination lists."""

    ledger: Ledger
    changed: bool
    """It must be written."""


def compared(ledger: Ledger, listed: Iterable[Copy], now: dt.datetime, *, newest_stays: bool = True) -> Compared:
    """Take up copies that are new or replaced, and drop those that are gone.

    Retention never removes the newest verified backup of a source, so with ``newest_stays`` one that is gone although
    nothing newer took its place is missing. It is told until there is a newer one.
    """
    found = {str(copy.key): copy for copy in listed}
    copies = {key: _known(ledger, key, copy, now) for key, copy in found.items()}
    if newest_stays:
        newest = max((copy.key.date for copy in found.values() if copy.verified), default=None)
        for key, known in ledger.copies.items():
            parsed = parse_key(key)
            if parsed is None or key in found or not known.manifest:
                continue
            if newest is None or parsed.date > newest:
                copies[key] = _missing(ledger, key, known, now)
    after = ledger.model_copy(update={"copies": copies})
    return Compared(after, after != ledger)


def without_good(ledger: Ledger) -> Ledger:
    """What stays of a source or destination that the job no longer names: copies that were not found good.

    They may be there still, and nobody may take them for good when the job names that place again. The others are then
    read anew.
    """
    return ledger.model_copy(update={"copies": {key: one for key, one in ledger.copies.items() if one.check}})


def _known(ledger: Ledger, key: str, copy: Copy, now: dt.datetime) -> Known:
    before = ledger.copies.get(key)
    fresh = Known(size=copy.size, modified=copy.modified, manifest=copy.has_manifest, seen=now)
    if before is None:
        return fresh
    is_missed = before.check is not None and before.check.status == "missing"
    if is_missed or (before.size, before.modified) != (copy.size, copy.modified):
        is_older = copy.has_manifest and not copy.verified  # of a run that died, or somebody wrote over the copy
        return fresh.model_copy(update={"changed": is_older or before.check is not None})
    if copy.has_manifest and not before.manifest:
        return fresh
    if before.manifest and not copy.has_manifest and not before.check:
        return before.after(manifest_gone(ledger.where, key), now)
    return before


def manifest_gone(where: Where, key: str) -> Check:
    """The check of a copy that had a manifest and has none any more, although it is the same copy."""
    return Check(
        source=where[0],
        destination=where[1],
        key=key,
        status="damaged",
        error="its manifest is gone, which says what the copy must be",
        hint="restore the manifest from another destination or an old version; who removed it?",
    )


def _missing(ledger: Ledger, key: str, known: Known, now: dt.datetime) -> Known:
    if known.check and known.check.status == "missing":
        return known
    check = Check(
        source=ledger.source,
        destination=ledger.destination,
        key=key,
        status="missing",
        error="it was the newest copy, which retention never removes, and is gone",
        hint="run the job again; then find out who removed it",
    )
    return known.after(check, now)
