"""The removal: what the decisions let go, in the order of days, a thousand at a time, copies before their manifests."""

from __future__ import annotations

import datetime as dt
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
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
        decisions = work.task.decisions(work.index, source)
        going = {decision.copy.key for decision in decisions if not decision.keep}
        for row, found in enumerate(work.index.rows(source)):
            if found.key in going if isinstance(found, Copy) else work.task.is_junk(found):
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
    """What a removal would do, in the tallies; nothing is removed. Raises DestinationError."""
    for batch in plan.batches(work):
        for found in may_go(work, batch, destination):
            work.tallies[found.key.source_id].removed(str(found.key) if isinstance(found, Copy) else found.key.manifest)


def remove(work: Work, plan: Plan, destination: Destination, enough: Enough) -> bool:
    """Go on removing; True when everything was tried. Never raises DestinationError: the tallies tell.

    Sources whose tally has an error already are passed over.
    """
    for batch in plan.batches(work):
        sound = [row for row in batch if not work.tallies[row.source].error]
        try:
            _remove_batch(work, destination, sound)
        except DestinationError as error:
            give_up(work, plan, str(error))
            return True
        if enough(len(batch)) and not plan.is_done(work):
            return False
    return True


def give_up(work: Work, plan: Plan, error: str) -> None:
    """Try no more: every source that has something left to go is told of."""
    for row in plan.rows(work):
        work.tallies[row.source].failed(row.found, error)


def _remove_batch(work: Work, destination: Destination, rows: Sequence[Row]) -> None:
    """Remove copies, then the manifests of those that are gone. Raises DestinationError.

    In this order a crash leaves manifests without copies, which a later run sweeps. The other way round it would
    leave copies whose sha256 nobody knows.
    """
    try:
        batch = may_go(work, rows, destination)
    except DestinationError as error:
        for row in rows:
            work.tallies[row.source].failed(row.found, str(error))
        raise
    copies = {str(one.key): one for one in batch if isinstance(one, Copy)}
    refused = _removed(work, destination, copies)
    for name, copy in copies.items():
        tally = work.tallies[copy.key.source_id]
        if name in refused:
            tally.refused(name, refused[name])
            tally.stuck.add(copy.key.date)
        else:
            tally.removed(name)
    beside = [Orphan(c.key, c.modified) for name, c in copies.items() if c.has_manifest and name not in refused]
    junk = [one for one in batch if isinstance(one, Orphan)]
    manifests = {one.key.manifest: one for one in [*beside, *junk]}
    refused = _removed(work, destination, manifests)
    for name, one in manifests.items():
        if name in refused:
            work.tallies[one.key.source_id].refused(name, refused[name])
    for one in junk:
        if one.key.manifest not in refused:
            work.tallies[one.key.source_id].removed(one.key.manifest)


def _removed(work: Work, destination: Destination, named: Mapping[str, Copy | Orphan]) -> dict[str, str]:
    """What was refused. When the destination breaks, each may be gone or not, and the tallies say so."""
    if not named:
        return {}
    try:
        return destination.remove(list(named))
    except DestinationError as error:
        for one in named.values():
            work.tallies[one.key.source_id].failed(one, str(error))
        raise
