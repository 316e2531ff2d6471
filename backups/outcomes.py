"""What channels were last told, kept on one machine: for those that want to hear of changes only.

    $XDG_STATE_HOME/backups/{job}-{digest}.json    ~/.local/state when XDG_STATE_HOME is not set

The digest is of the job file's path, so that two files of the same name do not mix. Losing the file costs a message
too many, or that of a recovery; so whatever goes wrong here is logged and stops nothing.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from backups.changes import told_after
from backups.context import Context
from backups.job import Job
from backups.notifying import DEFAULT_PATIENCE, Patience, notify_all
from backups.records import Notified, RunReport, Told

log = logging.getLogger("backups.outcomes")

_FORM = TypeAdapter(dict[str, Told])


def notify_here(
    job: Job, report: RunReport, context: Context, *, patience: Patience = DEFAULT_PATIENCE
) -> tuple[Notified, ...]:
    """Tell every channel of a job that ran on this machine, and remember what they were told. Never raises."""
    if not any(channel.notify_on == "change" for channel in job.notifications):
        return notify_all(job, report, context, patience=patience)
    path = outcomes_file(job)
    before = _read(path)
    answers = notify_all(job, report, context, previous=before, patience=patience)
    after = {answer.channel: told_after(report, before.get(answer.channel), answer) for answer in answers}
    _write(path, {channel: told for channel, told in after.items() if told})
    return answers


def outcomes_file(job: Job) -> Path:
    """Where what the channels of a job were told is kept."""
    given = os.environ.get("XDG_STATE_HOME", "")
    home = Path(given) if Path(given).is_absolute() else Path.home() / ".local" / "state"
    where = str(job.path.resolve() if job.path else "")
    return home / "backups" / f"{job.name}-{hashlib.sha256(where.encode()).hexdigest()[:8]}.json"


def _read(path: Path) -> dict[str, Told]:
    try:
        return _FORM.validate_json(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is damaged"
        log.warning("what channels were told before is unknown: %s: %s", path, reason)
        return {}


def _write(path: Path, told: Mapping[str, Told]) -> None:
    """Write beside it and rename, so that a crash leaves the old content."""
    temporary = None
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(_FORM.dump_json(dict(told)))
        Path(temporary).replace(path)
    except OSError as error:
        log.warning("what channels were told can't be remembered: %s: %s", path, error.strerror)
        if temporary:
            Path(temporary).unlink(missing_ok=True)
