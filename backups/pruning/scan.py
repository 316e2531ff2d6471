"""The listing: every page goes into the index, and the work may be left between any two objects."""

from __future__ import annotations

from collections.abc import Callable

from backups.copies import Pairing, Scope
from backups.destinations.base import Destination
from backups.pruning.work import Work

Enough = Callable[[int], bool]
"""Told how many more objects were listed or removed; whether the work is to be left now."""


def scan(work: Work, destination: Destination, enough: Enough) -> bool:
    """Go on listing; True when all has been listed. Raises DestinationError, and then nothing is known for certain."""
    places = work.task.scopes
    while work.scope < len(places):
        if not _scan(work, destination, places[work.scope], enough):
            return False
        work.scope, work.after = work.scope + 1, ""
    return True


def _scan(work: Work, destination: Destination, scope: Scope, enough: Enough) -> bool:
    pairing = Pairing(scope, work.after)
    listed = destination.list_after(scope.prefix, work.after) if work.after else destination.list(scope.prefix)
    leave = False
    for stored in listed:
        for copy in pairing.pass_by(stored):
            work.index.add(copy)
        if leave and pairing.settled:
            work.after = pairing.last
            return False
        for found in pairing.add(stored):
            work.index.add(found)
        leave = enough(1) or leave
    for copy in pairing.finish():
        work.index.add(copy)
    return True
