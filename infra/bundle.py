"""The code that every function shares: hashed packages and our own, in one directory that is ready to upload.

Made without Docker by uv, kept in ``.cache`` under a hash of all that goes in, so that a second synth finds it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backups.errors import CommandError, UsageError

ROOT = Path(__file__).resolve().parent.parent
REQUIREMENTS = ROOT / "requirements" / "functions.txt"
PACKAGES = ("backups", "functions")

_RECIPE = "3"
"""Raise it when this file makes another bundle of the same sources."""

_AWS_SERVICES = frozenset(
    {"ec2", "events", "kms", "rds", "s3", "scheduler", "secretsmanager", "sns", "ssm", "stepfunctions", "sts", "xray"}
)
"""What the functions and their tracer call; botocore describes four hundred services in 25 MB."""

_NOT_IN_A_FUNCTION = ("bin", "pygments", "rich", "markdown_it", "mdurl", "boto3/examples")
"""Only the command line draws tables; nothing that a function imports does."""

_KEPT_SECONDS = 7 * 86_400


@dataclass(frozen=True)
class Bundle:
    """A finished directory."""

    path: Path
    digest: str
    """Of everything that went in: the same sources give the same asset on every machine."""


def make_bundle(*, python: str, platform: str, cache: Path = ROOT / ".cache") -> Bundle:
    """The bundle for a Python version and one of uv's platforms. Raises CommandError when uv fails."""
    sources = _sources()
    digest = _digest(python, platform, sources)
    target = cache / "functions" / digest
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="making-", dir=target.parent) as making:
            content = Path(making) / "content"
            _install(content, python, platform)
            _strip(content)
            for name, source in sources.items():
                copy = content / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(source)
            _publish(content, target)
        _forget_old(target.parent)
    os.utime(target)
    return Bundle(target, digest)


def _sources() -> dict[str, bytes]:
    """Our own files by name, read once, so that what is hashed is what is bundled."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): path.read_bytes() for path in paths}


def _digest(python: str, platform: str, sources: Mapping[str, bytes]) -> str:
    digest = hashlib.sha256(f"{_RECIPE}\n{python}\n{platform}\n".encode())
    for name, content in (("requirements", REQUIREMENTS.read_bytes()), *sources.items()):
        digest.update(f"{name} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _install(target: Path, python: str, platform: str) -> None:
    argv = [
        _uv(),
        "pip",
        "install",
        "--quiet",
        "--color",
        "never",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--no-config",
    ]
    argv += ["--python", sys.executable, "--python-version", python, "--python-platform", platform]
    argv += ["--target", str(target), "--requirement", str(REQUIREMENTS)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT)
    if done.returncode:
        tail = "\n".join(done.stderr.splitlines()[-25:])
        raise CommandError(
            f"uv could not install the functions' packages:\n{tail}",
            status=done.returncode,
            hint="is the package index reachable, and does it have wheels for this Python and platform?",
        )


def _uv() -> str:
    beside = Path(sys.prefix) / "bin" / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise UsageError("uv was not found", hint="scripts/setup installs it")
    return found


def _strip(content: Path) -> None:
    """Leave out what no function reads: a smaller bundle starts sooner."""
    for name in _NOT_IN_A_FUNCTION:
        shutil.rmtree(content / name, ignore_errors=True)
    for folder in [*content.rglob("__pycache__"), *content.rglob("tests")]:
        shutil.rmtree(folder, ignore_errors=True)
    for data in (content / "botocore" / "data", content / "boto3" / "data"):
        for folder in data.iterdir():
            if folder.is_dir() and folder.name not in _AWS_SERVICES:
                shutil.rmtree(folder)
    for stub in content.rglob("*.pyi"):
        stub.unlink()
    (content / ".lock").unlink(missing_ok=True)


def _forget_old(bundles: Path) -> None:
    """Every change of the sources makes a bundle; those that nobody has used for a week go."""
    for old in bundles.iterdir():
        if time.time() - old.stat().st_mtime > _KEPT_SECONDS:
            shutil.rmtree(old, ignore_errors=True)


def _publish(content: Path, target: Path) -> None:
    """Give the finished directory its name; another synth may have been first, with the same content."""
    try:
        content.replace(target)
    except OSError:
        if not target.is_dir():
            raise
