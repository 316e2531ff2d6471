"""A whole job on one machine: every source, then retention, then notifications."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from backups.context import Cancel, Context
from backups.errors import BackupsError, ExitCode, JobError, StoppedError
from backups.job import Job
from backups.notifying import notify_start, scrubbed
from backups.outcomes import notify_here
from backups.planning import begun, plan, run_id
from backups.progress import Progress
from backups.pruning import prune
from backups.records import Notified, Outcome, Plan, PlanItem, Pruned, Result, RunReport, overall
from backups.running import run_source
from backups.secrets import Secrets
from backups.snapshots.pruning import with_snapshots
from backups.storing import Connections
from backups.watching import Watch
from backups.workspace import BusyError, job_lock, private_directory

log = logging.getLogger("backups.local_run")

_EXIT_CODES = {Outcome.STORED: ExitCode.OK, Outcome.PARTIAL: ExitCode.PARTIAL}


@dataclass(frozen=True)
class LocalRun:
    """How a run ended."""

    report: RunReport
    notified: tuple[Notified, ...]
    stopped: StoppedError | None = None

    @property
    def exit_code(self) -> ExitCode:
        """What the process ends with: never better than the truth."""
        if self.stopped:
            return self.stopped.code
        return exit_code_of(self.report)


def exit_code_of(report: RunReport) -> ExitCode:
    """What a process ends with after such a run."""
    return _EXIT_CODES.get(report.outcome, ExitCode.FAILED)


def run_job(job: Job, sources: Sequence[str] | None, secrets: Secrets, cancel: Cancel, watch: Watch) -> LocalRun:
    """Run a job, with all its sources or only those named.

    Raises JobError or UsageError before anything was touched. Whatever goes wrong later is in the report, and the
    notifications tell of it.
    """
    now = dt.datetime.now(dt.UTC)
    planned = plan(job, run=run_id(now), now=now, sources=sources)
    refuse_unavailable(job)
    with contextlib.ExitStack() as stack:
        try:
            if job.path:
                stack.enter_context(job_lock(job.path))
            private = stack.enter_context(private_directory(ensure_tmpdir(job.settings.tmpdir)))
        except BackupsError as error:
            outcome = Outcome.SKIPPED if isinstance(error, BusyError) else Outcome.FAILED
            report = make_report(planned, (), outcome=outcome, error=error)
            context = Context(tmpdir=job.settings.tmpdir, secrets=secrets, cancel=cancel)
            return LocalRun(report, notify_here(job, report, context))
        return _run(job, planned, Context(tmpdir=private, secrets=secrets, cancel=cancel), watch)


def refuse_unavailable(job: Job) -> None:
    """Raises JobError when a type of the job can't run yet."""
    if problems := job.unavailable():
        where = f"{job.path}: " if job.path else ""
        raise JobError([f"{where}{line}" for line in problems], hint="take these out of the job file; nothing was done")


def ensure_tmpdir(tmpdir: Path) -> Path:
    """The job's ``tmpdir``, made when it is missing. Raises BackupsError."""
    try:
        tmpdir.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        hint = "correct 'tmpdir' in the job file, or make the directory"
        raise BackupsError(f"tmpdir {tmpdir}: {error.strerror}", hint=hint) from None
    return tmpdir


def make_report(
    planned: Plan,
    results: Iterable[Result],
    pruned: Iterable[Pruned] = (),
    *,
    outcome: Outcome | None = None,
    error: BackupsError | None = None,
) -> RunReport:
    """The report of a run; ``outcome`` only when there are no results to tell it. Pure but for the clock."""
    results = tuple(results)
    return RunReport(
        job=planned.job,
        run=planned.run,
        hostname=planned.hostname,
        outcome=outcome or overall(results),
        started=planned.planned,
        finished=max(dt.datetime.now(dt.UTC), planned.planned),
        results=results,
        pruned=tuple(pruned),
        error=error.message if error else "",
        hint=error.hint if error else "",
    )


def _run(job: Job, planned: Plan, context: Context, watch: Watch) -> LocalRun:
    starts_told = notify_start(job, begun(planned), context)
    results = _back_up(job, planned, context, watch)
    pruned = _apply_retention(job, planned, results, context, watch)
    stopped = _stopped(context)
    report = make_report(planned, results, pruned, error=stopped)
    if job.notifications:
        watch.note("sending notifications")
    return LocalRun(report, (*starts_told(), *notify_here(job, report, context)), stopped)


def _back_up(job: Job, planned: Plan, context: Context, watch: Watch) -> list[Result]:
    """Every source in threads, so that this one hears signals."""

    def one(item: PlanItem) -> Result:
        progress = Progress(item.source, item.name)
        if context.cancel.stopped:
            result = _not_started(job, item)
        else:
            with watch.follow(progress):
                result = run_source(job, item, context, progress)
        watch.done(result)
        return result

    with ThreadPoolExecutor(job.settings.concurrency or 1, thread_name_prefix="source") as pool:
        futures = [pool.submit(one, item) for item in planned.items]
        return [future.result() for future in futures]


def _not_started(job: Job, item: PlanItem) -> Result:
    now = dt.datetime.now(dt.UTC)
    return Result(
        job=item.job,
        run=item.run,
        hostname=job.hostname,
        source=item.source,
        name=item.name,
        type=item.type,
        label=job.source(item.source).label,
        outcome=Outcome.FAILED,
        started=now,
        finished=now,
        error="the run was stopped before this source began",
    )


def _apply_retention(
    job: Job, planned: Plan, results: Sequence[Result], context: Context, watch: Watch
) -> list[Pruned]:
    """Only where this run stored a verified copy: while backups fail, old copies are all there is."""
    stored: dict[str, dict[str, str]] = defaultdict(dict)
    for result in results:
        for place in result.destinations:
            if place.status == "stored":
                stored[place.destination][result.source] = place.key or result.key
    pruned: list[Pruned] = []
    for id_, keys in stored.items():
        if context.cancel.stopped:
            break
        watch.note(f"retention at {id_}")
        pruned += _prune_at(job, id_, keys, planned, results, context)
    return pruned


def _prune_at(
    job: Job, id_: str, stored: Mapping[str, str], planned: Plan, results: Sequence[Result], context: Context
) -> Sequence[Pruned]:
    config = job.destination(id_)
    connections = Connections([config], context)
    try:
        now = dt.datetime.now(dt.UTC)
        place = connections.get(id_)
        records = prune(job, config, place, stored, stored=stored, today=planned.date, now=now)[1]
        records = with_snapshots(records, job, results, context, today=planned.date, now=now)
        return [scrubbed(record, context.secrets.scrub) for record in records]
    except BackupsError as error:
        problem = str(error)
    except Exception as error:  # retention that breaks must not keep the notifications from being sent
        log.exception("retention at %s", id_)
        problem = f"unexpected {type(error).__name__}: {error}"
    finally:
        connections.close()
    problem = context.secrets.scrub(problem)
    return [Pruned(source=source, destination=id_, error=problem) for source in stored]


def _stopped(context: Context) -> StoppedError | None:
    try:
        context.cancel.check()
    except StoppedError as error:
        name = "Ctrl-C" if error.signal == 2 else f"signal {error.signal}"
        return StoppedError(f"the run was stopped by {name}", signal=error.signal)
    return None
