"""The report of a deployed run, from the records that its processes left, and the channels that want to know."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
from dataclasses import dataclass
from typing import Any

from backups.changes import told_after
from backups.cloud.orchestration import JOB_NAME, Cloud, ObjectPointer, load_deployed
from backups.cloud.settling import Failure, lost
from backups.cloud.state import State
from backups.context import Context
from backups.errors import BackupsError, NotificationError
from backups.job import Job
from backups.notifying import notify
from backups.planning import run_id
from backups.records import Notified, Outcome, Pruned, Record, Result, RunReport, overall

log = logging.getLogger("backups.cloud.reporting")

_CONSOLE = "https://{region}.console.aws.amazon.com/states/home?region={region}#/v2/executions/details/{arn}"


class Finished(Record):
    """What the state machine knows when all work of an execution is over."""

    input: dict[str, Any]
    """The execution's input, or the plan that came in its place, with a ``failure`` when something was caught."""
    execution: str
    """ARN."""
    started: dt.datetime


class Channel(Record):
    """One message that is due."""

    job: str
    run: str
    channel: str
    job_file: ObjectPointer


class Conclusion(Record):
    """What the state machine goes on with."""

    job: str
    outcome: Outcome
    summary: str
    channels: tuple[Channel, ...] = ()


@dataclass(frozen=True)
class _Run:
    """What a report says of its run, whatever became of it."""

    job: str
    run: str
    hostname: str
    link: str
    started: dt.datetime
    now: dt.datetime


def conclude(cloud: Cloud, finished: Finished, *, now: dt.datetime) -> Conclusion:
    """Put the report together and store it. Raises BackupsError when the state bucket does not answer."""
    given = finished.input
    name = str(given.get("job", ""))
    name = name if re.fullmatch(JOB_NAME, name) else "unknown"
    run = str(given.get("run") or run_id(finished.started))
    pointer, job = _job(cloud, name, run, given.get("job_file"))
    about = _Run(
        job=name,
        run=run,
        hostname=job.hostname if job else name,
        link=_CONSOLE.format(region=finished.execution.split(":")[3], arn=finished.execution),
        started=finished.started,
        now=now,
    )
    failure = Failure.model_validate(given["failure"]) if given.get("failure") else None
    if given.get("verdict") == "run":
        told = _planned(cloud.state, about, failure)
    else:
        outcome = Outcome.SKIPPED if given.get("verdict") == "skipped" else Outcome.FAILED
        error = str(given.get("error") or _message(failure))
        told = _unplanned(about, outcome, error, str(given.get("hint", "")))
    cloud.state.put_report(told)
    channels = (
        [Channel(job=name, run=about.run, channel=c.id, job_file=pointer) for c in job.notifications]
        if (job and pointer)
        else []
    )
    return Conclusion(job=name, outcome=told.outcome, summary=summary(told), channels=tuple(channels))


def deliver(state: State, channel: Channel, context: Context) -> Notified:
    """Tell one channel of a finished run, and record what became of it.

    Raises NotificationError when the channel refused, and BackupsError when the report can't be read: try again.
    """
    told = state.report(channel.job, channel.run)
    if told is None:
        raise BackupsError(f"run {channel.run} of job '{channel.job}' has no report")
    job = load_deployed(channel.job_file, channel.job)
    changes_only = any(c.id == channel.channel and c.notify_on == "change" for c in job.notifications)
    before = state.told(channel.job, channel.channel) if changes_only else None
    answer = notify(job, channel.channel, told, context, previous=before)
    state.put_notified(channel.job, channel.run, answer)
    after = told_after(told, before, answer)
    if changes_only and after and after != before:
        state.put_told(channel.job, channel.channel, after)
    if answer.status == "failed":
        raise NotificationError(f"channel {channel.channel} was not told: {answer.error}")
    return answer


def summary(told: RunReport) -> str:
    """One line for the history of Step Functions and for alarms."""
    if told.error:
        return told.error
    bad = [result for result in told.results if result.outcome is not Outcome.STORED]
    if not bad:
        return f"{len(told.results)} sources stored everywhere"
    names = ", ".join(result.source for result in bad[:5]) + (", …" if len(bad) > 5 else "")
    return f"{len(bad)} of {len(told.results)} sources not stored everywhere: {names}"


def _planned(state: State, about: _Run, failure: Failure | None) -> RunReport:
    """The report of a planned run: a record for each planned source, one way or the other."""
    plan = state.plan(about.job, about.run)
    if plan is None:
        return _unplanned(about, Outcome.FAILED, "the run's plan is gone from the state bucket", "")
    found = {result.source: result for result in state.results(about.job, about.run)}
    results = tuple(found.get(item.source) or lost(plan, item, failure, about.now) for item in plan.items)
    pruned = {(record.source, record.destination): record for record in state.pruned(about.job, about.run)}
    return RunReport(
        job=about.job,
        run=about.run,
        hostname=plan.hostname,
        outcome=overall(results),
        started=about.started,
        finished=about.now,
        results=results,
        pruned=tuple(pruned.get(place) or _unpruned(*place) for place in _stored(results)),
        link=about.link,
    )


def _unplanned(about: _Run, outcome: Outcome, error: str, hint: str) -> RunReport:
    return RunReport(
        job=about.job,
        run=about.run,
        hostname=about.hostname,
        outcome=outcome,
        started=about.started,
        finished=about.now,
        error=error,
        hint=hint,
        link=about.link,
    )


def _job(cloud: Cloud, name: str, run: str, pointer: object) -> tuple[ObjectPointer | None, Job | None]:
    """The job whose channels are told; nothing when it can't be read, since the report must be made anyway."""
    try:
        if pointer:
            where = ObjectPointer.model_validate(pointer)
            return where, load_deployed(where, name)
        return cloud.adopt(name, run)[1:]
    except BackupsError as error:
        log.warning("the channels of job '%s' are unknown: %s", name, error)
        return None, None


def _message(failure: Failure | None) -> str:
    """What a failed planning says: of a Lambda's error only the message, not its stack."""
    if failure is None:
        return "the run could not be planned"
    try:
        cause = json.loads(failure.cause)
    except ValueError:
        cause = failure.cause
    text = cause.get("errorMessage", "") if isinstance(cause, dict) else cause
    return f"the run could not be planned: {text or failure.error}"


def _stored(results: tuple[Result, ...]) -> list[tuple[str, str]]:
    return [(r.source, at.destination) for r in results for at in r.destinations if at.status == "stored"]


def _unpruned(source: str, destination: str) -> Pruned:
    return Pruned(source=source, destination=destination, error="retention did not finish; its log says why")
