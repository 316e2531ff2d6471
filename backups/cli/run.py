"""``backups run`` and the old command ``backup``."""

from __future__ import annotations

import argparse
import json

from backups.cli import dry_run
from backups.cli.session import Session
from backups.display import clock, rate, table
from backups.errors import BackupsError
from backups.local_run import LocalRun, run_job
from backups.notifications.words import human_size
from backups.records import Outcome, Result, RunReport

_HEADERS = ("source", "destination", "size", "seconds", "speed", "sha256", "verified")


def run(arguments: argparse.Namespace, session: Session) -> int:
    """Run a job and tell how it went."""
    job = session.load(arguments.job)
    if arguments.dry_run:
        return dry_run.show(job, arguments, session)
    with session.stopping(), session.display.live():
        ended = run_job(job, arguments.source, session.secrets, session.cancel, session.display)
    _tell(ended, session, as_json=arguments.json)
    return ended.exit_code


def backup(arguments: argparse.Namespace, session: Session) -> int:
    """The old tool's command: silent when all is well."""
    session.display.quiet = not arguments.verbose
    return run(arguments, session)


def _tell(ended: LocalRun, session: Session, *, as_json: bool) -> None:
    display = session.display
    if as_json:
        display.data(_ended_json(ended))
    elif not display.quiet and ended.report.results:
        display.out(stored_table(ended.report))
    tell_report(ended.report, session)
    for notified in ended.notified:
        if notified.status == "failed":
            display.warn(f"notification {notified.channel} was not sent: {notified.error}")


def tell_report(report: RunReport, session: Session) -> None:
    """What the table does not show: warnings, failures with their hints, retention, and the outcome."""
    display = session.display
    if report.error:
        display.error(BackupsError(report.error, hint=report.hint))
    for result in report.results:
        for warning in result.warnings:
            display.warn(f"{result.source}: {warning}")
        _tell_failure(result, session)
    for pruned in report.pruned:
        if pruned.error:
            display.warn(f"retention of {pruned.source} at {pruned.destination}: {pruned.error}")
        for key, reason in pruned.refused.items():
            display.warn(f"retention at {pruned.destination} could not remove {key}: {reason}")
        if pruned.removed:
            display.note(f"retention of {pruned.source} at {pruned.destination}: removed {len(pruned.removed)}")
    display.note(_last_line(report))


def _ended_json(ended: LocalRun) -> str:
    """The report with what became of its notifications, and the exit code."""
    content = ended.report.model_dump(mode="json")
    content["notified"] = [notified.model_dump(mode="json") for notified in ended.notified]
    content["exit_code"] = int(ended.exit_code)
    return json.dumps(content, indent=2)


def stored_table(report: RunReport) -> str:
    """What was stored where."""
    rows = [row for result in report.results for row in _rows(result)]
    return table(_HEADERS, rows, right=("size", "seconds", "speed"))


def _rows(result: Result) -> list[tuple[str, ...]]:
    if not result.destinations:
        return [(result.source, "-", "-", f"{result.seconds:.1f}", "-", "-", str(result.outcome))]
    return [
        (
            result.source,
            place.destination,
            human_size(place.size) if place.status == "stored" else "-",
            f"{place.seconds:.1f}",
            rate(place.size, place.seconds) if place.status == "stored" else "-",
            result.sha256[:12] if place.status == "stored" else "-",
            place.verified if place.status == "stored" else "failed",
        )
        for place in result.destinations
    ]


def _tell_failure(result: Result, session: Session) -> None:
    """Why a source is not stored everywhere, and what to do."""
    failed = [place for place in result.destinations if place.status == "failed"]
    for place in failed:
        session.display.error(BackupsError(f"{result.source} at {place.destination}: {place.error}", hint=place.hint))
    if result.outcome is not Outcome.STORED and not failed:
        session.display.error(BackupsError(f"{result.source}: {result.error}", hint=result.hint))


def _last_line(report: RunReport) -> str:
    good = sum(result.outcome is Outcome.STORED for result in report.results)
    took = clock((report.finished - report.started).total_seconds())
    return f"run {report.run} of {report.job}: {report.outcome}, {good} of {len(report.results)} sources in {took}"
