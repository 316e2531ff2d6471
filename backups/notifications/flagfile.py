"""Flag file: its age tells a monitoring system when the last good run was."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import StringConstraints

from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.base import Notification
from backups.records import Outcome, RunReport


class FlagFile(Notification):
    """A file that is written when everything was stored, and never otherwise."""

    label: ClassVar[str] = "Flag file"
    identity: ClassVar[tuple[str, ...]] = ("filename",)
    aliases: ClassVar[dict[str, str]] = {"flagfile": "filename"}
    needs_every_run: ClassVar[bool] = True

    type: Literal["flagfile"] = "flagfile"

    filename: Annotated[str, StringConstraints(min_length=1)]
    """The file to write after a run that stored everything."""

    def wants(self, report: RunReport) -> bool:
        return report.outcome is Outcome.STORED and self.notify_on_success

    def send(self, report: RunReport, context: Context) -> None:  # noqa: ARG002
        if report.outcome is not Outcome.STORED:
            return  # whatever was asked for: the file's age means the last good run
        path = Path(self.filename).resolve()  # the file itself, where a symbolic link points at it
        try:
            _replace(path, b"OK")
        except OSError as error:
            raise NotificationError(
                f"flag file {self.filename}: {error.strerror or error}",
                hint="its directory must exist and be writable by the user that runs the backups",
                permanent=True,
            ) from None


def _replace(path: Path, content: bytes) -> None:
    """Write beside it and rename, so that no check ever meets an empty file. Raises OSError."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(descriptor, 0o644)  # the monitoring system is another user
            os.fsync(descriptor)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
