"""Hosts with an SSM agent: directories of this machine, in which a document's script really runs.

``STATE/hosts/ID/host.json`` makes a host: its tags, and the ping status of its agent. It may be changed at any time:
an agent that is not ``Online`` takes no command, and does not tell how one ended.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ONLINE = "Online"

Record = dict[str, Any]


@dataclass(frozen=True)
class Host:
    """One host."""

    directory: Path

    @property
    def id(self) -> str:
        return self.directory.name

    @property
    def record(self) -> Record:
        """Tags and ping status."""
        found: Record = json.loads((self.directory / "host.json").read_text())
        return found

    @property
    def online(self) -> bool:
        return bool(self.record["ping"] == ONLINE)

    @property
    def commands(self) -> Path:
        """What its agent keeps: a directory for each command, and the sandbox's process id of each that runs."""
        return self.directory / "commands"


def make_host(state: Path, id_: str, tags: dict[str, str], ping: str) -> Host:
    """Make a host, or change what is said of it."""
    directory = state / "hosts" / id_
    for inner in (directory, directory / "tmp", directory / "commands"):
        inner.mkdir(mode=0o700, parents=True, exist_ok=True)
    written = directory / f"host.{uuid.uuid4().hex}"
    written.write_text(json.dumps({"tags": tags, "ping": ping}))
    written.replace(directory / "host.json")
    return Host(directory)


def hosts(state: Path) -> list[Host]:
    """All of them, by id."""
    return [Host(path.parent) for path in sorted((state / "hosts").glob("*/host.json"))]
