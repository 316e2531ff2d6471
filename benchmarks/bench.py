"""The table of benchmarks/README.md: speed and memory, each against its plain counterpart in the same run."""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dataset import make_dataset
from benchmarks.measure import Measured, run, shell
from tests.servers.seaweed import ACCESS_KEY, SECRET_KEY, seaweed

README = Path(__file__).with_name("README.md")
PASSPHRASE = "correct horse battery staple"
_MARK = "<!-- table -->"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

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
    """One run of all cases on one folder."""

    def __init__(self, work: Path, folder: Path, rounds: int) -> None:
        self.work = work
        self.folder = folder
        self.rounds = rounds
        self.rows: list[Row] = []
        self.larger: list[tuple[float, Row]] = []
        """Rows of other sizes, with their MiB."""
        self.mib = sum(f.stat().st_size for f in folder.rglob("*") if f.is_file()) / (1 << 20)

    def together(self, cases: dict[str, Callable[[], Measured]]) -> None:
        """Measure cases in turn, round by round, so that what else the machine does hits them alike.

        The first case is what the others are compared with.
        """
        measured: dict[str, list[Measured]] = {name: [] for name in cases}
        for _ in range(self.rounds):
            for name, case in cases.items():
                os.sync()
                measured[name].append(case())
        base = next(iter(cases))
        against = statistics.median(m.seconds for m in measured[base])
        for name, runs in measured.items():
            row = Row(name, runs, None if name == base else against)
            self.rows.append(row)
            print(row.markdown(self.mib), flush=True)

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

    def ours(self, destinations: Sequence[Mapping[str, object]]) -> Measured:
        """``backups run`` of the folder to these destinations."""
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
                    "sources": [{"id": "folder", "type": "folder", "path": str(self.folder)}],
                    "destinations": destinations,
                }
            )
        )
        env = {"BENCH_PEAK_FILE": str(self.work / "peak.json")}
        if os.getuid() == 0:
            env["RUN_AS_USER"] = "root"
        return run(["python", "-m", "benchmarks.measure", "run", str(job)], env=env)

    def local(self, name: str) -> dict[str, object]:
        """A local destination."""
        return {"type": "local", "id": name, "path": str(self.work / name)}

    def peers(self) -> None:
        """The same folder with the tools that people know, where they are installed."""
        cases = {"tar, zstd, gpg, sync": self.plain}
        commands = {
            "restic": lambda repo: (
                f"restic -q -r {repo} init >/dev/null && restic -q -r {repo} backup {self.folder}",
                {"RESTIC_PASSWORD": PASSPHRASE},
            ),
            "borg": lambda repo: (
                f"borg init -e repokey {repo} && borg create -C zstd,3 {repo}::a {self.folder}",
                {"BORG_PASSPHRASE": PASSPHRASE},
            ),
            "duplicity": lambda repo: (
                f"duplicity full --archive-dir {repo}-archive {self.folder} file://{repo}",
                {"PASSPHRASE": PASSPHRASE},
            ),
        }
        for name, command in commands.items():
            if shutil.which(name):
                cases[name] = lambda command=command, name=name: self._peer(command, name)  # type: ignore[misc]
            else:
                print(f"{name} is not installed: left out", flush=True)
        if len(cases) > 1:
            rounds, self.rounds = self.rounds, 1
            self.together({f"{name} (peer)": case for name, case in cases.items()})
            self.rounds = rounds

    def _peer(self, command: Callable[[Path], tuple[str, dict[str, str]]], name: str) -> Measured:
        repo = self.work / f"peer-{name}"
        script, env = command(repo)
        measured = shell(script, env={**env, "HOME": str(self.work)})
        shutil.rmtree(repo, ignore_errors=True)
        shutil.rmtree(f"{repo}-archive", ignore_errors=True)
        return measured


