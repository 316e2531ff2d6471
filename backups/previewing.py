"""What retention would do after a run that stores everything; nothing is written or removed."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

from backups.context import Context
from backups.copies import Copy, list_copies
from backups.destinations.base import DestinationConfig
from backups.errors import BackupsError
from backups.job import Job
from backups.naming import parse_key
from backups.records import Plan
from backups.retention import Decision, decide
from backups.storing import Connections


def preview(
    job: Job, planned: Plan, context: Context, *, now: dt.datetime
) -> Iterator[tuple[DestinationConfig, list[Decision] | BackupsError]]:
    """For each destination the decision on every copy, the one of this run included; or why it can't be asked."""
    connections = Connections(job.destinations, context)
    try:
        for config in job.destinations:
            try:
                copies = list_copies(
                    connections.get(config.id),
                    job.hostname,
                    [item.source for item in planned.items],
                    legacy=config.retention_legacy,
                    locks=True,
                )
            except BackupsError as error:
                yield config, error
                continue
            after = _after_run(copies, planned, now)
            yield config, decide(after, job.policy_for(config), today=planned.date, now=now)
    finally:
        connections.close()


def _after_run(copies: list[Copy], planned: Plan, now: dt.datetime) -> list[Copy]:
    """With the copies that the run would store, in the place of those that it would replace."""
    after = {str(copy.key): copy for copy in copies}
    for item in planned.items:
        key = parse_key(item.key)
        if key is not None:
            after[item.key] = Copy(key=key, size=0, modified=now, verified=True, has_manifest=True)
    return list(after.values())
