"""Ledgers and status of checks on one machine: ``backups verify --due``.

    $XDG_STATE_HOME/backups/{job}-{digest}.verification/status.json
                                                        {digest of source and destination}.json

Each file is written beside itself and renamed, so that a crash leaves the old content.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from backups.errors import BackupsError
from backups.job import Job
from backups.outcomes import outcomes_file
from backups.records import Record
from backups.verification.ledger import Ledger
from backups.verification.status import Verification
from backups.workspace import held

_STATUS = "status.json"
_ELSEWHERE = "checks must remember what they read; XDG_STATE_HOME names another directory"

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class LocalBooks:
    """The books of one job file."""

    directory: Path

    @classmethod
    def of(cls, job: Job) -> LocalBooks:
        """Where a job's books are, or will be."""
        return cls(outcomes_file(job).with_suffix(".verification"))

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """One check at a time. Raises BackupsError when another is going, or they can't be kept there."""
        _make(self.directory)
        with held(self.directory, "another check of these copies"):
            yield

    def ledgers(self, job: str) -> list[Ledger]:  # noqa: ARG002 - the directory is of one job
        """Every ledger. Raises BackupsError."""
        paths = sorted(path for path in self.directory.glob("*.json") if path.name != _STATUS)
        return [ledger for path in paths if (ledger := _read(path, Ledger))]

    def put_ledger(self, job: str, ledger: Ledger) -> None:  # noqa: ARG002
        """Keep a ledger, and no file of one that is empty. Raises BackupsError."""
        name = hashlib.sha256(json.dumps(ledger.where).encode()).hexdigest()[:16]
        path = self.directory / f"{name}.json"
        if ledger.copies:
            _write(path, ledger)
        else:
            _remove(path)

    def verification(self, job: str) -> Verification | None:  # noqa: ARG002
        """The status. Raises BackupsError."""
        return _read(self.directory / _STATUS, Verification)

    def put_verification(self, verification: Verification) -> None:
        """Keep the status. Raises BackupsError."""
        _write(self.directory / _STATUS, verification)


def _make(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BackupsError(f"{directory} can't be made: {error.strerror}", hint=_ELSEWHERE) from None


def _read(path: Path, model: type[R]) -> R | None:
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BackupsError(f"{path}: {error.strerror}", hint="it is this user's own record of checks") from None
    except ValidationError:
        hint = "remove it: its copies then count as never read, and are read again"
        raise BackupsError(f"{path} is damaged", hint=hint) from None


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise BackupsError(f"{path} can't be removed: {error.strerror}", hint=_ELSEWHERE) from None


def _write(path: Path, record: Record) -> None:
    temporary = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        with os.fdopen(descriptor, "wb") as file:
            file.write(record.model_dump_json().encode())
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise BackupsError(f"{path} can't be written: {error.strerror}", hint=_ELSEWHERE) from None