def s3_cases(bench: Bench, *, only_two: bool = False) -> None:
    """One and two S3 destinations, on a real server with checksums that stores on this disk and needs its cores."""
    directory = bench.work / "s3"
    directory.mkdir(exist_ok=True)
    with seaweed(directory) as server:
        names = ("bench-a", "bench-b")
        for name in names:
            server.client().create_bucket(Bucket=name)
        first, second = (
            {
                "type": "s3",
                "id": name,
                "bucket": name,
                "endpoint_url": server.url,
                "aws_access_key_id": ACCESS_KEY,
                "aws_secret_access_key": SECRET_KEY,
            }
            for name in names
        )
        cases = {
            "backups to one S3 bucket": lambda: bench.ours([first]),
            "backups to two S3 buckets": lambda: bench.ours([first, second]),
        }
        if only_two:
            del cases["backups to one S3 bucket"]
        bench.together(cases)
    shutil.rmtree(directory)


def large(bench: Bench, gib: int) -> None:
    """Memory at a size that could not hide anything, two S3 destinations included."""
    folder = make_dataset(bench.work / f"large-{gib}", gib << 30)
    big = Bench(bench.work, folder, rounds=1)
    two = [bench.local("a"), bench.local("b")]
    big.together({"backups to two directories": lambda: big.ours(two)})
    for place in two:
        shutil.rmtree(str(place["path"]))
    s3_cases(big, only_two=True)
    bench.larger += [(big.mib, row) for row in big.rows]
    shutil.rmtree(folder)


def machine() -> str:
    """What the figures were measured on."""
    gpg = subprocess.run(["gpg", "--version"], capture_output=True, text=True, check=True).stdout.split("\n", 1)[0]
    tar = subprocess.run(["tar", "--version"], capture_output=True, text=True, check=True).stdout.split("\n", 1)[0]
    today = dt.datetime.now(dt.UTC).date()
    return f"{today}, {os.cpu_count()} cores, Python {platform.python_version()}, {gpg}, {tar}"


def write(bench: Bench, arguments: argparse.Namespace) -> None:
    """Put the table into the README."""
    head, _, _ = README.read_text().partition(_MARK)
    lines = [
        f"{_MARK}\n",
        f"Measured {machine()}; median of {arguments.rounds} rounds.\n",
        "| case | MiB | s | MiB/s | CPU s | against the first of its group | peak MiB of our process |",
        "|---|---|---|---|---|---|---|",
        *(row.markdown(bench.mib) for row in bench.rows),
        *(row.markdown(mib) for mib, row in bench.larger),
    ]
    README.write_text(head + "\n".join(lines) + "\n")


@contextlib.contextmanager
def workplace(parent: Path) -> Iterator[Path]:
    """A directory for everything that the benchmark writes, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix="backups-bench-", dir=parent))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def main() -> None:
    """Measure what was asked for and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mib", type=int, default=1024, help="size of the folder (default: 1024)")
    parser.add_argument("--rounds", type=int, default=3, help="times that each case is measured (default: 3)")
    parser.add_argument("--large", type=int, metavar="GIB", help="also look at memory with a folder of this size")
    parser.add_argument("--no-peers", action="store_true", help="leave restic, borg and duplicity out")
    parser.add_argument("--no-write", action="store_true", help="leave benchmarks/README.md as it is")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where to work (default: /var/tmp)")
    arguments = parser.parse_args()
    with workplace(arguments.directory) as work:
        bench = Bench(work, make_dataset(work / "folder", arguments.mib << 20), arguments.rounds)
        bench.together(
            {
                "tar, zstd -3 -T0, gpg, sync": bench.plain,
                "backups to one local directory": lambda: bench.ours([bench.local("a")]),
            }
        )
        bench.together(
            {
                "backups to one directory": lambda: bench.ours([bench.local("a")]),
                "backups to two directories": lambda: bench.ours([bench.local("a"), bench.local("b")]),
            }
        )
        s3_cases(bench)
        if not arguments.no_peers:
            bench.peers()
        if arguments.large:
            large(bench, arguments.large)
        if not arguments.no_write:
            write(bench, arguments)


if __name__ == "__main__":
    main()
