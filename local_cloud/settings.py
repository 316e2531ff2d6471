"""What one embedded cloud is started with, in one place for all seams."""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ACCOUNT = "123456789012"
LOOPBACK = "127.0.0.1"


class SettingsError(ValueError):
    """The arguments, the programs file or the state directory can't be used."""


@dataclass(frozen=True)
class Program:
    """What runs in the place of a container image: the image's entry point, as a command of this machine."""

    pattern: re.Pattern[str]
    """Searched for in the image's address and in the container's name."""

    argv: tuple[str, ...]
    """The command; the container's own command is appended, as Docker appends CMD to ENTRYPOINT."""

    directory: Path | None = None
    """Its working directory; by default an empty one of its own."""

    environment: dict[str, str] = field(default_factory=dict)
    """What the image itself sets; the container's definition and overrides win."""


@dataclass(frozen=True)
class Settings:
    """One embedded cloud."""

    port: int
    region: str
    state: Path
    """Everything that the cloud writes goes below this directory."""

    programs: tuple[Program, ...]
    lambda_python: Path
    """The interpreter that has awslambdaric."""

    enforce_iam: bool = True
    """Whether requests are checked against the policies of the role that signed them."""

    wait_scale: float = 1.0
    """What the pauses of Wait states and before retries are multiplied by; timeouts are not."""

    objects: Path | None = None
    """What is in buckets as soon as they are made, a line for each object: bucket, key and size, with tabs between."""

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def scratch(self, *parts: str) -> Path:
        """A directory below ``state`` that exists and is private."""
        directory = self.state.joinpath(*parts)
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return directory

    def base_environment(self) -> dict[str, str]:
        """What any process of the cloud finds, with nothing of the server's own environment but PATH and locale."""
        inherited = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        return {
            **inherited,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def load_programs(path: Path) -> tuple[Program, ...]:
    """Read ``{PATTERN: {"argv": […], "directory": …, "environment": {…}}}``. Raises SettingsError."""
    try:
        return tuple(_program(pattern, entry) for pattern, entry in json.loads(path.read_text()).items())
    except (OSError, ValueError, TypeError, KeyError, AttributeError, re.error) as error:
        raise SettingsError(f"{path}: not a map of programs: {error}") from error


def _program(pattern: str, entry: dict[str, Any]) -> Program:
    unknown = sorted(set(entry) - {"argv", "directory", "environment"})
    if unknown:
        raise SettingsError(f"{pattern}: unknown key {', '.join(unknown)}")
    if not entry["argv"]:
        raise SettingsError(f"{pattern}: argv is empty")
    return Program(
        pattern=re.compile(pattern),
        argv=tuple(str(word) for word in entry["argv"]),
        directory=Path(entry["directory"]) if entry.get("directory") else None,
        environment={str(k): str(v) for k, v in entry.get("environment", {}).items()},
    )
