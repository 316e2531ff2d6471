"""``backups run --dry-run``: what a run would store and remove."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from typing import Any

from backups.cli.session import Session
from backups.display import table
from backups.errors import BackupsError, ExitCode
from backups.job import Job
from backups.local_run import refuse_unavailable
from backups.planning import plan, run_id
from backups.previewing import preview
from backups.retention import Decision


def show(job: Job, arguments: argparse.Namespace, session: Session) -> int:
    """Ask the destinations, and show the plan and what retention would do; 3 or 1 when not all of them answer."""
    refuse_unavailable(job)
    now = dt.datetime.now(dt.UTC)
    planned = plan(job, run=run_id(now), now=now, sources=arguments.source)
    stored = [{"key": item.key, "destination": id_} for item in planned.items for id_ in item.destinations]
    retention: list[dict[str, Any]] = []
    errors: dict[str, str] = {}
    with session.context(job) as context, session.interrupted():
        for config, found in preview(job, planned, context, now=now):
            if isinstance(found, BackupsError):
                session.display.error(BackupsError(f"{config.id}: {found.message}", hint=found.hint))
                errors[config.id] = session.secrets.scrub(found.message)
            else:
                retention += [decided(config.id, decision) for decision in found]
    if arguments.json:
        content = {"plan": planned.model_dump(mode="json"), "retention": retention, "errors": errors}
        session.display.data(json.dumps(content, indent=2))
    else:
        session.display.out(table(("would store", "at"), [(each["key"], each["destination"]) for each in stored]))
        session.display.out("\n" + decisions_table(retention))
        session.display.note("dry run: nothing was stored or removed")
    return exit_code(len(errors), len(job.destinations))


def decided(destination: str, decision: Decision) -> dict[str, Any]:
    """A decision as JSON has it."""
    return {
        "source": decision.copy.key.source_id,
        "destination": destination,
        "key": str(decision.copy.key),
        "keep": decision.keep,
        "reasons": list(decision.reasons),
        "until": decision.expires.isoformat() if decision.expires else None,
    }


def decisions_table(decisions: list[dict[str, Any]]) -> str:
    """Each copy with keep or remove, and why."""
    rows = [
        (
            each["destination"],
            each["key"],
            "keep" if each["keep"] else "remove",
            "; ".join(each["reasons"]),
            each["until"] or "",
        )
        for each in decisions
    ]
    return table(("destination", "copy", "retention", "why", "until"), rows)


def exit_code(failed: int, all_: int) -> ExitCode:
    """0 when nothing failed, 1 when everything did, else 3."""
    if not failed:
        return ExitCode.OK
    return ExitCode.FAILED if failed >= all_ else ExitCode.PARTIAL
