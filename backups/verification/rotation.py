"""Which copies a check reads back: so that each has its turn within the days, and no check reads too much. Pure.

Bytes are earned evenly: a whole turn of all copies in the days of the promise. They are spent on

1. copies that are due: their time is over before the check after the next one, so that one check may fail, or else
   those after them would come too late;
2. copies that were not found good, again after a day, then after two, four, eight …; and what took their place;
3. copies that were never read, the newest first, since those are the ones to be restored;
4. copies that wait longest.

The first two are read whatever was earned; the others in their order, so that a large one is saved up for. One check
reads ``max_gib`` at most, or a single copy that is larger: once as much was earned, at no more than ``max_gib`` for
each check, or when it is due and all copies together need no more than that. What such a copy takes above ``max_gib``
is overdrawn, until later checks have read so much less; before that no other large one is read. So checks in a row
never read more than ``max_gib`` each and one copy.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from backups.jobfile.settings import VerifyRules
from backups.naming import parse_key
from backups.verification.ledger import Known

GIB = 1 << 30
DAY = dt.timedelta(days=1)

_EARLY = dt.timedelta(hours=6)
"""No two checks are exactly a day apart."""


Key = tuple[str, str]
"""Destination and key."""


@dataclass(frozen=True)
class Waiting:
    """A copy that takes part."""

    source: str
    destination: str
    key: str
    known: Known

    @property
    def where(self) -> Key:
        """Which copy it is."""
        return self.destination, self.key


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
    overdrawn: int
    """Bytes that checks before have read above their bound, and none has read less since."""
    bound: int
    """Bytes that this check may read, but for a single copy that is larger."""
    warnings: tuple[str, ...]
    """Why the promise can't be kept."""


def rotate(
    waiting: Iterable[Waiting],
    rules: VerifyRules,
    *,
    now: dt.datetime,
    since: dt.timedelta | None = None,
    credit: int = 0,
    overdrawn: int = 0,
) -> Rotation:
    """Choose the copies to read now.

    ``since`` is the time since the last check, None before the first; ``credit`` are the bytes that it has left over,
    and ``overdrawn`` those that it and others before it have read too many.
    """
    copies = [copy for copy in waiting if not (copy.known.check and copy.known.check.status == "missing")]
    span = rules.every_days * DAY
    pause = min(since or DAY, span)
    total = sum(copy.known.size for copy in copies)
    share = math.ceil(total * (pause / span))
    bound = total if rules.max_gib is None else int(rules.max_gib * GIB)
    credit = min(total, credit + min(share, bound))
    usual = max(pause, DAY)  # one that came early does not bring the next one forward
    table = _Timetable(copies, span, usual, bound)
    turns: list[Turn] = []
    read, late, waits = 0, 0, False
    for rank, turn in _ordered(copies, table.latest, span, min(2 * usual, span / 2), now):
        size = turn.copy.known.size
        earned = read + size <= credit
        alone = not (read or overdrawn) and (
            share <= bound or earned if rank == _DUE else earned and table.allows(turn.copy, now)
        )
        if rank > _AGAIN and (waits or not earned):
            break  # what is earned is saved, for this one or for one before it
        if read + size <= bound or alone:
            turns.append(turn)
            read += size
        elif rank > _AGAIN:
            break
        else:
            waits = True
            late += rank == _DUE and turn.copy.known.waits_since + span <= now + usual
    return Rotation(tuple(turns), credit, overdrawn, bound, tuple(_warnings(rules, share, late)))


def spent(rotation: Rotation, read: int) -> int:
    """The credit that is left after reading so many bytes."""
    return max(0, rotation.credit - read)


def overdraft(rotation: Rotation, read: int) -> int:
    """What is overdrawn after reading so many bytes."""
    return max(0, rotation.overdrawn + read - rotation.bound)


class _Timetable:
    """When each copy must be read at last: before its days are over if else the ones after it would come too late.

    Small ones fill a check by half at least. One above the bound takes as many checks as make up for it, beside
    reading the small ones.
    """

    def __init__(self, copies: Sequence[Waiting], span: dt.timedelta, pause: dt.timedelta, bound: int) -> None:
        self._bound, self._pause, self._most = bound, pause, math.ceil(span / pause)
        self._large = [copy for copy in copies if copy.known.size > bound]
        small = sum(copy.known.size for copy in copies if copy.known.size <= bound)
        self._spare = max(1, bound - math.ceil(small * (pause / span)))
        self.latest = {copy.where: copy.known.waits_since + span for copy in copies}
        after = dt.datetime.max.replace(tzinfo=dt.UTC)
        for copy in sorted(copies, key=lambda one: (self.latest[one.where], one.known.size), reverse=True):
            after = self.latest[copy.where] = min(self.latest[copy.where], after - self._takes(copy))

    def allows(self, copy: Waiting, now: dt.datetime) -> bool:
        """Whether a copy that need not be read yet leaves the other large ones their time."""
        others = (self.latest[other.where] for other in self._large if other.where != copy.where)
        return all(now + self._takes(copy) <= latest for latest in others)

    def _takes(self, copy: Waiting) -> dt.timedelta:
        size = copy.known.size
        checks = 2 * size / max(1, self._bound) if size <= self._bound else math.ceil(size / self._spare)
        return min(checks, self._most) * self._pause


_DUE, _AGAIN, _NEVER, _LONGEST = range(4)


def _ordered(
    copies: Iterable[Waiting],
    latest: Mapping[Key, dt.datetime],
    span: dt.timedelta,
    ahead: dt.timedelta,
    now: dt.datetime,
) -> list[tuple[int, Turn]]:
    ranked = [found for copy in copies if (found := _ranked(copy, latest[copy.where], span, ahead, now))]
    return [(rank, turn) for rank, _, turn in sorted(ranked, key=lambda found: (*found[:2], found[2].copy.key))]


def _ranked(
    copy: Waiting, due: dt.datetime, span: dt.timedelta, ahead: dt.timedelta, now: dt.datetime
) -> tuple[int, float, Turn] | None:
    """Its kind, its place among those of its kind, and the turn itself; None when it must wait."""
    known = copy.known
    if known.check and known.tried:
        pause = min(2 ** (known.failures - 1) * DAY, span)
        if now + _EARLY < known.tried + pause:
            return None
        return _AGAIN, known.tried.timestamp(), Turn(copy, f"was {known.check.status} on {known.tried:%Y-%m-%d}")
    if known.changed:
        return _AGAIN, 0.0, Turn(copy, "was changed")
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
