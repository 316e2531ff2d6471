"""Retention after a deployed run: at one destination, of the sources that this run stored a verified copy of there."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from backups.cloud.orchestration import ObjectPointer, load_deployed
from backups.cloud.state import State
from backups.context import Context
from backups.errors import BackupsError
from backups.job import Job
from backups.pruning import prune
from backups.records import Pruned, Record


class Place(Record):
    """One destination of a run."""

    job: str
    run: str
    destination: str
    job_file: ObjectPointer


def prune_after(state: State, place: Place, context: Context, *, now: dt.datetime) -> tuple[Pruned, ...]:
    """Prune and record what was done, source by source; nothing is listed or removed when nothing was stored.

    What goes wrong at the destination is told in the records. Raises BackupsError when the state bucket or the
    job file can't be read.
    """
    sources = [
        result.source
        for result in state.results(place.job, place.run)
        for at in result.destinations
        if at.destination == place.destination and at.status == "stored"
    ]
    if not sources:
        return ()
    job = load_deployed(place.job_file, place.job)
    plan = state.plan(place.job, place.run)
    today = plan.date if plan else job.date(now)
    records = _prune(job, place.destination, sources, context, today=today, now=now)
    state.put_pruned(place.job, place.run, records)
    return records


def _prune(
    job: Job, destination: str, sources: Sequence[str], context: Context, *, today: dt.date, now: dt.datetime
) -> tuple[Pruned, ...]:
    config = job.destination(destination)
    try:
        with context.secrets.resolve(config).connect(context) as connection:
            _, records = prune(job, config, connection, sources, today=today, now=now)
    except BackupsError as error:
        error_text = context.secrets.scrub(str(error))
        return tuple(Pruned(source=source, destination=destination, error=error_text) for source in sources)
    return tuple(record.model_copy(update={"error": context.secrets.scrub(record.error)}) for record in records)
