"""The removal: what the decisions let go, in the order of days, a thousand at a time, copies before their manifests."""

from __future__ import annotations

import datetime as dt
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice

from backups.copies import Copy, Orphan
from backups.destinations.base import Destination
from backups.errors import DestinationError
from backups.pruning.look import Row, may_go
from backups.pruning.scan import Enough
from backups.pruning.work import Work
from backups.retention import Decision

BATCH = 1000
"""Copies that are removed at once; as many as one request to S3 takes."""

_ROW_BITS, _SOURCE_BITS = 22, 20


@dataclass
class Plan:
    """What goes: places in the index, sorted by day and source, since destinations remove neighbours fastest."""

    places: array[int]
    sources: tuple[str, ...]
    rests_on: dict[str, frozenset[tuple[dt.date, bool]]] = field(default_factory=dict)
    """The days of the copies that removals of a source rest on, each with whether the copy is verified."""

    def rows(self, work: Work) -> Iterator[Row]:
        """What is left to go."""
        for place in islice(self.places, bisect_right(self.places, work.handled), None):
            source, number = self.sources[place >> _ROW_BITS & (1 << _SOURCE_BITS) - 1], place & (1 << _ROW_BITS) - 1
            yield Row(source, number, work.index.row(source, number))

    def batches(self, work: Work) -> Iterator[list[Row]]:
        """The same, so many at a time; each counts as handled from when it is asked for."""
        while batch := list(islice(self.rows(work), BATCH)):
            start = bisect_right(self.places, work.handled)
            work.handled = self.places[start + len(batch) - 1]
            yield batch

    def is_done(self, work: Work) -> bool:
        """Whether all of it was tried."""
        return not self.places or work.handled >= self.places[-1]


def make_plan(work: Work) -> Plan:
    """Decide about every copy; the same each time for the same work."""
    places: list[int] = []
    plan = Plan(array("Q"), work.task.sources)
    for number, source in enumerate(work.task.sources):
        known = list(work.index.rows(source))
        decisions = work.task.decide(known)
        going = {id(decision.copy) for decision in decisions if not decision.keep}
        for row, found in enumerate(known):
            if id(found) in going if isinstance(found, Copy) else work.task.is_junk(found):
                places.append(found.key.date.toordinal() << _ROW_BITS + _SOURCE_BITS | number << _ROW_BITS | row)
        if going:
            plan.rests_on[source] = frozenset(_rest(decisions))
    places.sort()
    plan.places.extend(places)
    return plan


def _rest(decisions: Sequence[Decision]) -> Iterator[tuple[dt.date, bool]]:
    """Days that count, by what the rules keep: with any of these gone, something else might have to stay."""
    verified = {decision.copy.key.date for decision in decisions if decision.copy.verified}
    for decision in decisions:
        if decision.counts and (decision.copy.verified or decision.copy.key.date not in verified):
            yield decision.copy.key.date, decision.copy.verified


def promise(work: Work, plan: Plan, destination: Destination) -> None:
    """What a removal would do, in the work's records; nothing is removed. Raises DestinationError."""
    for batch in plan.batches(work):
        for row in may_go(work, batch, destination):
            _gone(work, row)


def remove(work: Work, plan: Plan, destination: Destination, enough: Enough) -> bool:
    """Go on removing; True when everything was tried. Never raises DestinationError: the tallies tell.

    Sources whose tally has an error already are passed over.
    """
    for batch in plan.batches(work):
        try:
            _remove_batch(work, destination, [row for row in batch if not work.tallies[row.source].error])
        except DestinationError as error:
            give_up(work, plan.rows(work), str(error))
            return True
        if enough(len(batch)) and not plan.is_done(work):
            return False
    return True


def give_up(work: Work, rows: Iterable[Row], error: str) -> None:
    """Try no more: every source that has something left to go is told of."""
    for row in rows:
        work.tallies[row.source].failed(error)


def _remove_batch(work: Work, destination: Destination, batch: Sequence[Row]) -> None:
    """Remove copies, then the manifests of those that are gone. Raises DestinationError.

    In this order a crash leaves manifests without copies, which a later run sweeps. The other way round it would
    leave copies whose sha256 nobody knows.
    """
    with _telling(work, batch):
        going = may_go(work, batch, destination)
    copies = {str(row.found.key): row for row in going if isinstance(row.found, Copy)}
    refused = _removed(work, destination, copies)
    for name, row in copies.items():
        if name in refused:
            work.tallies[row.source].refused(name, refused[name])
        else:
            _gone(work, row)
    manifests = {
        row.found.key.manifest: row
        for row in going
        if isinstance(row.found, Orphan) or (row.found.has_manifest and str(row.found.key) not in refused)
    }
    refused = _removed(work, destination, manifests)
    for name, row in manifests.items():
        if name in refused:
            work.tallies[row.source].refused(name, refused[name])
        elif isinstance(row.found, Orphan):
            _gone(work, row)


def _gone(work: Work, row: Row) -> None:
    work.index.remove(row.source, row.number)
    key = row.found.key
    work.tallies[row.source].removed(str(key) if isinstance(row.found, Copy) else key.manifest)


def _removed(work: Work, destination: Destination, named: Mapping[str, Row]) -> dict[str, str]:
    """What was refused."""
    with _telling(work, named.values()):
        return destination.remove(list(named)) if named else {}


@contextmanager
def _telling(work: Work, rows: Iterable[Row]) -> Iterator[None]:
    """When the destination breaks, each of these may be gone or not, and the tallies say so."""
    try:
        yield
    except DestinationError as error:
        give_up(work, rows, str(error))
        raise
