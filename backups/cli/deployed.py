"""Commands for a deployed stack: start, watch, cancel."""

from __future__ import annotations

import argparse
import threading

from backups.cli.run import stored_table, tell_report
from backups.cli.session import Session
from backups.cloud.stack import RunName, Stack
from backups.errors import BackupsError, ExitCode
from backups.local_run import exit_code_of
from backups.records import RunReport

LOOK_SECONDS = 3.0
"""How often a run is looked at; its workers write their progress about as often."""


def start(arguments: argparse.Namespace, session: Session) -> int:
    """Start a deployed job."""
    with session.interrupted():
        started = Stack(arguments.stack).start(arguments.job, arguments.source)
    name = started.execution.rpartition(":")[2]
    if arguments.json:
        session.display.data(started.model_dump_json(indent=2))
    else:
        session.display.out(name)
        session.display.note(f"{started.verdict}; see it with: backups watch {name}")
    return ExitCode.OK if started.verdict in ("run", "started before") else ExitCode.FAILED


def watch(arguments: argparse.Namespace, session: Session) -> int:
    """Show a run until it ends, and end as it does."""
    stack = Stack(arguments.stack)
    name = stack.find(arguments.run)
    with session.interrupted(), session.display.live():
        report = _until_end(stack, name, session)
    if arguments.json:
        session.display.data(report.model_dump_json(indent=2))
    elif report.results:
        session.display.out(stored_table(report))
    tell_report(report, session)
    return exit_code_of(report)


def cancel(arguments: argparse.Namespace, session: Session) -> int:
    """Stop a run."""
    with session.interrupted():
        stack = Stack(arguments.stack)
        stack.cancel(stack.find(arguments.run))
    session.display.note("stopped; its workers leave nothing half, and no notification is sent")
    return ExitCode.OK


def _until_end(stack: Stack, name: RunName, session: Session) -> RunReport:
    told: set[str] = set()
    pause = threading.Event()
    while True:
        view = stack.look(name)
        for result in view.results:
            if result.source not in told:
                session.display.done(result)
                told.add(result.source)
        session.display.show([record for record in view.progress if record.source not in told])
        if view.status != "running":
            break
        pause.wait(LOOK_SECONDS)
    report = stack.report(name)
    if report is None:
        raise BackupsError(
            f"run {name.run} of {name.job} was stopped, so it has no report"
            if view.status == "aborted"
            else f"run {name.run} of {name.job} ended without a report",
            hint="look at its execution",
        )
    return report
