"""Retention after a deployed run: at one destination, of the sources that this run stored a verified copy of there.

A function has fifteen minutes, and a bucket may hold millions of copies. So the work is done in turns: each begins
from a record that the turn before has left, and says whether another one is needed. Everything that decides (the job
file, the day, the moment of the first turn) stays what it was. A turn that is repeated does the same again.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backups.cloud.orchestration import ObjectPointer, load_deployed
from backups.cloud.state import State
from backups.context import Context
from backups.destinations.base import DestinationConfig
from backups.errors import BackupsError
from backups.job import Job
from backups.notifying import scrubbed
from backups.pruning import Task, Work, WorkRecord
from backups.pruning.prune import go_on
from backups.records import Record
from backups.snapshots.pruning import snapshots_of, with_snapshots


class Turn(Record):
    """What a turn hands to the next through the state machine."""

    number: int = 0
    """Of the turn that is due."""
    done: bool = False
    removed: int = 0
    """Objects that are gone so far."""
    failed: int = 0
    """Sources of which not everything could be done; known when all is done."""


class Place(Record):
    """One destination of a run, and the turn that is due there."""

    job: str
    run: str
    destination: str
    job_file: ObjectPointer
    turn: Turn = Turn()


@dataclass
class Limits:
    """When a turn leaves the rest to the next."""

    seconds_left: Callable[[], float] = lambda: float("inf")
    """How long the process may still live."""
    objects: int = 0
    """How many objects to list and remove in one turn; 0: as many as there is time for."""
    reserve: float = 180
    """Seconds kept to decide, to write the record and to end."""
    _done: int = field(default=0, init=False)
    _looked: float = field(default=0.0, init=False)

    def enough(self, objects: int) -> bool:
        """Called after so many more objects."""
        self._done += objects
        if self.objects and self._done >= self.objects:
            return True
        now = time.monotonic()
        if now - self._looked < 1:
            return False
        self._looked = now
        return self.seconds_left() < self.reserve


def prune_after(state: State, place: Place, context: Context, limits: Limits, *, now: dt.datetime) -> Turn:
    """Do one turn, and record after the last one what was done, source by source.

    Nothing is listed or removed when nothing was stored. What goes wrong at the destination is told in the records.
    Raises BackupsError when the state bucket or the job file can't be read.
    """
    left = _left(state, place)
    stored = left.stored if left else _stored(state, place)
    if not stored:
        return Turn(number=place.turn.number, done=True)
    job = load_deployed(place.job_file, place.job)
    task = _task(state, place, job, stored, left.now if left else now)
    work = Work.of(task, left) if left else Work(task)
    done = _do(work, job.destination(place.destination), context, limits)
    if not done:
        number = place.turn.number + 1
        state.put_retention(place.job, place.run, place.destination, number, work.record())
        return Turn(number=number, removed=work.removed_count)
    results = state.results_of(place.job, place.run, sorted(snapshots_of(job) & stored.keys()))
    pruned = with_snapshots(work.pruned(), job, results, context, today=work.task.today, now=work.task.now)
    records = [scrubbed(record, context.secrets.scrub) for record in pruned]
    state.put_pruned(place.job, place.run, records)
    failed = sum(bool(record.error or record.refused) for record in records)
    return Turn(number=place.turn.number, done=True, removed=work.removed_count, failed=failed)


def _left(state: State, place: Place) -> WorkRecord | None:
    """What the turn before has left; None for the first turn."""
    if not place.turn.number:
        return None
    left = state.retention(place.job, place.run, place.destination, place.turn.number)
    if left is None:
        where = f"turn {place.turn.number} of retention at {place.destination}"
        raise BackupsError(f"{where} has no record to go on from", hint="the next run begins anew")
    return left


def _stored(state: State, place: Place) -> dict[str, str]:
    """The keys of what this run has stored at the destination, by source; read once, in the first turn."""
    return {
        result.source: at.key or result.key
        for result in state.results(place.job, place.run)
        for at in result.destinations
        if at.destination == place.destination and at.status == "stored"
    }


def _task(state: State, place: Place, job: Job, stored: Mapping[str, str], now: dt.datetime) -> Task:
    """What is to be done, the same in every turn; ``now`` is the moment of the first one."""
    plan = state.plan(place.job, place.run)
    return Task.of(
        job,
        job.destination(place.destination),
        list(stored),
        stored=stored,
        today=plan.date if plan else job.date(now),
        now=now,
    )


def _do(work: Work, config: DestinationConfig, context: Context, limits: Limits) -> bool:
    try:
        with context.secrets.resolve(config).connect(context) as connection:
            return go_on(work, connection, limits.enough)
    except BackupsError as error:
        work.failed = str(error)
        return True
