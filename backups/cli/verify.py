"""``backups verify``: named copies, or those whose turn it is."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from collections.abc import Iterable

from backups.cli.copies import source_ids
from backups.cli.session import Session
from backups.context import Context
from backups.display import rate, table
from backups.errors import BackupsError, ExitCode, UsageError
from backups.job import Job
from backups.notifications.words import human_size
from backups.notifying import notify_notice, scrubbed
from backups.records import Notice
from backups.restoring.finding import Wanted
from backups.restoring.verify import verify as verify_copies
from backups.verification.check import check_due
from backups.verification.findings import of_checks, of_places, of_promise
from backups.verification.here import LocalBooks
from backups.verification.status import Check, Verification


def verify(arguments: argparse.Namespace, session: Session) -> int:
    """Read copies back and check them; 1 when anything is wrong."""
    return _due(arguments, session) if arguments.due else _wanted(arguments, session)


def _wanted(arguments: argparse.Namespace, session: Session) -> int:
    """Those that the arguments name."""
    job = session.load(arguments.job, hostname=arguments.hostname)
    wanted = Wanted(
        hostname=job.hostname,
        sources=source_ids(job, arguments),
        date=arguments.date,
        origin=arguments.destination,
        unverified=True,
    )
    checks: list[Check] = []
    with session.context(job) as context, session.stopping(), session.display.live():
        for check in verify_copies(job, wanted, context, session.display):
            checks.append(scrubbed(check, session.secrets.scrub))
    if arguments.json:
        content = {"host": job.hostname, "checks": [check.model_dump(mode="json") for check in checks]}
        session.display.data(json.dumps(content, indent=2))
    else:
        session.display.out(_checks_table(checks))
    _tell(checks, session)
    return ExitCode.OK if all(check.status == "ok" for check in checks) else ExitCode.FAILED


def _checks_table(checks: list[Check]) -> str:
    headers = ("source", "destination", "copy", "result", "size", "seconds", "speed", "checked")
    rows = [
        (
            check.source,
            check.destination,
            check.key or "-",
            check.status.upper() if check.status != "ok" else "ok",
            human_size(check.size) if check.size else "-",
            f"{check.seconds:.1f}" if check.seconds else "-",
            rate(check.size, check.seconds) or "-",
            check.checked,
        )
        for check in checks
    ]
    return table(headers, rows, right=("size", "seconds", "speed"))


def _due(arguments: argparse.Namespace, session: Session) -> int:
    """Those whose turn it is; what is wrong is told to the job's channels, too."""
    given = ("source", "destination", "date", "hostname")
    if any(getattr(arguments, name) for name in given):
        raise UsageError(f"--due goes with none of {', '.join(f'--{name}' for name in given)}")
    job = session.load(arguments.job)
    books = LocalBooks.of(job)
    with books.held(), session.context(job) as context, session.stopping():
        with session.display.live():
            status, checks = check_due(job, books, context, session.display)
        _notify(job, status, checks, context, session)
    if arguments.json:
        content = {
            "host": job.hostname,
            "status": status.model_dump(mode="json"),
            "checks": [check.model_dump(mode="json") for check in checks],
        }
        session.display.data(json.dumps(content, indent=2))
    else:
        if checks:
            session.display.out(_checks_table(checks))
        session.display.out(_standing(status))
    found = {(check.destination, check.key) for check in checks}
    _tell(checks, session)
    _tell([check for check in status.bad if (check.destination, check.key) not in found], session)
    for id_, error in status.left_out.items():
        session.display.error(BackupsError(f"{id_}: its copies could not be checked: {error}"))
    return ExitCode.OK if status.good else ExitCode.FAILED


def _standing(status: Verification) -> str:
    now = status.finished
    bad = status.damaged + status.missing + status.unreadable
    oldest = f", none waits longer than {status.age_hours(now) / 24:.0f} days" if status.copies else ""
    return (
        f"{status.checked} of {status.copies} copies read back now, {human_size(status.checked_size)}; "
        f"{bad or 'none'} known to be bad{oldest}"
    )


def _notify(job: Job, status: Verification, checks: list[Check], context: Context, session: Session) -> None:
    """Have the channels told of what this check has found."""
    findings = [*of_checks(checks), *of_places(status), *of_promise(status, status.finished)]
    if not findings:
        return
    at = dt.datetime.now(dt.UTC)
    notice = Notice(job=job.name, run=status.run, hostname=job.hostname, at=at, findings=tuple(findings))
    for answer in notify_notice(job, notice, context):
        if answer.status == "failed":
            session.display.warn(f"channel {answer.channel} was not told: {answer.error}")


def _tell(checks: Iterable[Check], session: Session) -> None:
    for check in checks:
        if check.status != "ok":
            where = f"{check.source} at {check.destination}"
            session.display.error(BackupsError(f"{where}: {check.status}: {check.error}", hint=check.hint))
