"""Finds PostgreSQL's client programs, of which a machine may hold several versions side by side."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backups.commands import version_of
from backups.errors import CommandError

DIRECTORIES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin")
"""Where Debian's and Red Hat's packages keep each version; none of them is on PATH."""

_DEBIANS_CHOOSER = "pg_wrapper"  # stands for every program on PATH, and chooses a version by rules of its own
_UNKNOWN = 1_000


@dataclass(frozen=True)
class Program:
    """One program of one version."""

    path: str
    major: int | None
    """Major version; None when it does not tell, as a script in front of it may do."""


def newest(name: str) -> Program:
    """The newest program of that name; of equals the first on PATH. Raises CommandError when there is none."""
    found = list(_installed(name))
    if not found:
        raise _missing(name, "postgresql-client")
    return max(found, key=lambda program: program.major or _UNKNOWN)


def fitting(name: str, server: int) -> Program:
    """The program for a server of that major version: the same, or else the next newer one.

    What a newer program writes may not restore into the old server, and an older program refuses a newer server.
    Raises CommandError when there is none.
    """
    found = list(_installed(name))
    fit = [program for program in found if program.major is None or program.major >= server]
    if fit:
        return min(fit, key=lambda program: program.major or server)
    package = f"postgresql-client-{server}"
    if not found:
        raise _missing(name, package)
    known = max(program.major or 0 for program in found)
    raise CommandError(
        f"the server is PostgreSQL {server}, and the newest {name} here is of version {known}, which can't read it",
        hint=f"install the package {package}",
    )


def _missing(name: str, package: str) -> CommandError:
    return CommandError(f"{name} is not installed", status=127, hint=f"install the package {package} or correct PATH")


def _installed(name: str) -> Iterator[Program]:
    for path in dict.fromkeys(_paths(name)):
        version = re.search(r"\(PostgreSQL\) (\d+)", version_of([path, "--version"]))
        yield Program(path, int(version[1]) if version else None)


def _paths(name: str) -> Iterator[str]:
    for directory in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = shutil.which(name, path=directory) if directory else None
        if path and Path(path).resolve().name != _DEBIANS_CHOOSER:
            yield path
    for pattern in DIRECTORIES:
        for directory in sorted(map(str, Path("/").glob(pattern.removeprefix("/")))):
            if path := shutil.which(name, path=directory):
                yield path
