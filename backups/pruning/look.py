"""A fresh look at what is about to go: is it still what the listing has shown, and is it locked?

Hours may lie between the listing and a removal. What was stored anew meanwhile is not what was decided about, so it
stays and the next run decides. Locks are asked for here and nowhere before, since a listing of S3 does not tell them,
and a bucket of a million objects would have to be asked a million times.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from backups.copies import Copy, Orphan, paired
from backups.destinations.base import Destination, StoredObject
from backups.naming import CopyKey, LegacyKey, day_prefix, legacy_prefix
from backups.pruning.index import CopyIndex
from backups.pruning.task import Task
from backups.pruning.work import Work

log = logging.getLogger("backups.pruning")


class Row(NamedTuple):
    """What is to go, and where the index has it."""

    source: str
    number: int
    found: Copy | Orphan


def may_go(work: Work, batch: Sequence[Row], destination: Destination) -> list[Row]:
    """Those of a batch that may go now. Locks become part of the index. Raises DestinationError."""
    there = _look(work.task, [row.found.key for row in batch], destination)
    return [row for row in batch if _goes(work, row, there.get(str(row.found.key)))]


def _goes(work: Work, row: Row, now: Copy | Orphan | None) -> bool:
    if now is None:
        return True  # gone already; it is asked for all the same, since versions of it may be left
    if now.locked_until and now.locked_until > work.task.now:
        work.index.lock(row.source, row.number, now.locked_until)
        return False
    if _is_another(row.found, now):
        log.warning("%s: stored anew since the listing, so it stays until the next run decides", now.key)
        return False
    return True


def _is_another(was: Copy | Orphan, now: Copy | Orphan) -> bool:
    """Whether something else lies there now. A copy that has become verified counts as one: it may have to stay."""
    if isinstance(now, Orphan):
        return isinstance(was, Orphan) and not CopyIndex.same_moment(was.modified, now.modified)
    if isinstance(was, Orphan):
        return True
    return (
        now.size != was.size
        or not CopyIndex.same_moment(was.modified, now.modified)
        or (now.verified and not was.verified)
    )


def _look(task: Task, keys: Sequence[CopyKey], destination: Destination) -> Mapping[str, Copy | Orphan]:
    """What is there now of these copies and their manifests, by the copies' keys."""
    own, *legacy = task.scopes
    scopes = {scope.prefix: scope for scope in legacy}
    folders: dict[str, list[CopyKey]] = defaultdict(list)
    for key in keys:
        old = isinstance(key, LegacyKey)
        folders[legacy_prefix(key.source_id) if old else day_prefix(key.hostname, key.date)].append(key)
    there: dict[str, Copy | Orphan] = {}
    for prefix, wanted in folders.items():
        listed = destination.with_locks(_listed(destination, prefix, wanted))
        there.update((str(found.key), found) for found in paired(scopes.get(prefix, own), listed))
    return there


def _listed(destination: Destination, prefix: str, wanted: Sequence[CopyKey]) -> Iterator[StoredObject]:
    """Copies and manifests of these keys, by a listing of no more than lies between the first and the last."""
    names = {name for key in wanted for name in (str(key), key.manifest)}
    last = max(names)
    for stored in destination.list_after(prefix, min(names)[:-1]):
        if stored.key > last:
            return
        if stored.key in names:
            yield stored
