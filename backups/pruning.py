"""Retention at one destination: lists what it holds, decides, removes, and tells of everything it could not do."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from backups.copies import Copy, listing
from backups.destinations.base import Destination, DestinationConfig, StoredObject
from backups.errors import DestinationError
from backups.job import Job
from backups.naming import CopyKey
from backups.records import Pruned
from backups.retention import UNVERIFIED_STAYS, Decision, decide


def prune(  # noqa: PLR0913 - the clock and the switch are named in every call
    job: Job,
    config: DestinationConfig,
    destination: Destination,
    source_ids: Collection[str],
    *,
    today: dt.date,
    now: dt.datetime,
    dry_run: bool = False,
) -> tuple[list[Decision], tuple[Pruned, ...]]:
    """Apply the policy for one destination to the copies of these sources of the job's host, and to nothing else.

    A run passes the sources of which it stored a verified copy there. Returns the decision on each copy, and one
    record for each source; with ``dry_run`` the record says what would go. Raises no DestinationError: the records
    tell of it, since old copies that stay are no failure of a backup.
    """
    sources = sorted(set(source_ids))
    try:
        found = listing(destination, job.hostname, sources)
    except DestinationError as error:
        return [], tuple(Pruned(source=id_, destination=config.id, error=str(error)) for id_ in sources)
    decisions = decide(found.copies, job.policy_for(config), today=today, now=now)
    junk = [key for key, manifest in found.orphans if _is_junk(manifest, now)]
    outdated = [decision.copy for decision in decisions if not decision.keep]
    removal = _planned(outdated, junk) if dry_run else _remove(destination, outdated, junk)
    return decisions, tuple(_records(sources, config.id, found.copies, removal))


@dataclass
class _Removal:
    """What became of the keys to remove."""

    gone: dict[str, CopyKey] = field(default_factory=dict)
    refused: dict[str, tuple[CopyKey, str]] = field(default_factory=dict)
    """Each with the reason."""
    unknown: dict[str, CopyKey] = field(default_factory=dict)
    """Perhaps gone and perhaps not, because of ``error``."""
    error: str = ""


def _is_junk(manifest: StoredObject, now: dt.datetime) -> bool:
    """A manifest without a copy, unless it is so new that its copy may have been stored during the listing."""
    locked = manifest.locked_until is not None and manifest.locked_until > now
    return now - manifest.modified >= UNVERIFIED_STAYS and not locked


def _planned(outdated: Sequence[Copy], junk: Sequence[CopyKey]) -> _Removal:
    return _Removal(gone={str(copy.key): copy.key for copy in outdated} | {key.manifest: key for key in junk})


def _remove(destination: Destination, outdated: Sequence[Copy], junk: Sequence[CopyKey]) -> _Removal:
    """Remove copies, then the manifests of those that are gone.

    In this order a crash leaves manifests without copies, which a later run sweeps. The other way round it would
    leave copies whose sha256 nobody knows.
    """
    removal = _Removal()
    _remove_keys(destination, {str(copy.key): copy.key for copy in outdated}, removal)
    beside = [copy.key for copy in outdated if copy.has_manifest and str(copy.key) in removal.gone]
    _remove_keys(destination, {key.manifest: key for key in [*beside, *junk]}, removal)
    return removal


def _remove_keys(destination: Destination, keys: dict[str, CopyKey], removal: _Removal) -> None:
    if not keys:
        return
    try:
        refused = destination.remove(list(keys))
    except DestinationError as error:
        removal.error = str(error)
        removal.unknown |= keys
        return
    removal.refused |= {name: (key, refused[name]) for name, key in keys.items() if name in refused}
    removal.gone |= {name: key for name, key in keys.items() if name not in refused}


def _records(sources: Sequence[str], destination: str, copies: Sequence[Copy], removal: _Removal) -> Iterator[Pruned]:
    """One for each source. Backups are counted by date; a manifest that went with its copy is not listed."""
    kept: dict[str, set[dt.date]] = defaultdict(set)
    for copy in copies:
        if str(copy.key) not in removal.gone:
            kept[copy.key.source_id].add(copy.key.date)
    removed: dict[str, list[str]] = defaultdict(list)
    for name, key in removal.gone.items():
        if name == str(key) or str(key) not in removal.gone:
            removed[key.source_id].append(name)
    refused: dict[str, dict[str, str]] = defaultdict(dict)
    for name, (key, reason) in removal.refused.items():
        refused[key.source_id][name] = reason
    uncertain = {key.source_id for key in removal.unknown.values()}
    for source in sources:
        yield Pruned(
            source=source,
            destination=destination,
            kept=len(kept[source]),
            removed=tuple(sorted(removed[source])),
            refused=refused[source],
            error=removal.error if source in uncertain else "",
        )
