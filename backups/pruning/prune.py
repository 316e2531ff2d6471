"""All of retention at one destination, in one go or in turns."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from types import MappingProxyType

from backups.destinations.base import Destination, DestinationConfig
from backups.errors import DestinationError
from backups.job import Job
from backups.pruning.confirm import confirm
from backups.pruning.plan import make_plan
from backups.pruning.removal import give_up, promise, remove
from backups.pruning.scan import Enough, scan
from backups.pruning.task import Task
from backups.pruning.work import Work
from backups.records import Pruned
from backups.retention import Decision

_NOTHING: Mapping[str, str] = MappingProxyType({})


def prune(  # noqa: PLR0913 - the clock and the switch are named in every call
    job: Job,
    config: DestinationConfig,
    destination: Destination,
    source_ids: Collection[str],
    *,
    stored: Mapping[str, str] = _NOTHING,
    today: dt.date,
    now: dt.datetime,
    dry_run: bool = False,
) -> tuple[list[Decision], tuple[Pruned, ...]]:
    """Apply the policy for one destination to the copies of these sources of the job's host, and to nothing else.

    A run passes the sources of which it stored a verified copy there, with their keys in ``stored``. Returns the
    decision on each copy, and one record for each source; with ``dry_run`` the record says what would go. Raises no
    DestinationError: the records tell of it, since old copies that stay are no failure of a backup.
    """
    work = Work(Task.of(job, config, source_ids, stored=stored, today=today, now=now))
    go_on(work, destination, lambda _: False, dry_run=dry_run)
    if work.failed:
        return [], tuple(work.pruned())
    decisions = [decision for source in work.task.sources for decision in work.task.decisions(work.index, source)]
    return decisions, tuple(work.pruned())


def go_on(work: Work, destination: Destination, enough: Enough, *, dry_run: bool = False) -> bool:
    """Do what is left, until ``enough`` says to leave the rest for another turn; True when nothing is left.

    Raises no DestinationError: the work's records tell of it.
    """
    try:
        listed_before = work.is_listed
        if not scan(work, destination, enough):
            return False
        if enough(0) and not listed_before:  # a turn that has listed for long begins nothing more
            return False
    except DestinationError as error:
        work.failed = str(error)
        return True
    plan = make_plan(work)
    try:
        if dry_run:
            promise(work, plan, destination)
            return True
        confirm(work, plan, destination)
    except DestinationError as error:
        give_up(work, plan, str(error))
        return True
    return remove(work, plan, destination, enough)
