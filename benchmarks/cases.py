"""What is measured on a folder: the plain pipeline, and ``backups run`` to any destinations."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure import Measured, run, shell

PASSPHRASE = "correct horse battery staple"
_HEAD = (
    "| case | MiB | s | MiB/s | CPU s | against the first of its group | peak MiB of our process |",
    "|---|---|---|---|---|---|---|",
)

Case = Callable[[], Measured]


@dataclass(frozen=True)
class Row:
    """One line of a table."""

    case: str
    runs: list[Measured]
    against: float | None = None
    """Median seconds of what it is compared with."""

    @property
    def seconds(self) -> float:
        """Median wall time."""
        return statistics.median(measured.seconds for measured in self.runs)

    def markdown(self, mib: float) -> str:
        """The line."""
        peak = max(measured.peak_mib for measured in self.runs)
        cells = [
            self.case,
            f"{mib:.0f}",
            f"{self.seconds:.2f}",
            f"{mib / self.seconds:.0f}",
            f"{statistics.median(m.cpu for m in self.runs):.1f}",
            f"{self.seconds / self.against:.2f}" if self.against else "",
            f"{peak:.0f}" if peak else "",
        ]
        return "| " + " | ".join(cells) + " |"


class Bench:
    """Cases on one folder, and what came of them."""

    def __init__(self, work: Path, folder: Path, rounds: int) -> None:
        self.work = work
        self.folder = folder
        self.rounds = rounds
        self.rows: list[Row] = []
        self.mib = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / (1 << 20)

    def together(self, cases: Mapping[str, Case]) -> None:
        """Measure cases in turn, round by round, so that what else the machine does hits them alike.

        The first case is what the others are compared with.
        """
        base, *_ = cases
        runs = in_turn(cases, self.rounds)
        against = statistics.median(measured.seconds for measured in runs[base])
        for name, measured in runs.items():
            row = Row(name, measured, None if name == base else against)
            self.rows.append(row)
            print(row.markdown(self.mib), flush=True)

    def table(self) -> list[str]:
        """Everything so far."""
        return [*_HEAD, *(row.markdown(self.mib) for row in self.rows)]

    def plain(self) -> Measured:
        """tar | zstd | gpg into a file, as somebody would type it, and sync of the file."""
        target = self.work / "plain.gpg"
        measured = shell(
            f"tar -C {self.folder.parent} -cf - {self.folder.name} | zstd -3 -T0 -q"
            f" | gpg --batch --no-tty --quiet --pinentry-mode loopback --passphrase '{PASSPHRASE}' --symmetric"
            f" --cipher-algo AES256 --compress-algo none -o {target} && sync {target}"
        )
        target.unlink()
        return measured

    def ours(
        self,
        destinations: Sequence[Mapping[str, object]],
        source: Mapping[str, object] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Measured:
        """``backups run`` of the folder to these destinations; ``source`` adds to how it is described."""
        for destination in destinations:
            if destination["type"] == "local":
                shutil.rmtree(str(destination["path"]), ignore_errors=True)
                Path(str(destination["path"])).mkdir()
        job = self.work / "bench.json"
        job.write_text(
            json.dumps(
                {
                    "hostname": "bench",
                    "tmpdir": str(self.work),
                    "compression": "zstd",
                    "encryption": {"passphrase": PASSPHRASE},
                    "sources": [{"id": "folder", "type": "folder", "path": str(self.folder), **(source or {})}],
                    "destinations": destinations,
                }
            )
        )
        env = {"BENCH_PEAK_FILE": str(self.work / "peak.json"), **(env or {})}
        if os.getuid() == 0:
            env["RUN_AS_USER"] = "root"
        return run([sys.executable, "-m", "benchmarks.measure", "run", str(job)], env=env)

    def local(self, name: str) -> dict[str, object]:
        """A local destination."""
        return {"type": "local", "id": name, "path": str(self.work / name)}


def in_turn(cases: Mapping[str, Case], rounds: int) -> dict[str, list[Measured]]:
    """Each case so many times, one after the other in each round, with nothing left to be written to disk before."""
    measured: dict[str, list[Measured]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            os.sync()
            measured[name].append(case())
    return measured


def machine() -> str:
    """What the figures were measured on, and what else it did just then."""
    gpg, tar = (
        subprocess.run([name, "--version"], capture_output=True, text=True, check=True).stdout.split("\n", 1)[0]
        for name in ("gpg", "tar")
    )
    today, load = dt.datetime.now(dt.UTC).date(), os.getloadavg()[0]
    return f"{today}, {os.cpu_count()} cores, Python {platform.python_version()}, {gpg}, {tar}; load {load:.1f} before"


@contextlib.contextmanager
def workplace(parent: Path) -> Iterator[Path]:
    """A directory for everything that the benchmark writes, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="bench-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
