"""How temporary instances are called and tagged, so that whoever looks knows whose they are and until when."""

from __future__ import annotations

import datetime as dt
import re
import secrets

from backups.context import Task

PREFIX = "backups-tmp-"
"""What every temporary instance's and cluster's name begins with; rights to delete hold for nothing else."""

RUN_TAG = "backups:run"
"""Tag with ``JOB/RUN/SOURCE``: what the instance was made for."""

EXPIRES_TAG = "backups:expires"
"""Tag with the moment from which on nobody can need the instance any more, in UTC as ISO 8601 writes it."""

_LONGEST_SLUG = 30
_LONGEST_VALUE = 256  # of a tag
_NOT_IN_TAGS = re.compile(r"[^\w\s.:/=+@-]")


def temporary_name(source: str) -> str:
    """A new identifier, with the source's id in it as far as RDS allows.

    RDS takes at most 63 letters, digits and hyphens, with no two hyphens together and none at the end.
    """
    slug = re.sub(r"[^a-z0-9]+", "-", source.lower())[:_LONGEST_SLUG].strip("-")
    return "-".join(part for part in (PREFIX.rstrip("-"), slug, secrets.token_hex(5)) if part)


def run_tag(job: str, run: str, source: str) -> str:
    """The value of ``backups:run``; characters that tags can't hold become ``_``."""
    return _NOT_IN_TAGS.sub("_", f"{job}/{run}/{source}")[:_LONGEST_VALUE]


def tags(task: Task, expires: dt.datetime) -> dict[str, str]:
    """The tags of a temporary instance; given at restore, they keep RDS from copying those of the source."""
    moment = expires.astimezone(dt.UTC).replace(microsecond=0).isoformat()
    return {RUN_TAG: run_tag(task.job, task.run, task.source), EXPIRES_TAG: moment}
