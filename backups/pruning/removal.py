"""The removal: what the decisions let go, in the order of days, a thousand at a time, copies before their manifests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from backups.copies import Copy, Orphan
from backups.destinations.base import Destination
from backups.errors import DestinationError
from backups.parallel import in_order
from backups.pruning.look import Row, look
from backups.pruning.plan import Batch, Plan
from backups.pruning.scan import Enough
from backups.pruning.task import Task
from backups.pruning.work import Work

AT_ONCE = 2
"""Batches under way at a time where that is quicker. Amazon slows down who removes much more than they do."""


@dataclass
class _Removal:
    """What became of a batch. Threads fill it, and only their end makes it part of the work."""

    batch: Batch
    locked: list[tuple[Row, dt.datetime]] = field(default_factory=list)
    gone: list[Row] = field(default_factory=list)
    refused: list[tuple[Row, str, str]] = field(default_factory=list)
    """Each with the object's key and the reason."""
    unsure: list[Row] = field(default_factory=list)
    """What may be gone or not, since the destination broke."""
    error: str = ""


def promise(work: Work, plan: Plan, destination: Destination) -> None:
    """What a removal would do, in the work's records; nothing is removed. Raises DestinationError."""
    for batch in plan.batches(work):
        looked = look(work.task, batch.rows, destination)
        _record(work, _Removal(batch, locked=looked.locked, gone=looked.going))


def remove(work: Work, plan: Plan, destination: Destination, enough: Enough) -> bool:
    """Go on removing; True when everything was tried. Never raises DestinationError: the tallies tell.

    Sources whose tally has an error already are passed over.
    """
    leave, error = False, ""

    def due() -> Iterator[Batch]:
        for batch in plan.batches(work):
            if leave or error:
                return
            yield Batch(batch.last, [row for row in batch.rows if not work.tallies[row.source].error])

    def begin(batch: Batch) -> _Removal:
        return _remove_batch(work.task, batch, destination)

    for done in in_order(begin, due(), min(AT_ONCE, destination.parallel), "removal"):
        _record(work, done)
        error = error or done.error
        leave = enough(len(done.batch.rows)) or leave
    if error:
        give_up(work, plan, error)
        return True
    return plan.is_done(work)


def give_up(work: Work, plan: Plan, error: str) -> None:
    """Try no more: every source that has something left to go is told of."""
    for source in plan.left(work):
        work.tallies[source].failed(error)


def _remove_batch(task: Task, batch: Batch, destination: Destination) -> _Removal:
    """Remove copies, then the manifests of those that are gone.

    In this order a crash leaves manifests without copies, which a later run sweeps. The other way round it would
    leave copies whose sha256 nobody knows.
    """
    done, asked = _Removal(batch), batch.rows
    try:
        going, done.locked = look(task, batch.rows, destination)
        asked = [row for row in going if isinstance(row.found, Copy)]
        _remove_named(done, destination, {str(row.found.key): row for row in asked})
        stuck = {name for _, name, _ in done.refused}
        asked = [row for row in going if _has_manifest(row.found) and str(row.found.key) not in stuck]
        _remove_named(done, destination, {row.found.key.manifest: row for row in asked})
    except DestinationError as error:
        done.error, done.unsure = str(error), asked
    return done


def _has_manifest(found: Copy | Orphan) -> bool:
    return isinstance(found, Orphan) or found.has_manifest


def _remove_named(done: _Removal, destination: Destination, named: Mapping[str, Row]) -> None:
    refused = destination.remove(list(named)) if named else {}
    for name, row in named.items():
        if name in refused:
            done.refused.append((row, name, refused[name]))
        elif name == _name(row.found):
            done.gone.append(row)


def _name(found: Copy | Orphan) -> str:
    """What is told of as removed: a manifest that goes with its copy is not."""
    return str(found.key) if isinstance(found, Copy) else found.key.manifest


def _record(work: Work, done: _Removal) -> None:
    for row, until in done.locked:
        work.index.lock(row.source, row.number, until)
    for row in done.gone:
        work.index.remove(row.source, row.number)
        work.tallies[row.source].removed(_name(row.found))
    for row, name, reason in done.refused:
        work.tallies[row.source].refused(name, reason)
    for row in done.unsure:
        work.tallies[row.source].failed(done.error)
    work.handled = done.batch.last
