"""Flag file, here, on a host or in a bucket: its age tells a monitoring system when the last good run was."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.base import REQUEST_SECONDS, Notification
from backups.notifications.flag_places import put_object, write_on_host
from backups.records import Outcome, RunReport
from backups.sources.tar import is_plain
from backups.ssm import HostName

CONTENT = b"OK"

_HOST_SECONDS = 60  # an agent asks for its commands now and then


class FlagFile(Notification):
    """A file that is written when everything was stored, and never otherwise."""

    label: ClassVar[str] = "Flag file"
    identity: ClassVar[tuple[str, ...]] = ("host", "bucket", "filename")
    aliases: ClassVar[dict[str, str]] = {"flagfile": "filename"}
    needs_every_run: ClassVar[bool] = True

    type: Literal["flagfile"] = "flagfile"

    filename: Annotated[str, StringConstraints(min_length=1)]
    """The file to write after a run that stored everything: here, on a `host`, or as a key in a `bucket`."""

    host: HostName = ""
    """Where the file is, when not here: an EC2 instance's id, a managed node's, or `tag:KEY=VALUE` of one of them.

    Its SSM agent writes it as root, and replaces nothing but a flag file. For deployed jobs only."""

    bucket: str = Field("", pattern=r"^([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])?$")
    """S3 bucket in which `filename` is a key, for monitoring that reads the age of an object."""

    region: str = ""
    """AWS region of the bucket; from the environment when missing."""

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        if self.host and self.bucket:
            raise ValueError("give either 'host' or 'bucket'")
        if self.region and not self.bucket:
            raise ValueError("'region' is that of a 'bucket'")
        if self.host and not is_plain(self.filename):
            raise ValueError("'filename' on a 'host' must be an absolute path without '..'")
        if self.bucket and not self.key:
            raise ValueError("'filename' must be a key in the 'bucket'")
        return self

    @property
    def key(self) -> str:
        """In the bucket: without the slash that a path begins with."""
        return self.filename.lstrip("/")

    @property
    def limit_seconds(self) -> float:
        return _HOST_SECONDS if self.host else REQUEST_SECONDS

    def wants(self, report: RunReport) -> bool:
        return report.outcome is Outcome.STORED and self.notify_on_success

    def send(self, report: RunReport, context: Context) -> None:
        if report.outcome is not Outcome.STORED:
            return  # whatever was asked for: the file's age means the last good run
        if self.host:
            write_on_host(self.host, self.filename, context)
        elif self.bucket:
            put_object(self.bucket, self.key, self.region, CONTENT)
        else:
            _write(self.filename)


def _write(filename: str) -> None:
    path = Path(filename).resolve()  # the file itself, where a symbolic link points at it
    try:
        _replace(path, CONTENT)
    except OSError as error:
        raise NotificationError(
            f"flag file {filename}: {error.strerror or error}",
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
