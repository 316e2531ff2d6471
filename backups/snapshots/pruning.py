"""Removes the snapshots that no destination's retention keeps, after a run that stored a copy of their status."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Sequence

from backups.context import Context
from backups.errors import BackupsError
from backups.job import Job
from backups.records import Pruned, Result
from backups.snapshots.retention import outdated
from backups.snapshots.tags import owner_tags
from backups.sources.snapshot import Snapshot


def prune_snapshots(
    job: Job, source_id: str, context: Context, *, today: dt.date, now: dt.datetime, destination: str = ""
) -> Pruned:
    """Remove what a source of type ``snapshot`` has made and no policy keeps: by tag, and nothing else.

    Never raises a BackupsError: the record tells of it, since old snapshots that stay are no failure of a backup.
    ``destination`` is the one whose record this becomes part of.
    """
    source = job.source(source_id)
    assert isinstance(source, Snapshot)  # noqa: S101 - the caller has looked
    removed: list[str] = []
    refused: dict[str, str] = {}
    error = ""
    try:
        # Without the passphrase: whoever removes may not read it.
        login = source.model_copy(update={"passphrase": None, "recipients": None})
        for place in context.secrets.resolve(login).places():
            own = place.owned(owner_tags(job.name, job.hostname, source_id))
            policies = [job.policy_for(config) for config in job.destinations]
            for shot in outdated(own, policies, today=today, now=now, wait_limit=source.wait_limit):
                try:
                    place.delete(shot)
                    removed.append(f"{shot.id} in {place.region}")
                except BackupsError as refusal:
                    refused[f"{shot.id} in {place.region}"] = context.secrets.scrub(str(refusal))
    except BackupsError as problem:
        error = f"snapshots: {context.secrets.scrub(str(problem))}"
    return Pruned(source=source_id, destination=destination, removed=tuple(removed), refused=refused, error=error)


def with_snapshots(
    records: Iterable[Pruned],
    job: Job,
    results: Sequence[Result],
    context: Context,
    *,
    today: dt.date,
    now: dt.datetime,
) -> tuple[Pruned, ...]:
    """The records of one destination, with the snapshots of the sources that it is the first one of that stored.

    So whoever prunes destinations one by one, perhaps at the same time, prunes a source's snapshots once.
    """
    first = _first(snapshots_of(job), results)
    return tuple(
        _with(record, job, context, today, now) if first.get(record.source) == record.destination else record
        for record in records
    )


def snapshots_of(job: Job) -> frozenset[str]:
    """The sources of a job that leave snapshots; the results of no others matter here."""
    return frozenset(source.id for source in job.sources if isinstance(source, Snapshot))


def _with(record: Pruned, job: Job, context: Context, today: dt.date, now: dt.datetime) -> Pruned:
    own = prune_snapshots(job, record.source, context, today=today, now=now, destination=record.destination)
    return record.model_copy(
        update={
            "removed": (*record.removed, *own.removed),
            "refused": {**record.refused, **own.refused},
            "error": "; ".join(part for part in (record.error, own.error) if part),
        }
    )


def _first(sources: Collection[str], results: Sequence[Result]) -> dict[str, str]:
    """The first destination that each of the sources was stored at."""
    first: dict[str, str] = {}
    for result in results:
        for at in result.destinations:
            if at.status == "stored" and result.source in sources:
                first.setdefault(result.source, at.destination)
    return first
