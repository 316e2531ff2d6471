"""What goes, and what that rests on, in a few bytes for each copy."""

from __future__ import annotations

import datetime as dt
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from backups.copies import Copy
from backups.pruning.look import Row
from backups.pruning.work import Work
from backups.retention import Decision

BATCH = 1000
"""Copies that are removed at once; as many as one request to S3 takes."""

_ROW_BITS, _SOURCE_BITS = 22, 20


class Batch(NamedTuple):
    """Copies and orphans that are removed together."""

    last: int
    """The last of their places."""
    rows: list[Row]


@dataclass
class Plan:
    """What goes: places in the index, sorted by day and source, since destinations remove neighbours fastest."""

    sources: tuple[str, ...]
    places: array[int] = field(default_factory=lambda: array("Q"))
    rests_on: dict[dt.date, array[int]] = field(default_factory=dict)
    """By day the sources whose removals rest on a copy of that day: see ``rest``."""

    def left(self, work: Work) -> set[str]:
        """The sources of what is left to go."""
        numbers = {place >> _ROW_BITS & (1 << _SOURCE_BITS) - 1 for place in self.places[self._start(work.handled) :]}
        return {self.sources[number] for number in numbers}

    def batches(self, work: Work) -> Iterator[Batch]:
        """What is left to go, so many at a time."""
        for start in range(self._start(work.handled), len(self.places), BATCH):
            places = self.places[start : start + BATCH]
            yield Batch(places[-1], [self._row(work, place) for place in places])

    def is_done(self, work: Work) -> bool:
        """Whether all of it was tried."""
        return self._start(work.handled) == len(self.places)

    def rest(self, day: dt.date) -> Iterator[tuple[str, bool]]:
        """The sources whose removals rest on the copy of a day, each with whether that is a verified one."""
        return ((self.sources[packed >> 1], bool(packed & 1)) for packed in self.rests_on[day])

    def _start(self, handled: int) -> int:
        return bisect_right(self.places, handled)

    def _row(self, work: Work, place: int) -> Row:
        source, number = self.sources[place >> _ROW_BITS & (1 << _SOURCE_BITS) - 1], place & (1 << _ROW_BITS) - 1
        return Row(source, number, work.index.row(source, number))


def make_plan(work: Work) -> Plan:
    """Decide about every copy; the same each time for the same work."""
    plan, places = Plan(work.task.sources), array("Q")
    for number, source in enumerate(work.task.sources):
        known = list(work.index.rows(source))
        decisions = work.task.decide(known)
        going = {id(decision.copy) for decision in decisions if not decision.keep}
        for row, found in enumerate(known):
            if id(found) in going if isinstance(found, Copy) else work.task.is_junk(found):
                places.append(found.key.date.toordinal() << _ROW_BITS + _SOURCE_BITS | number << _ROW_BITS | row)
        if going:
            for day, verified in _rest(decisions):
                plan.rests_on.setdefault(day, array("I")).append(number << 1 | verified)
    plan.places.extend(sorted(places))
    return plan


def _rest(decisions: Sequence[Decision]) -> Iterator[tuple[dt.date, bool]]:
    """Days that count, by what the rules keep: with any of these gone, something else might have to stay."""
    verified = {decision.copy.key.date for decision in decisions if decision.copy.verified}
    for decision in decisions:
        if decision.counts and (decision.copy.verified or decision.copy.key.date not in verified):
            yield decision.copy.key.date, decision.copy.verified
