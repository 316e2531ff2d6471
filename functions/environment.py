"""What a function of the stack is told by its environment, read once when its process starts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from backups.cloud.orchestration import Cloud
from backups.cloud.state import State
from backups.errors import UsageError


@dataclass(frozen=True)
class Env:
    """The same for every function of the stack."""

    state_bucket: str
    state_machine: str
    job_parameters: str
    messages: str
    schedules: str

    @classmethod
    def from_env(cls, environ: Mapping[str, str] = os.environ) -> Env:
        """Read the environment. Raises UsageError that names every missing variable."""
        names = {
            "state_bucket": "BACKUPS_STATE_BUCKET",
            "state_machine": "BACKUPS_STATE_MACHINE",
            "job_parameters": "BACKUPS_JOB_PARAMETERS",
            "messages": "BACKUPS_MESSAGES",
            "schedules": "BACKUPS_SCHEDULES",
        }
        missing = [name for name in names.values() if not environ.get(name)]
        if missing:
            raise UsageError(f"not set in the environment: {', '.join(missing)}", hint="infra/ sets them on deployment")
        return cls(**{field: environ[name] for field, name in names.items()})

    def cloud(self) -> Cloud:
        """The stack that this function belongs to."""
        return Cloud(
            state=State(self.state_bucket),
            parameters=self.job_parameters,
            state_machine=self.state_machine,
            messages=self.messages,
        )
