"""The job file: JSON in, a checked Job out, or every error at once with its path in the file."""

from __future__ import annotations

import datetime as dt
import hashlib
import importlib
import json
import socket
import zoneinfo
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, SerializeAsAny, ValidationError, model_validator

from backups.config import ConfigModel, Plugin, Positive
from backups.destinations import DESTINATIONS, DestinationConfig
from backups.errors import JobError, UsageError
from backups.naming import Compression
from backups.notifications import NOTIFICATIONS, Notification
from backups.registry import Registry
from backups.retention import KeepRules, Policy
from backups.sources import SOURCES, Source

DAY = 86_400


class Encryption(ConfigModel):
    """How copies are encrypted: exactly one of the two."""

    passphrase: SecretStr | None = Field(None, min_length=1)
    """Passphrase (GnuPG, symmetric AES256)."""

    recipients: tuple[str, ...] | None = Field(None, min_length=1)
    """OpenPGP public keys: each an armored key, or the path of a file that holds one."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Encryption:
        if (self.passphrase is None) == (self.recipients is None):
            raise ValueError("give either 'passphrase' or 'recipients'")
        return self


class JobSettings(ConfigModel):
    """The root of the job file, but for its three lists of plugins."""

    hostname: str = Field("", pattern=r"^[A-Za-z0-9._-]*$", max_length=253)
    """First part of every object key; this machine's name when missing. A deployed job must give it."""

    tmpdir: Path = Path("/var/tmp")  # noqa: S108 - the old tool's default; what goes there is made 0700
    """Where small private files go while a job runs; never the data."""

    modules: tuple[str, ...] = ()
    """Python modules to import first; they may register more types. Those of the old tool are accepted."""

    schedule: str = ""
    """When to run, deployed: five-field cron, or EventBridge's `cron(...)` or `rate(...)`. On demand only when missing."""

    timezone: str = ""
    """IANA zone of the schedule and of the date in object keys; the machine's own when missing (UTC on AWS)."""

    encryption: Encryption | None = None
    """For every source that has no `passphrase` or `recipients` of its own."""

    compression: Compression = Compression.GPG
    """`gpg` (as the old tool), `zstd` (fast and small), `gzip` or `none`."""

    concurrency: Positive | None = None
    """How many sources run at once; 1 on one machine, 10 deployed when missing."""

    retention: KeepRules | None = None
    """For every destination that has no retention of its own."""

    retention_minimum: int | None = Field(None, ge=0)
    """The newest verified backups of a source that always stay; 1 when missing."""

    time_limit: Positive = DAY
    """Seconds after which reading a source is given up."""


@dataclass(frozen=True)
class Job:
    """A checked job file. References to secrets in it are not resolved."""

    name: str
    settings: JobSettings
    sources: tuple[Source, ...]
    destinations: tuple[DestinationConfig, ...]
    notifications: tuple[Notification, ...]

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


def load_job(path: Path) -> Job:
    """Read and check a job file. Raises JobError with every problem, UsageError when the file can't be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    return parse_job(content, name=path.stem, where=str(path))


def parse_job(content: bytes, *, name: str, where: str) -> Job:
    """Check the content of a job file; ``where`` stands before each problem. Raises JobError."""
    try:
        data = json.loads(content)
    except UnicodeDecodeError as error:
        raise JobError([f"{where}: not UTF-8 at byte {error.start}"]) from None
    except json.JSONDecodeError as error:
        raise JobError([f"{where}:{error.lineno}:{error.colno}: not valid JSON: {error.msg}"]) from None
    if not isinstance(data, dict):
        raise JobError([f"{where}: a job file is a JSON object with 'sources' and 'destinations'"])
    reader = _Reader(where)
    job = reader.job(name, data)
    if reader.problems or job is None:
        raise JobError(reader.problems)
    return job


def content_hash(content: bytes) -> str:
    """What the immutable copy of a job file is named after."""
    return hashlib.sha256(content).hexdigest()


def _named(plugins: Iterable[Any], id_: str, kind: str) -> Any:
    known = {plugin.id: plugin for plugin in plugins}
    if id_ not in known:
        raise UsageError(f"the job has no {kind} '{id_}'", hint=f"it has: {', '.join(known) or 'none'}")
    return known[id_]
