"""A fresh look at what is about to go: is it still what the listing has shown, and is it locked?

Hours may lie between the listing and a removal. What was stored anew meanwhile is not what was decided about, so it
stays and the next run decides. Locks are asked for here and nowhere before, since a listing of S3 does not tell them,
and a bucket of a million objects would have to be asked a million times.
"""

from __future__ import annotations

import datetime as dt
import logging
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from os.path import commonprefix
from typing import NamedTuple

from backups.copies import Copy, Orphan, paired
from backups.destinations.base import Destination, StoredObject
from backups.naming import CopyKey, LegacyKey, legacy_prefix
from backups.pruning.index import CopyIndex
from backups.pruning.task import Task

log = logging.getLogger("backups.pruning")


LEAP = 1000
"""Objects that a listing passes over before it is begun anew further on; as many as a page has."""


class Row(NamedTuple):
    """What is to go, and where the index has it."""

    source: str
    number: int
    found: Copy | Orphan


class Looked(NamedTuple):
    """What a look at a batch has shown."""

    going: list[Row]
    """What may go now."""
    locked: list[tuple[Row, dt.datetime]]
    """What may not, with the end of its lock."""


def look(task: Task, batch: Sequence[Row], destination: Destination) -> Looked:
    """What of a batch may go now. Raises DestinationError."""
    there = _look(task, [row.found.key for row in batch], destination)
    looked = Looked([], [])
    for row in batch:
        now = there.get(str(row.found.key))
        if now and now.locked_until and now.locked_until > task.now:
            looked.locked.append((row, now.locked_until))
        elif now and _is_another(row.found, now):
            log.warning("%s: stored anew since the listing, so it stays until the next run decides", now.key)
        else:
            looked.going.append(row)  # one that is gone already too, since versions of it may be left
    return looked


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
    scopes = {scope.prefix: scope for scope in (own, *legacy)}
    names: dict[str, list[str]] = defaultdict(list)
    for key in keys:
        prefix = legacy_prefix(key.source_id) if isinstance(key, LegacyKey) else own.prefix
        names[prefix] += (str(key), key.manifest)
    there: dict[str, Copy | Orphan] = {}
    for prefix, wanted in names.items():
        listed = destination.with_locks(_listed(destination, sorted(wanted)))
        there.update((str(found.key), found) for found in paired(scopes[prefix], listed))
    return there


def _listed(destination: Destination, names: Sequence[str]) -> Iterator[StoredObject]:
    """Those of these objects that are there, by a listing that leaps over what lies between them where it is much."""
    at = 0
    while at < len(names):
        began, passed = at, 0
        prefix = commonprefix([names[at], names[-1]])  # noqa: RUF071 - what listings go by
        for stored in destination.list_after(prefix, names[at][:-1]):
            at = bisect_left(names, stored.key, at)
            if at == len(names):
                return
            if stored.key == names[at]:
                yield stored
                at, passed = at + 1, 0
                if at == len(names):
                    return
            else:
                passed += 1
            if passed == LEAP and at > began:
                break
        else:
            return
