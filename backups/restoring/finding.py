"""Which copies a restore or a verification is about: asks the destinations, and tells of those that don't answer."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from backups.copies import list_copies
from backups.destinations.base import DestinationConfig
from backups.errors import BackupsError, DestinationError, RestoreError
from backups.job import Job
from backups.records import Manifest
from backups.restoring.decoding import StoredCopy
from backups.storing import Connections
from backups.watching import Watch


@dataclass(frozen=True)
class Wanted:
    """The choice among the copies of a job's host."""

    hostname: str
    sources: Collection[str]
    date: dt.date | None = None
    """The day of the backup; the newest when None."""
    origin: str = ""
    """The only destination to look at; all when empty."""
    unverified: bool = False
    """Take copies without a manifest too."""

    def destinations(self, job: Job) -> Sequence[DestinationConfig]:
        """Those to look at, in the order of the job file. Raises UsageError."""
        return [job.destination(self.origin)] if self.origin else job.destinations


@dataclass(frozen=True)
class Found:
    """What the destinations answered."""

    copies: tuple[StoredCopy, ...]
    unreachable: dict[str, BackupsError]
    """By destination."""


def find(wanted: Wanted, connections: Connections) -> Found:
    """Every copy of these sources, whatever its date and state; destinations in the order of the job file."""
    copies: list[StoredCopy] = []
    unreachable: dict[str, BackupsError] = {}
    for id_ in connections.configs:
        try:
            destination = connections.get(id_)
            listed = list_copies(destination, wanted.hostname, wanted.sources)
        except BackupsError as error:
            unreachable[id_] = error
            continue
        copies += [StoredCopy(id_, destination, copy) for copy in listed]
    return Found(tuple(copies), unreachable)


def newest(copies: Sequence[StoredCopy], wanted: Wanted) -> list[StoredCopy]:
    """Those of the wanted date; without one, those of the newest date that has a copy that may be taken."""
    usable = [stored for stored in copies if stored.copy.verified or wanted.unverified]
    date = wanted.date or max((stored.copy.key.date for stored in usable), default=None)
    return [stored for stored in usable if stored.copy.key.date == date]


def candidates(wanted: Wanted, connections: Connections, watch: Watch) -> list[tuple[StoredCopy, Manifest | None]]:
    """The copies to try for a restore, the best first: of the last run of that day, in the order of the job file.

    Raises RestoreError when there is none.
    """
    found = find(wanted, connections)
    for id_, error in found.unreachable.items():
        watch.warn(f"{id_} can't be asked, so a newer copy there would be missed: {error}")
    chosen = list(_with_manifests(newest(found.copies, wanted), watch))
    if not chosen:
        raise _none(wanted, found)
    runs = {manifest.run for _, manifest in chosen if manifest}
    if len(runs) > 1:
        watch.warn(f"the copies of that day are of {len(runs)} runs; those of the last one come first")
    return sorted(chosen, key=lambda pair: pair[1].run if pair[1] else "", reverse=True)


def _with_manifests(copies: Sequence[StoredCopy], watch: Watch) -> Iterator[tuple[StoredCopy, Manifest | None]]:
    for stored in copies:
        try:
            manifest = stored.manifest()
        except DestinationError as error:
            watch.warn(f"{stored.destination_id}: {error}")
            continue
        yield stored, manifest


def _none(wanted: Wanted, found: Found) -> RestoreError:
    what = f"no {'' if wanted.unverified else 'verified '}copy of {', '.join(wanted.sources)} on {wanted.hostname}"
    when = f" of {wanted.date}" if wanted.date else ""
    dates = sorted({str(stored.copy.key.date) for stored in found.copies if stored.copy.verified})
    unverified = sorted({str(stored.copy.key.date) for stored in found.copies if not stored.copy.verified})
    hints = [f"there are verified copies of {', '.join(dates[-5:])}"] if dates else []
    if unverified and not wanted.unverified:
        hints.append(f"--unverified takes those without a manifest too: {', '.join(unverified[-5:])}")
    if not found.copies and not found.unreachable:
        hints.append("`backups list` shows what is there; copies of another host need --hostname")
    return RestoreError(f"{what}{when} was found", hint="; ".join(hints))
