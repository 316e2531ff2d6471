"""The job file: JSON in, a checked Job out, or every error at once with its path in the file."""

from __future__ import annotations

import datetime as dt
import functools
import hashlib
import socket
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from backups.config import Plugin
from backups.destinations import DestinationConfig
from backups.errors import JobError, UsageError
from backups.jobfile import advice
from backups.jobfile.reader import Reader
from backups.jobfile.settings import DAY, Encryption, JobSettings
from backups.jobfile.syntax import parse_json
from backups.naming import Compression
from backups.notifications import Notification
from backups.retention import Policy
from backups.sources import Source

__all__ = ["DAY", "Encryption", "Job", "JobSettings", "content_hash", "load_job", "parse_job"]

P = TypeVar("P", bound=Plugin)


@dataclass(frozen=True)
class Job:
    """A checked job file. References to secrets in it are not resolved."""

    name: str
    settings: JobSettings
    declared: tuple[Source, ...]
    """The sources as the file lists them."""
    destinations: tuple[DestinationConfig, ...]
    notifications: tuple[Notification, ...]
    ignored: tuple[str, ...] = ()
    """Paths of keys that were accepted and do nothing."""
    path: Path | None = None
    """The file it was read from; None when it came from elsewhere."""

    @functools.cached_property
    def sources(self) -> tuple[Source, ...]:
        """The sources to back up: each that the file lists as those that it stands for."""
        return tuple(source for declared in self.declared for source in declared.expanded())

    @property
    def hostname(self) -> str:
        """The host that the copies are of."""
        return self.settings.hostname or socket.gethostname()

    def source(self, id_: str) -> Source:
        """The source of that id. Raises UsageError."""
        return _named(self.sources, id_, "source")

    def destination(self, id_: str) -> DestinationConfig:
        """The destination of that id. Raises UsageError."""
        return _named(self.destinations, id_, "destination")

    def notification(self, id_: str) -> Notification:
        """The notification of that id. Raises UsageError."""
        return _named(self.notifications, id_, "notification")

    def encryption_for(self, source: Source) -> Encryption:
        """The source's own encryption, or the job's."""
        if source.passphrase or source.recipients:
            return Encryption(passphrase=source.passphrase, recipients=source.recipients)
        assert self.settings.encryption is not None, "checked when the job was read"  # noqa: S101
        return self.settings.encryption

    def compression_for(self, source: Source) -> Compression:
        """The source's own compression, or the job's."""
        return source.compression or self.settings.compression

    def time_limit_for(self, source: Source) -> int:
        """Seconds that reading this source may take."""
        return source.time_limit or self.settings.time_limit

    def policy_for(self, destination: DestinationConfig) -> Policy:
        """The destination's own retention, or the job's."""
        own = destination.retention or destination.retention_copies or destination.retention_days
        minimum = destination.retention_minimum
        if minimum is None:
            minimum = self.settings.retention_minimum
        return Policy(
            copies=destination.retention_copies,
            days=destination.retention_days,
            rules=destination.retention if own else self.settings.retention,
            minimum=1 if minimum is None else minimum,
        )

    def date(self, now: dt.datetime) -> dt.date:
        """The day that a run at ``now`` (aware) belongs to, in the job's time zone."""
        zone = zoneinfo.ZoneInfo(self.settings.timezone) if self.settings.timezone else None
        return now.astimezone(zone).date()

    def unavailable(self) -> list[str]:
        """A line with its path for each plugin that parses but can't run yet; refuse to run while there is one."""
        return advice.unavailable(self)

    def plain_secrets(self) -> list[str]:
        """Paths of the secrets that stand in the file itself instead of a reference; never their values."""
        return advice.plain_secrets(self)

    def hints(self) -> list[str]:
        """A line with its path for each slow or risky setting. None of them stops a run."""
        return advice.hints(self)


def load_job(path: Path) -> Job:
    """Read and check a job file. Raises JobError with every problem, UsageError when the file can't be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    return replace(parse_job(content, name=path.stem, where=str(path)), path=path)


def parse_job(content: bytes, *, name: str, where: str) -> Job:
    """Check the content of a job file; ``where`` stands before each problem. Raises JobError."""
    try:
        data = parse_json(content)
    except ValueError as error:
        raise JobError([f"{where}:{error}"]) from None
    if not isinstance(data, dict):
        raise JobError([f"{where}: a job file is a JSON object with 'sources' and 'destinations'"])
    reader = Reader()
    try:
        parts = reader.read(data)
    except RecursionError:  # some versions of Python parse deeper than they can call
        raise JobError([f"{where}: nested too deeply"]) from None
    if parts is None:
        raise JobError([f"{where}: {problem}" for problem in reader.problems])
    return Job(name, **vars(parts))


def content_hash(content: bytes) -> str:
    """What the immutable copy of a job file is named after."""
    return hashlib.sha256(content).hexdigest()


def _named(plugins: Iterable[P], id_: str, kind: str) -> P:
    known = {plugin.id: plugin for plugin in plugins}
    if id_ not in known:
        raise UsageError(f"the job has no {kind} '{id_}'", hint=f"it has: {', '.join(known) or 'none'}")
    return known[id_]
