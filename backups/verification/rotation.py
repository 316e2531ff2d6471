"""Which copies a check reads back: so that each has its turn within the days, and no check reads too much. Pure.

Bytes are earned evenly: a whole turn of all copies in the days of the promise. They are spent on

1. copies that are due: their time is over before the check after the next one, so that one check may fail;
2. copies that were not found good, again after a day, then after two, four, eight …; and what took their place;
3. copies that were never read, the newest first, since those are the ones to be restored;
4. copies that wait longest.

The first two are read whatever was earned; the others in their order, so that a large one is saved up for. One check
reads ``max_gib`` at most, or a single copy that is larger: once as much was earned, at no more than ``max_gib`` for
each check, or when it is due and all copies together need no more than that.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from backups.jobfile.settings import VerifyRules
from backups.naming import parse_key
from backups.verification.ledger import Known

GIB = 1 << 30
DAY = dt.timedelta(days=1)

_EARLY = dt.timedelta(hours=6)
"""No two checks are exactly a day apart."""


@dataclass(frozen=True)
class Waiting:
    """A copy that takes part."""

    source: str
    destination: str
    key: str
    known: Known


@dataclass(frozen=True)
class Turn:
    """A copy that is to be read, and why."""

    copy: Waiting
    reason: str


@dataclass(frozen=True)
class Rotation:
    """What a check does."""

    turns: tuple[Turn, ...]
    """In the order in which they are read."""
    credit: int
    """Bytes that were earned, before anything is read."""
    warnings: tuple[str, ...]
    """Why the promise can't be kept."""


def rotate(
    waiting: Iterable[Waiting],
    rules: VerifyRules,
    *,
    now: dt.datetime,
    since: dt.timedelta | None = None,
    credit: int = 0,
) -> Rotation:
    """Choose the copies to read now.

    ``since`` is the time since the last check, None before the first; ``credit`` are the bytes that it has left over.
    """
    copies = [copy for copy in waiting if not (copy.known.check and copy.known.check.status == "missing")]
    span = rules.every_days * DAY
    pause = min(since or DAY, span)
    total = sum(copy.known.size for copy in copies)
    share = math.ceil(total * (pause / span))
    bound = total if rules.max_gib is None else int(rules.max_gib * GIB)
    credit = min(total, credit + min(share, bound))
    turns: list[Turn] = []
    read, late, waits = 0, 0, False
    for rank, turn in _ordered(copies, span, min(2 * pause, span / 2), now):
        size = turn.copy.known.size
        earned = read + size <= credit
        alone = not read and (earned or (rank == _DUE and share <= bound))
        if rank > _AGAIN and (waits or not earned):
            break  # what is earned is saved, for this one or for one before it
        if read + size <= bound or alone:
            turns.append(turn)
            read += size
        elif rank > _AGAIN:
            break
        else:
            waits = True
            late += rank == _DUE
    return Rotation(tuple(turns), credit, tuple(_warnings(rules, share, late)))


def spent(rotation: Rotation, read: int) -> int:
    """The credit that is left after reading so many bytes."""
    return max(0, rotation.credit - read)


_DUE, _AGAIN, _NEVER, _LONGEST = range(4)


def _ordered(
    copies: Iterable[Waiting], span: dt.timedelta, ahead: dt.timedelta, now: dt.datetime
) -> list[tuple[int, Turn]]:
    ranked = [found for copy in copies if (found := _ranked(copy, span, ahead, now))]
    return [(rank, turn) for rank, _, turn in sorted(ranked, key=lambda found: (*found[:2], found[2].copy.key))]


def _ranked(copy: Waiting, span: dt.timedelta, ahead: dt.timedelta, now: dt.datetime) -> tuple[int, float, Turn] | None:
    """Its kind, its place among those of its kind, and the turn itself; None when it must wait."""
    known = copy.known
    if known.check and known.tried:
        pause = min(2 ** (known.failures - 1) * DAY, span)
        if now + _EARLY < known.tried + pause:
            return None
        return _AGAIN, known.tried.timestamp(), Turn(copy, f"was {known.check.status} on {known.tried:%Y-%m-%d}")
    if known.changed:
        return _AGAIN, 0.0, Turn(copy, "was changed")
    due = known.waits_since + span
    days = (now - known.waits_since).days
    if due <= now + ahead:
        return _DUE, due.timestamp(), Turn(copy, f"due on {due:%Y-%m-%d}")
    if known.checked is None:
        key = parse_key(copy.key)
        return _NEVER, -key.date.toordinal() if key else 0, Turn(copy, "never read back")
    return _LONGEST, due.timestamp(), Turn(copy, f"waits longest: {days} {'day' if days == 1 else 'days'}")


def _warnings(rules: VerifyRules, share: int, late: int) -> Iterator[str]:
    if rules.max_gib is None:
        return
    if share > rules.max_gib * GIB:
        needed = math.ceil(share / GIB)
        yield (
            f"reading every copy within {rules.every_days} days takes {needed} GiB each time; "
            f"'max_gib' allows {rules.max_gib:g}"
        )
    elif late:
        yield f"{late} due copies have to wait, since 'max_gib' allows {rules.max_gib:g} GiB each time"
