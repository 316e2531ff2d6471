"""What the worker is told by its environment, read once when it starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from backups.cloud.orchestration import ObjectPointer
from backups.errors import UsageError
from backups.staging import Place, staged_under

_REQUIRED = {
    "job": "BACKUPS_JOB",
    "run": "BACKUPS_RUN",
    "source": "BACKUPS_SOURCE",
    "job_bucket": "BACKUPS_JOB_BUCKET",
    "job_key": "BACKUPS_JOB_KEY",
    "state_bucket": "BACKUPS_STATE_BUCKET",
}
_SECONDS = "BACKUPS_PROGRESS_SECONDS"


@dataclass(frozen=True)
class Env:
    """One source of one run, and where its records go."""

    job: str
    run: str
    source: str
    job_bucket: str
    job_key: str
    state_bucket: str
    host_document: str
    """What hosts are asked to run; empty when the stack has none."""
    progress_seconds: float
    """Between two progress records."""

    @property
    def job_file(self) -> ObjectPointer:
        """The immutable file of the job."""
        return ObjectPointer(bucket=self.job_bucket, key=self.job_key)

    @property
    def staging(self) -> Place:
        """Where streams of hosts are staged."""
        return Place(self.state_bucket, staged_under(self.job, self.run, self.source), self.host_document)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Env:
        """Read the environment. Raises UsageError that names every missing variable."""
        missing = [name for name in _REQUIRED.values() if not environ.get(name)]
        if missing:
            raise UsageError(
                f"not set in the environment: {', '.join(missing)}", hint="the state machine and infra/ set them"
            )
        try:
            seconds = float(environ.get(_SECONDS) or 10)
        except ValueError:
            seconds = 0
        if not 0 < seconds < float("inf"):
            raise UsageError(f"{_SECONDS} is no number of seconds above 0")
        document = environ.get("BACKUPS_HOST_DOCUMENT", "")
        required = {field: environ[name] for field, name in _REQUIRED.items()}
        return cls(**required, host_document=document, progress_seconds=seconds)
