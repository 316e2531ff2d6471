"""Commands about stored copies: list and prune."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from collections.abc import Callable
from typing import Any

from backups.cli.dry_run import decided, decisions_table, exit_code
from backups.cli.session import Session
from backups.copies import list_copies
from backups.destinations.base import Destination, DestinationConfig
from backups.display import table
from backups.errors import BackupsError, StoppedError
from backups.job import Job
from backups.notifications.words import human_size
from backups.notifying import scrubbed
from backups.pruning import prune as prune_destination
from backups.records import Pruned
from backups.retention import Decision, decide
from backups.storing import Connections


def list_(arguments: argparse.Namespace, session: Session) -> int:
    """List copies with what keeps each."""
    job = session.load(arguments.job, hostname=arguments.hostname)
    now = dt.datetime.now(dt.UTC)
    sources = source_ids(job, arguments)
    listed: list[dict[str, Any]] = []

    def list_one(config: DestinationConfig, destination: Destination) -> None:
        copies = list_copies(destination, job.hostname, sources, legacy=config.retention_legacy, locks=True)
        decisions = decide(copies, job.policy_for(config), today=job.date(now), now=now)
        listed.extend(_listed(config.id, decision) for decision in decisions)

    errors = _at_each(job, arguments, session, list_one)
    listed.sort(key=lambda one: (one["source"], one["date"], one["key"]))
    if arguments.json:
        session.display.data(json.dumps({"host": job.hostname, "copies": listed, "errors": errors}, indent=2))
    elif listed:
        session.display.out(_list_table(listed))
    else:
        session.display.note(f"no copies of {job.hostname}")
    return exit_code(len(errors), len(_chosen(job, arguments)))


def _listed(destination: str, decision: Decision) -> dict[str, Any]:
    copy = decision.copy
    return {
        **decided(destination, decision),
        "date": copy.key.date.isoformat(),
        "size": copy.size,
        "stored": copy.modified.isoformat(timespec="seconds"),
        "verified": copy.verified,
    }


def _list_table(listed: list[dict[str, Any]]) -> str:
    headers = ("source", "date", "destination", "size", "verified", "kept by", "until")
    rows = [
        (
            one["source"],
            one["date"],
            one["destination"],
            human_size(one["size"]),
            one["stored"][:16].replace("T", " ") if one["verified"] else "NO",
            "; ".join(one["reasons"]) if one["keep"] else f"nothing: {'; '.join(one['reasons'])}",
            one["until"] or "",
        )
        for one in listed
    ]
    return table(headers, rows, right=("size",))


def prune(arguments: argparse.Namespace, session: Session) -> int:
    """Apply retention now, or show what it would do."""
    job = session.load(arguments.job)
    now = dt.datetime.now(dt.UTC)
    sources = source_ids(job, arguments)
    decisions: list[dict[str, Any]] = []
    records: list[Pruned] = []

    def prune_one(config: DestinationConfig, destination: Destination) -> None:
        found, pruned = prune_destination(
            job, config, destination, sources, today=job.date(now), now=now, dry_run=arguments.dry_run
        )
        decisions.extend(decided(config.id, decision) for decision in found)
        records.extend(scrubbed(record, session.secrets.scrub) for record in pruned)

    errors = _at_each(job, arguments, session, prune_one)
    if arguments.json:
        content = {
            "host": job.hostname,
            "dry_run": arguments.dry_run,
            "copies": decisions,
            "pruned": [record.model_dump(mode="json") for record in records],
            "errors": errors,
        }
        session.display.data(json.dumps(content, indent=2))
    else:
        session.display.out(decisions_table(decisions))
        _tell_pruned(records, session, dry_run=arguments.dry_run)
    failed = {record.destination for record in records if record.error or record.refused} | set(errors)
    _tell_refused(records, session)
    return exit_code(len(failed), len(_chosen(job, arguments)))


def _tell_pruned(records: list[Pruned], session: Session, *, dry_run: bool) -> None:
    count = sum(record.removed_count for record in records)
    session.display.note(f"{count} objects would be removed" if dry_run else f"{count} objects were removed")


def _tell_refused(records: list[Pruned], session: Session) -> None:
    for record in records:
        where = f"{record.source} at {record.destination}"
        if record.error:
            session.display.error(BackupsError(f"{where}: {record.error}"))
        for key, reason in record.refused.items():
            session.display.error(BackupsError(f"{where}: {key} could not be removed: {reason}"))
        if record.more_refused:
            session.display.error(BackupsError(f"{where}: {record.more_refused} more objects could not be removed"))


def _at_each(
    job: Job, arguments: argparse.Namespace, session: Session, use: Callable[[DestinationConfig, Destination], None]
) -> dict[str, str]:
    """Open each destination and use it. Errors are shown and returned; the other destinations get their turn."""
    errors: dict[str, str] = {}
    with session.context(job) as context, session.interrupted():
        connections = Connections(_chosen(job, arguments), context)
        try:
            for config in connections.configs.values():
                try:
                    use(config, connections.get(config.id))
                except StoppedError:
                    raise
                except BackupsError as error:
                    session.display.error(BackupsError(f"{config.id}: {error.message}", hint=error.hint))
                    errors[config.id] = session.secrets.scrub(error.message)
        finally:
            connections.close()
    return errors


def _chosen(job: Job, arguments: argparse.Namespace) -> list[DestinationConfig]:
    return [job.destination(arguments.destination)] if arguments.destination else list(job.destinations)


def source_ids(job: Job, arguments: argparse.Namespace) -> list[str]:
    """The sources that a command is about. Raises UsageError."""
    ids = arguments.source or [source.id for source in job.sources]
    return [job.source(id_).id for id_ in dict.fromkeys(ids)]
