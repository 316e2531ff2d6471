"""The check of a deployed job's copies: ``python -m worker_image.main check``.

Reads back the copies whose turn it is, keeps each answer in the state bucket, and ends with 0 when every copy that is
known is good, 1 when one is not or the check broke off, 143 when it was stopped.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from backups.cloud.orchestration import ObjectPointer, load_deployed
from backups.cloud.state import State
from backups.context import Context
from backups.errors import ExitCode, UsageError
from backups.notifications.words import human_size
from backups.progress import Progress
from backups.records import Result
from backups.verification.check import check_due
from backups.verification.lease import TERM, leased
from backups.watching import Meter

log = logging.getLogger("backups.check")

SECONDS = 20 * 3600.0
"""No copy is begun after that: checks come every day, and one that is at work is stopped after 23 hours."""

_LINE_SECONDS = 60.0
_REQUIRED = ("BACKUPS_JOB", "BACKUPS_JOB_BUCKET", "BACKUPS_JOB_KEY", "BACKUPS_STATE_BUCKET")


@dataclass(frozen=True)
class CheckEnv:
    """Whose copies, and where what is found goes."""

    job: str
    job_file: ObjectPointer
    state_bucket: str
    execution: str = ""
    """Which execution this is, for whoever looks at what it leaves."""
    lease_seconds: float = TERM
    """After so long a check that renews its lease no more counts as dead."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> CheckEnv:
        """Read the environment. Raises UsageError that names every missing variable."""
        missing = [name for name in _REQUIRED if not environ.get(name)]
        if missing:
            hint = "the state machine and infra/ set them"
            raise UsageError(f"not set in the environment: {', '.join(missing)}", hint=hint)
        job, bucket, key, state = (environ[name] for name in _REQUIRED)
        try:
            seconds = float(environ.get("BACKUPS_LEASE_SECONDS") or TERM)
        except ValueError:
            raise UsageError("BACKUPS_LEASE_SECONDS in the environment is no number") from None
        return cls(job, ObjectPointer(bucket=bucket, key=key), state, environ.get("BACKUPS_CHECK", ""), seconds)


def check(env: CheckEnv, context: Context) -> int:
    """Check the copies. Returns the exit code; raises BackupsError when the job or its records can't be read, and when
    another check of them is at work.
    """
    job = load_deployed(env.job_file, env.job)
    state, name = State(env.state_bucket), env.execution
    with leased(state, env.job, context.cancel, execution=name, term=env.lease_seconds) as books:
        status, _ = check_due(job, books, context, LoggedWatch(), seconds=SECONDS, execution=name)
    log.info(
        "%d of %d copies read back, %s; %d damaged, %d missing, %d unreadable",
        *(status.checked, status.copies, human_size(status.checked_size)),
        *(status.damaged, status.missing, status.unreadable),
    )
    return ExitCode.OK if status.good else ExitCode.FAILED


class LoggedWatch:
    """Tells the log."""

    @contextlib.contextmanager
    def follow(self, what: Progress | Meter) -> Iterator[None]:
        """A line for every minute that a copy takes."""
        over = threading.Event()

        def tell() -> None:
            while not over.wait(_LINE_SECONDS):
                if isinstance(what, Meter):
                    log.info("%s: %s of %s", what.name, human_size(what.bytes), human_size(what.total))

        thread = threading.Thread(target=tell, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def done(self, result: Result) -> None:
        """No source ends in a check."""

    def note(self, text: str) -> None:
        """Something worth knowing."""
        log.info("%s", text)

    def warn(self, text: str) -> None:
        """Something that went wrong without ending the work."""
        log.warning("%s", text)
