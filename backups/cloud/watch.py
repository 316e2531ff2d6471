"""The watch: looks at every deployed job from its records alone, and has its channels told of what is late or odd."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from backups.cloud.delivery import Channel, dashboard_link
from backups.cloud.orchestration import Cloud, ObjectPointer, load_deployed, read_job_file
from backups.errors import BackupsError
from backups.freshness import Schedule, Seen, findings, first_look, news, remembered, reminder, told
from backups.job import Job
from backups.planning import run_id
from backups.records import Finding, Notice
from backups.verification.status import Verification

_RUN = re.compile(r"\d{8}T\d{6}Z")
_RUN_FORM = "%Y%m%dT%H%M%SZ%z"
_LOOKED_BACK = dt.timedelta(days=8)
"""A run takes three days at most; what is older than this has its report, and was read."""
_FIRST_READ = 60
"""Reports that the first look at a job reads."""
_MOST_FINDINGS = 20
"""Findings that a message lists."""


@dataclass(frozen=True)
class Look:
    """What was seen of one job."""

    seen: Seen
    found: tuple[Finding, ...]
    told: bool
    """Whether the channels are told."""
    verification: Verification | None = None
    """How the last check left the copies; None before the first, and when the job wants none."""
    new_check: bool = False
    """It has ended since the last look."""


def look(cloud: Cloud, name: str, group: str, *, now: dt.datetime, ended: str = "") -> Look:
    """Look at one job, have its channels told if there is news, and remember both.

    ``group`` is that of the jobs' schedules, and called like the stack; ``ended`` is the execution of the job's check
    that has just ended, however it did. Raises BackupsError when a service does not
    answer: then nothing is remembered, and the next look tells.
    """
    state = cloud.state
    pointer = cloud.deployment(name).job_file
    job = load_deployed(pointer, name)
    schedule = _schedule(job, group)
    before = state.seen(name)
    seen = before or first_look(name, now)
    runs = [run for run in state.runs(name, after=run_id(now - _LOOKED_BACK) if before else "") if _RUN.fullmatch(run)]
    unread = [run for run in runs if run not in seen.read]
    reports = state.reports(name, unread if before else unread[-_FIRST_READ:])
    places = [(source.id, destination.id) for source in job.sources for destination in job.destinations]
    seen = remembered(seen, places, runs, reports, schedule, now)
    seen, verification = _of_a_dead_one(seen, state.verification(name) if job.settings.verification else None, ended)
    new_check = verification is not None and not verification.going and verification.run != seen.check
    seen = _with_check(seen, job, verification, now)
    found = findings(seen, schedule, verification, [_moment(run) for run in seen.runs], now)
    due = news(seen, found, now)
    if due:
        _tell(cloud, job, pointer, seen, found, group, now)
        seen = told(seen, found, now)
    state.put_seen(seen)
    return Look(seen, tuple(found), due, verification, new_check)


def _of_a_dead_one(seen: Seen, verification: Verification | None, ended: str) -> tuple[Seen, Verification | None]:
    """A check that is over although its record says that it goes on was killed; that is remembered, and its error."""
    if verification is None or not verification.going:
        return seen, verification
    if ended and verification.execution == ended:
        seen = seen.model_copy(update={"dead_check": verification.run})
    if verification.run != seen.dead_check:
        return seen, verification
    error = "it was killed; the next one goes on where it ended"
    return seen, verification.model_copy(update={"going": False, "error": error})


def _with_check(seen: Seen, job: Job, verification: Verification | None, now: dt.datetime) -> Seen:
    """Remember since when checks are expected, and which one was counted."""
    counted = verification.run if verification and not verification.going else seen.check
    since = (seen.checks_since or now) if job.settings.verification else None
    return seen.model_copy(update={"checks_since": since, "check": counted})


def _tell(  # noqa: PLR0913, PLR0917 - what a notice is made of
    cloud: Cloud,
    job: Job,
    pointer: ObjectPointer,
    seen: Seen,
    found: Sequence[Finding],
    stack: str,
    now: dt.datetime,
) -> None:
    channels = [channel.id for channel in job.notifications if channel.wants_notices]
    if not channels:
        return
    notice = Notice(
        job=job.name,
        run=run_id(now),
        hostname=job.hostname,
        at=now,
        findings=tuple(found[:_MOST_FINDINGS]),
        more=len(found[_MOST_FINDINGS:]),
        reminder=reminder(seen, found),
        link=dashboard_link(cloud.state_machine, stack),
    )
    # The file as it is now: the next deployment must not change who is told of this.
    key = cloud.state.put_notice(notice, read_job_file(pointer, job.name))
    kept = ObjectPointer(bucket=cloud.state.bucket, key=key)
    cloud.send(
        [Channel(job=job.name, run=notice.run, channel=channel, job_file=kept, about="notice") for channel in channels]
    )


def _schedule(job: Job, group: str) -> Schedule:
    """The job's schedule, and what EventBridge makes of it."""
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    given: dict[str, Any] = {"expression": job.settings.schedule or "", "timezone": job.settings.timezone or "UTC"}
    if not job.settings.schedule:
        return Schedule(**given)
    client = boto3.client("scheduler")
    try:
        found = client.get_schedule(Name=job.name, GroupName=group)
    except client.exceptions.ResourceNotFoundException:
        return Schedule(**given, status="MISSING")
    except (BotoCoreError, ClientError) as error:
        raise BackupsError(f"could not look at the schedule of job '{job.name}': {error}") from None
    window = found.get("FlexibleTimeWindow", {}).get("MaximumWindowInMinutes", 0)
    return Schedule(**given, window_minutes=window, status=found.get("State", "ENABLED"))


def _moment(run: str) -> dt.datetime:
    """The time that a run is named after."""
    return dt.datetime.strptime(f"{run}+0000", _RUN_FORM)
