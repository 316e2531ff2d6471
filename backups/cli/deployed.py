"""Commands for a deployed stack: start, watch, cancel, notify."""

from __future__ import annotations

import argparse
import contextlib
import json
import threading
import time

from backups.cli.run import stored_table, tell_report
from backups.cli.session import Session
from backups.cloud.dead_letters import Letter, redrive
from backups.cloud.stack import RunName, Stack
from backups.errors import BackupsError, ExitCode
from backups.local_run import exit_code_of
from backups.records import RunReport

LOOK_SECONDS = 3.0
"""How often a run is looked at; its workers write their progress about as often."""

REPORT_SECONDS = 60.0
"""How long the report of a run that was cut off is waited for."""


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
    session.display.note("stopped; its workers leave nothing half, and its channels are told")
    return ExitCode.OK


def notify(arguments: argparse.Namespace, session: Session) -> int:
    """Send again what could not be delivered, and say of each what became of it."""
    letters = []
    stack = Stack(arguments.stack)
    with session.interrupted(), contextlib.closing(redrive(stack, dry_run=arguments.dry_run)) as going:
        for letter in going:
            letters.append(letter)
            if not arguments.json:
                session.display.out(_line(letter, dry_run=arguments.dry_run))
    if arguments.json:
        session.display.data(json.dumps([letter.model_dump(mode="json") for letter in letters], indent=2))
    sent = sum(letter.status == "sent" for letter in letters)
    left = len(letters) - sent
    session.display.note(f"{sent} sent, {left} left in the queue" if letters else "the dead-letter queue is empty")
    if arguments.dry_run or not left:
        return ExitCode.OK
    return ExitCode.PARTIAL if sent else ExitCode.FAILED


def _line(letter: Letter, *, dry_run: bool) -> str:
    """A letter as people read it."""
    of_what = {"end": "run", "start": "start of run", "notice": "notice"}.get(letter.about, "run")
    what = {
        "message": f"message to '{letter.channel}' of {of_what} {letter.run} of job '{letter.job}'",
        "run cut off": f"the end of run {letter.run}",
        "schedule": f"the schedule of job '{letter.job}' for {letter.run}",
        "unknown": "something unknown",
    }[letter.kind]
    again = dry_run and letter.kind in ("message", "run cut off")
    became = "would be sent again" if again else letter.status
    why = letter.error or letter.reason
    return (
        f"{became}: {what}"
        + (f": {why}" if why and letter.status != "sent" else "")
        + (f" ({letter.hint})" if letter.hint else "")
    )


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
    patience = time.monotonic() + REPORT_SECONDS
    while report is None and time.monotonic() < patience:  # of a run that was cut off, another function makes it
        pause.wait(1)
        report = stack.report(name)
    if report is None:
        raise BackupsError(
            f"run {name.run} of {name.job} ended without a report",
            hint="look at its execution, and at the log of the function 'ended'",
        )
    return report
