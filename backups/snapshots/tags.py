"""The tags that say which job made a snapshot, and whether it counts; and the names of those that have one."""

from __future__ import annotations

import hashlib
import re

from backups.context import Task

JOB, HOST, SOURCE, RUN, COPY, STATE = (f"backups:{name}" for name in ("job", "host", "source", "run", "copy", "state"))
UNFINISHED = "unfinished"
"""What ``backups:state`` says from the first moment on: nobody may count on the snapshot."""

COMPLETE = "complete"
"""What it says once the snapshot is complete and a verified copy of its status is stored."""

NAME_PREFIX = "backups-"
"""What the names of RDS snapshots begin with."""

_LONGEST_VALUE = 256
_LONGEST_SLUG = 80
_NOT_IN_TAGS = re.compile(r"[^\w\s.:/=+@-]")


def tag_value(text: str) -> str:
    """The text as a tag can hold it; with a hash at its end where something of it is lost."""
    value = _NOT_IN_TAGS.sub("_", text)
    if value == text and len(value) <= _LONGEST_VALUE:
        return value
    return f"{value[: _LONGEST_VALUE - 9]}-{_digest(text)}"


def owner_tags(job: str, hostname: str, source: str) -> dict[str, str]:
    """The tags that a source's snapshots are found by, and no other's."""
    return {JOB: tag_value(job), HOST: tag_value(hostname), SOURCE: tag_value(source)}


def task_tags(task: Task) -> dict[str, str]:
    """The tags of a snapshot that is begun."""
    return {
        "Name": tag_value(f"{task.hostname} {task.source} {task.run}"),
        **owner_tags(task.job, task.hostname, task.source),
        RUN: tag_value(task.run),
        COPY: tag_value(task.key),
        STATE: UNFINISHED,
    }


def name_prefix(job: str) -> str:
    """What the names of a job's RDS snapshots begin with; rights are given for it. Tells any two jobs apart."""
    return f"{NAME_PREFIX}{_slug(job)}-{_digest(job)}-"


def snapshot_name(task: Task) -> str:
    """The name of a run's RDS snapshot: letters, digits and single hyphens, as RDS wants it; the same each time."""
    return f"{name_prefix(task.job)}{_slug(task.source)}-{_slug(task.run)}-{_digest(task.hostname + '/' + task.source)}"


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:_LONGEST_SLUG].strip("-") or "x"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
