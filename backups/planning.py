"""What a run will do. Pure: the clock is an argument."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from backups.job import Job
from backups.naming import copy_key
from backups.records import Plan, PlanItem, RunStart

_RUN_ID = "%Y%m%dT%H%M%SZ"


def run_id(now: dt.datetime) -> str:
    """The name of the run that belongs to a (scheduled) time; the same time gives the same name."""
    return now.astimezone(dt.UTC).strftime(_RUN_ID)


def plan(job: Job, *, run: str, now: dt.datetime, sources: Sequence[str] | None = None) -> Plan:
    """What a run at ``now`` (aware) does, with all sources or those named. Raises UsageError for an unknown one."""
    chosen = job.sources if sources is None else [job.source(id_) for id_ in dict.fromkeys(sources)]
    date = job.date(now)
    return Plan(
        job=job.name,
        run=run,
        hostname=job.hostname,
        date=date,
        planned=now,
        items=tuple(
            PlanItem(
                job=job.name,
                run=run,
                source=source.id,
                name=source.title,
                type=source.type,
                key=str(copy_key(job.hostname, date, source.id, source.extension, job.compression_for(source))),
                destinations=tuple(destination.id for destination in job.destinations),
            )
            for source in chosen
        ),
    )


def begun(planned: Plan, *, link: str = "") -> RunStart:
    """What channels are told of when a run begins. Pure."""
    return RunStart(
        job=planned.job,
        run=planned.run,
        hostname=planned.hostname,
        started=planned.planned,
        sources=tuple(item.name for item in planned.items),
        link=link,
    )
