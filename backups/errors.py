"""Every error that a user can meet, and the exit code it ends with.

    BackupsError                    1
    ├── UsageError                  2   wrong arguments, or refused user; nothing was touched
    │   └── JobError                2   the job file: all its problems at once
    ├── SecretError                 1   a reference to a secret could not be resolved
    ├── SourceError                 1   the data could not be read whole
    ├── CommandError                1   a child process (tar, gpg, mysqldump …) did not end well
    ├── EncryptionError             1   the passphrase or keys can't be used
    ├── DestinationError            1   a destination refused or broke
    │   ├── MissingError            1   no such object, bucket, share or directory
    │   ├── DeniedError             1   the credentials are wrong or not enough
    │   └── VerificationError       1   what the destination holds is not what was sent
    ├── RestoreError                1   a copy could not be restored whole
    ├── NotificationError           1   a channel refused; never changes a run's outcome
    └── StoppedError           130, 143  the user or the system asked to stop

Raise with a sentence that says what failed and where, and a hint that says what to do about it.
Only ``main()`` of the command line and of the worker turn an error into an exit code.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """The whole table; the manual of ``backups run`` shows the same."""

    OK = 0  # everything is stored everywhere
    FAILED = 1  # nothing, or nothing of one kind of work, succeeded
    USAGE = 2  # bad usage or job file; nothing was touched
    PARTIAL = 3  # some source or destination failed
    INTERRUPTED = 130  # SIGINT
    TERMINATED = 143  # SIGTERM


class BackupsError(Exception):
    """Base of the tree. ``message`` says what failed and where, ``hint`` what to do (may be empty)."""

    exit_code: ClassVar[ExitCode] = ExitCode.FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(BackupsError):
    """Wrong arguments or a refused user."""

    exit_code = ExitCode.USAGE


class JobError(UsageError):
    """A job file that can't be used. ``problems`` holds one line each, with its path in the file."""

    def __init__(self, problems: Sequence[str], *, hint: str = "") -> None:
        super().__init__("\n".join(problems), hint=hint)
        self.problems = tuple(problems)


class SecretError(BackupsError):
    """A reference such as ``{{resolve:env:NAME}}`` could not be resolved."""


class SourceError(BackupsError):
    """The source's data could not be read whole."""


class CommandError(BackupsError):
    """A child process did not end well. ``status`` is its exit status, negative for a signal."""

    def __init__(self, message: str, *, status: int | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.status = status


class EncryptionError(BackupsError):
    """The passphrase or the public keys can't be used."""


class DestinationError(BackupsError):
    """A destination refused or broke. ``permanent`` means that trying again is useless."""

    permanent: bool = False

    def __init__(self, message: str, *, hint: str = "", permanent: bool | None = None) -> None:
        super().__init__(message, hint=hint)
        if permanent is not None:
            self.permanent = permanent


class MissingError(DestinationError):
    """No such object, bucket, share or directory."""

    permanent = True


class DeniedError(DestinationError):
    """The credentials are wrong or do not suffice."""

    permanent = True


class VerificationError(DestinationError):
    """What the destination holds is not what was sent."""


class RestoreError(BackupsError):
    """A copy could not be restored whole; what was there before still is."""


class NotificationError(BackupsError):
    """A channel refused: ``permanent`` when trying again is useless, ``busy`` when it is so for minutes."""

    def __init__(self, message: str, *, hint: str = "", permanent: bool = False, busy: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.permanent = permanent
        self.busy = busy


class StoppedError(BackupsError):
    """SIGINT or SIGTERM arrived, or the caller cancelled."""

    def __init__(self, message: str = "stopped", *, signal: int = 15) -> None:
        super().__init__(message)
        self.signal = signal

    @property
    def code(self) -> ExitCode:
        """130 for SIGINT, else 143."""
        return ExitCode.INTERRUPTED if self.signal == 2 else ExitCode.TERMINATED
