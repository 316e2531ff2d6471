"""Commands that look at job files only: validate, plan, schema, convert."""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

from backups.cli.session import Session
from backups.destinations.base import DestinationConfig
from backups.display import table
from backups.errors import ExitCode, JobError, UsageError
from backups.job import Job, load_job
from backups.jobfile.convert import convert
from backups.jobfile.schema import job_schema
from backups.planning import plan as plan_run
from backups.planning import run_id


def validate(arguments: argparse.Namespace, session: Session) -> int:
    """Check every file; 2 when any is wrong."""
    checked = [_validate(path) for path in arguments.jobs]
    if arguments.json:
        session.display.data(json.dumps(checked, indent=2))
    else:
        for one in checked:
            _tell(one, session)
    return ExitCode.OK if all(one["valid"] for one in checked) else ExitCode.USAGE


def _validate(path: Path) -> dict[str, Any]:
    result: dict[str, Any] = {"file": str(path), "valid": True, "problems": [], "unavailable": [], "hints": []}
    try:
        job = load_job(path)
    except JobError as error:
        return {**result, "valid": False, "problems": list(error.problems)}
    except UsageError as error:
        return {**result, "valid": False, "problems": [error.message]}
    return {**result, "unavailable": job.unavailable(), "hints": job.hints()}


def _tell(one: dict[str, Any], session: Session) -> None:
    for problem in one["problems"]:
        session.display.out(problem)
    for line in one["unavailable"]:
        session.display.out(f"{one['file']}: {line}")
    for line in one["hints"]:
        session.display.out(f"{one['file']}: hint: {line}")
    if one["valid"]:
        session.display.out(f"{one['file']}: valid{', but it can not run yet' if one['unavailable'] else ''}")


def plan(arguments: argparse.Namespace, session: Session) -> int:
    """Show what a run that starts now would do."""
    job = session.load(arguments.job)
    now = dt.datetime.now(dt.UTC)
    planned = plan_run(job, run=run_id(now), now=now, sources=arguments.source)
    if arguments.json:
        session.display.data(planned.model_dump_json(indent=2))
        return ExitCode.OK
    zone = job.settings.timezone or "this machine's time zone"
    session.display.out(f"run {planned.run} of {job.name} on {job.hostname}")
    session.display.out(f"date in the keys: {planned.date}, the day in {zone}\n")
    rows = [(i.source, i.type, i.key, *_how(job, i.source), ", ".join(i.destinations)) for i in planned.items]
    session.display.out(table(("source", "type", "stored as", "compression", "encryption", "at"), rows))
    places = [(config.id, config.type, _retention(job, config)) for config in job.destinations]
    session.display.out("\n" + table(("destination", "type", "retention, where this run stored a copy"), places))
    if job.notifications:
        channels = [(c.id, c.type, _when(c.notify_on_success, c.notify_on_failure)) for c in job.notifications]
        session.display.out("\n" + table(("notification", "type", "tells of"), channels))
    for line in job.unavailable():
        session.display.warn(f"{line}; so a run would be refused")
    return ExitCode.OK


def schema(arguments: argparse.Namespace, session: Session) -> int:  # noqa: ARG001
    """Print the JSON Schema."""
    session.display.data(json.dumps(job_schema(), indent=2, ensure_ascii=False))
    return ExitCode.OK


def convert_(arguments: argparse.Namespace, session: Session) -> int:
    """Write the new job file, and apart from it the secrets."""
    try:
        content = arguments.old.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise UsageError(f"{arguments.old}: {error.strerror}") from None
    name = (arguments.output or arguments.old).stem
    converted = convert(content, name=name, where=str(arguments.old))
    for secret in converted.secrets.values():
        session.secrets.scrub.add(secret)
    if arguments.secrets and converted.secrets:
        _write_new(arguments.secrets, json.dumps(converted.secrets, indent=2) + "\n")
    if arguments.output:
        _write_new(arguments.output, converted.job)
    else:
        session.display.data(converted.job)
    for change in converted.changes:
        session.display.note(change)
    if arguments.output:
        for problem in _validate(arguments.output)["problems"]:
            session.display.warn(f"still to be corrected: {problem}")
    if converted.secrets and not arguments.secrets:
        count = len(converted.secrets)
        session.display.warn(f"{count} secrets were taken out and not kept: --secrets FILE writes them to a file")
    return ExitCode.OK


def _write_new(path: Path, content: str) -> None:
    """A file that only this user may read, never in the place of another."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(content)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}", hint="give the name of a new file") from None


def _how(job: Job, source_id: str) -> tuple[str, str]:
    """Compression and encryption, and who says so."""
    source = job.source(source_id)
    compression = f"{job.compression_for(source)} ({'its own' if source.compression else 'of the job'})"
    kind = "passphrase" if job.encryption_for(source).passphrase else "recipients"
    own = source.passphrase or source.recipients
    return compression, f"{kind} ({'its own' if own else 'of the job'})"


def _retention(job: Job, config: DestinationConfig) -> str:
    policy = job.policy_for(config)
    parts = [f"at most {policy.copies} backups"] if policy.copies else []
    parts += [f"at most {policy.days} days old"] if policy.days else []
    rules = policy.rules.model_dump(exclude_defaults=True) if policy.rules else {}
    parts += [f"{name} {value}" for name, value in rules.items()]
    if not parts:
        return "none: every copy stays"
    return f"{', '.join(parts)}; the newest {policy.minimum} verified always"


def _when(success: bool, failure: bool) -> str:
    told = [name for name, wanted in (("success", success), ("failure", failure)) if wanted]
    return " and ".join(told) or "nothing"
