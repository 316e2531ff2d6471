"""The report of a deployed run, from the records that its processes left, and the channels that want to know."""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from backups.cloud.delivery import Channel, console_link
from backups.cloud.events import run_finished, source_finished, tell
from backups.cloud.orchestration import JOB_NAME, Cloud, ObjectPointer, load_deployed
from backups.cloud.settling import EXECUTION, Failure, explain, lost
from backups.cloud.state import State
from backups.errors import BackupsError
from backups.job import Job
from backups.planning import run_id
from backups.records import Outcome, Pruned, Record, Result, RunReport, overall

log = logging.getLogger("backups.cloud.reporting")

_SETTLING = dt.timedelta(minutes=10)
"""How long after its end a source may still have waited for Settle, with all of its tries."""


class Finished(Record):
    """What the state machine knows when all work of an execution is over."""

    input: dict[str, Any]
    """The execution's input, or the plan that came in its place, with a ``failure`` when something was caught."""
    execution: str
    """ARN."""
    started: dt.datetime


class Stopped(Record):
    """What EventBridge says of an execution that did not end by itself, or ended in error."""

    status: Literal["ABORTED", "TIMED_OUT", "FAILED"]
    executionArn: str  # noqa: N815 - as EventBridge writes it
    name: str
    startDate: dt.datetime  # noqa: N815
    input: str | None = None
    """None when it is too long for an event, which ours never are."""

    def given(self) -> dict[str, Any]:
        """The execution's input; of one that was started by hand without any, what its name tells."""
        try:
            found = json.loads(self.input or "{}")
        except ValueError:
            found = {}
        return found if isinstance(found, dict) else {}


class Conclusion(Record):
    """What the state machine goes on with."""

    job: str
    run: str
    outcome: Outcome
    summary: str
    channels: tuple[Channel, ...] = ()


@dataclass(frozen=True)
class _Run:
    """What a report says of its run, whatever became of it."""

    job: str
    run: str
    hostname: str
    execution: str
    started: dt.datetime
    now: dt.datetime

    @property
    def link(self) -> str:
        """Where people look."""
        return console_link(self.execution)


def conclude(cloud: Cloud, finished: Finished, *, now: dt.datetime) -> Conclusion:
    """Put the report together and store it. Raises BackupsError when the state bucket does not answer."""
    given = finished.input
    failure = Failure.model_validate(given["failure"]) if given.get("failure") else None
    about, pointer, job = _about(cloud, given, finished.execution, finished.started, now)
    if given.get("verdict") == "run":
        told = _planned(cloud.state, about, failure)
    else:
        outcome = Outcome.SKIPPED if given.get("verdict") == "skipped" else Outcome.FAILED
        error = str(given.get("error") or _message(failure))
        told = _unplanned(about, outcome, error, str(given.get("hint", "")))
    _keep(cloud.state, told, about)
    return _conclusion(told, pointer, job)


def conclude_stopped(cloud: Cloud, stopped: Stopped, *, now: dt.datetime) -> Conclusion | None:
    """Put together what is known of a run that could not tell of its end itself, and store it.

    None when it has told. Raises BackupsError when the state bucket does not answer.
    """
    about, pointer, job = _about(cloud, stopped.given(), stopped.executionArn, stopped.startDate, now)
    told = cloud.state.report(about.job, about.run)
    if told:
        if stopped.status == "FAILED":  # the last state of a run that did not store everything
            return None
        heard = {answer.channel for answer in cloud.state.notified(about.job, about.run)}
        return _conclusion(told, pointer, job, without=heard)
    failure = Failure(error=f"{EXECUTION}{stopped.status}")
    error, hint = explain(failure)
    if cloud.state.plan(about.job, about.run):
        told = _planned(cloud.state, about, failure)
        # Whatever is stored, retention and what comes after it were cut off.
        outcome = Outcome.PARTIAL if told.outcome is Outcome.STORED else told.outcome
        told = told.model_copy(update={"outcome": outcome, "error": error, "hint": hint})
    else:
        told = _unplanned(about, Outcome.FAILED, error, hint)
    _keep(cloud.state, told, about, cut_off=True)
    return _conclusion(told, pointer, job)


def _keep(state: State, told: RunReport, about: _Run, *, cut_off: bool = False) -> None:
    """Store a report, and put on the event bus that the run has ended, and what nobody may have told of its sources."""
    state.put_report(told)
    # Those without a record of their own; of a run that was cut off also those that Settle may not have come to.
    since = about.now - (_SETTLING if cut_off else dt.timedelta())
    untold = [result for result in told.results if result.finished >= since]
    tell([*map(source_finished, untold), run_finished(told, about.execution)])


def _about(
    cloud: Cloud, given: dict[str, Any], execution: str, started: dt.datetime, now: dt.datetime
) -> tuple[_Run, ObjectPointer | None, Job | None]:
    """Which run an execution is, and its job."""
    name = str(given.get("job", ""))
    name = name if re.fullmatch(JOB_NAME, name) else "unknown"
    run = str(given.get("run") or run_id(started))
    pointer, job = _job(cloud, name, run, given.get("job_file"))
    hostname = job.hostname if job else name
    return _Run(name, run, hostname, execution, started, now), pointer, job


def _conclusion(
    told: RunReport, pointer: ObjectPointer | None, job: Job | None, *, without: Collection[str] = ()
) -> Conclusion:
    due = [channel.id for channel in job.notifications if channel.id not in without] if job else []
    channels = [Channel(job=told.job, run=told.run, channel=id_, job_file=pointer) for id_ in due] if pointer else []
    return Conclusion(job=told.job, run=told.run, outcome=told.outcome, summary=summary(told), channels=tuple(channels))


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
