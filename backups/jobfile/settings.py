"""The root of the job file: what is not about one source, destination or notification."""

from __future__ import annotations

import zoneinfo
from pathlib import Path

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from backups.config import ConfigModel, Positive, alternatives
from backups.jobfile import schedule as schedules
from backups.naming import Compression
from backups.retention import KeepRules

DAY = 86_400
HOSTNAME_PATTERN = r"^([A-Za-z0-9_][A-Za-z0-9._-]*)?$"


class Encryption(ConfigModel):
    """How copies are encrypted: exactly one of the two."""

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["passphrase"]}, {"required": ["recipients"]}]})

    passphrase: SecretStr | None = Field(None, min_length=1)
    """Passphrase (GnuPG, symmetric AES256)."""

    recipients: tuple[str, ...] | None = Field(None, min_length=1)
    """OpenPGP public keys: each an armored key, or the path of a file that holds one."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Encryption:
        if (self.passphrase is None) == (self.recipients is None):
            raise ValueError("give either 'passphrase' or 'recipients'")
        return self


class VerifyRules(ConfigModel):
    """How often every copy is read back whole, and what that may cost."""

    every_days: Positive = 30
    """Within how many days every copy is read back, counted from when a check first saw it or last found it good."""

    max_gib: float | None = Field(100, gt=0)
    """GiB that one check reads at most, since many stores charge for what is read; `null`: whatever is due. A copy
    that is larger is read alone, once as much was saved up."""

    schedule: str = "0 12 * * *"
    """When a deployed job's copies are checked, in the job's time zone."""

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        schedules.to_eventbridge(value)
        return value


class JobSettings(ConfigModel):
    """The root of the job file, but for its three lists of plugins."""

    hostname: str = Field("", pattern=HOSTNAME_PATTERN, max_length=253)
    """First part of every object key; this machine's name when missing. A deployed job must give it."""

    tmpdir: Path = Path("/var/tmp")  # noqa: S108 - the old tool's default; what goes there is made 0700
    """Where small private files go while a job runs; never the data."""

    modules: tuple[str, ...] = ()
    """Python modules to import first; they may register more types. Those of the old tool are accepted."""

    schedule: str = ""
    """When to run, deployed: five-field cron, or EventBridge's `cron(...)` or `rate(...)`; on demand when missing."""

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

    verification: VerifyRules | None = Field(default_factory=VerifyRules)
    """How copies are read back and checked, some every day; `null`: never, unless someone asks."""

    time_limit: Positive = DAY
    """Seconds after which reading a source is given up."""

    slow_factor: float | None = Field(3, gt=1)
    """A source goes to all destinations at once. One for which the others wait, so that storing would take so many
    times as long as without it, is left, and gets its copy afterwards from another; `null`: all wait for the slowest.
    Nobody is left before the others waited for a minute."""

    @field_validator("schedule")
    @classmethod
    def _known_schedule(cls, value: str) -> str:
        if value:
            schedules.to_eventbridge(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            if value:
                zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            similar = alternatives(value, zoneinfo.available_timezones())
            raise ValueError(f"is no IANA time zone such as 'Europe/Berlin'{similar}") from None
        return value
