"""Runs one command and tells how long it took and how much memory it had at its peak."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Measured:
    """Wall time in seconds, CPU time of the command with its children, peak memory of the command alone in MiB."""

    seconds: float
    cpu: float
    peak_mib: float


def run(
    argv: Sequence[str],
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
    told: bool = False,
) -> Measured:
    """Run a command to its end. Raises CalledProcessError with what it printed when it fails.

    ``told``: it prints the seconds that count, without the start of an interpreter.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(
        list(argv), env={**os.environ, **(env or {})}, cwd=cwd, capture_output=True, text=True, check=False, input=stdin
    )
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.stderr.write(done.stdout[-2000:] + done.stderr[-2000:])
        raise subprocess.CalledProcessError(done.returncode, list(argv))
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(float(done.stdout) if told else seconds, cpu, _own_peak(env))


def shell(script: str, *, env: Mapping[str, str] | None = None, told: bool = False) -> Measured:
    """Run a pipeline as somebody would type it."""
    return run(["bash", "-c", f"set -euo pipefail; {script}"], env=env, told=told)


def _own_peak(env: Mapping[str, str] | None) -> float:
    path = (env or {}).get("BENCH_PEAK_FILE")
    if not path or not Path(path).exists():
        return 0.0
    peak = json.loads(Path(path).read_text())["peak_kib"] / 1024
    Path(path).unlink()
    return float(peak)


def main() -> int:
    """Be the ``backups`` command, and write this process's own peak memory (without its children) at the end."""
    from backups.cli import main as backups

    try:
        return int(backups() or 0)
    finally:
        write_peak()


def write_peak() -> None:
    """Tell whoever measures how much memory this process had at its peak."""
    Path(os.environ["BENCH_PEAK_FILE"]).write_text(json.dumps({"peak_kib": _high_water()}))


def _high_water() -> int:
    """KiB. The figure of getrusage would include what the parent had when it forked us."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    sys.exit(main())
