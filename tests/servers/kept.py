"""What tests fetch once and keep in ``.cache`` of the checkout."""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from infra.bundle import ROOT

CACHE = ROOT / ".cache"
_SECONDS = 300


def kept(place: Path, fetch: Callable[[Path], None]) -> Path:
    """``place`` with this machine's architecture in its name, fetched into a new directory where it isn't there yet."""
    place = place.with_name(f"{place.name}-{platform.machine()}")
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f"{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            partial = place.with_name(f"{place.name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            fetch(partial)
            partial.rename(place)
    return place


def or_left_out(what: str, get: Callable[[], Path]) -> Path:
    """What a fixture gets; where that can't be fetched its tests are left out, and the summary says why.

    Where CI is set nothing may be left out: then they fail.
    """
    try:
        return get()
    except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"needs {what}: {error}")


def run(argv: list[str], problem: str, *, cwd: Path | None = None) -> str:
    """What a command prints. Raises RuntimeError that begins with ``problem``."""
    done = subprocess.run(
        argv, cwd=cwd, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=_SECONDS
    )
    if done.returncode != 0:
        raise RuntimeError(f"{problem}: {done.stderr.strip()}")
    return done.stdout
