"""Runs the installed command ``backups`` as a user would: in a process of its own, with real directories."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSPHRASE = "pass'phrase \" ünd \\ more"
HOST = "alpha.example.org"
SECONDS = 120
"""No command of a test takes longer; one that hangs is a failure."""

_LATER = """
from typing import ClassVar, Literal
from backups.sources import SOURCES
from backups.sources.base import Source

class Later(Source):
    unavailable: ClassVar[str] = "nobody has written it"
    type: Literal["later"] = "later"

    @property
    def extension(self):
        return "tar"

    def open(self, context):
        raise AssertionError("it was refused")

SOURCES.add(Later)
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Standard output, which must be nothing but JSON."""
        return json.loads(self.out)


class CommandLine:
    """A working directory with a job file, a folder to back up and two destinations."""

    def __init__(self, directory: Path, program: Path | None = None) -> None:
        """``program``: another ``backups`` than the installed command of this Python."""
        self.directory = directory
        self.program = program or Path(sys.executable).with_name("backups")
        self.job = directory / "job.json"
        self.data = directory / "data"
        self.tmp = directory / "tmp"
        self.one, self.two = directory / "one", directory / "two"
        for path in (self.data, self.tmp, self.one, self.two):
            path.mkdir()
        (self.data / "hello.txt").write_text("hello\n")
        self.env: dict[str, str] = {}
        self.write_job()

    def content(self, **changes: Any) -> dict[str, Any]:
        """What a job file holds, with changes to its root; None takes a key away."""
        job: dict[str, Any] = {
            "hostname": HOST,
            "tmpdir": str(self.tmp),
            "compression": "zstd",
            "encryption": {"passphrase": PASSPHRASE},
            "sources": [{"id": "data", "type": "folder", "path": str(self.data)}],
            "destinations": [
                {"id": "one", "type": "local", "path": str(self.one)},
                {"id": "two", "type": "local", "path": str(self.two)},
            ],
            **changes,
        }
        return {key: value for key, value in job.items() if value is not None}

    def write_job(self, **changes: Any) -> None:
        """Write the job file."""
        self.job.write_text(json.dumps(self.content(**changes)))
        self.job.chmod(0o600)

    def take_over(self, other: CommandLine) -> None:
        """Have the data and the copies that another has, as if the job had run here: quicker than a run."""
        for ours, theirs in ((self.data, other.data), (self.one, other.one), (self.two, other.two)):
            shutil.copytree(theirs, ours, symlinks=True, dirs_exist_ok=True)

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """As a test's own, but with the right to be root when the tests are."""
        as_root = {"RUN_AS_USER": "root"} if os.geteuid() == 0 else {}
        return {**os.environ, **as_root, **self.env, **(more or {})}

    def __call__(
        self, *arguments: str | Path, env: Mapping[str, str] | None = None, program: Path | None = None
    ) -> Ended:
        """Run ``backups``, or another program, to its end."""
        done = subprocess.run(
            [str(program or self.program), *map(str, arguments)],
            env=self.environment(env),
            cwd=self.directory,
            capture_output=True,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        # What a restore writes to standard output is no text.
        return Ended(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode())

    def with_output(self, *arguments: str | Path, to: int) -> Ended:
        """Run ``backups`` with its standard output somewhere else."""
        done = subprocess.run(
            [str(self.program), *map(str, arguments)],
            env=self.environment(),
            cwd=self.directory,
            stdout=to,
            stderr=subprocess.PIPE,
            timeout=SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Ended(done.returncode, "", done.stderr.decode())

    @contextmanager
    def started(self, *arguments: str | Path, program: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
        """Start ``backups`` and leave it running for the block; it is killed at its end."""
        process = subprocess.Popen(
            [str(program or self.program), *map(str, arguments)],
            env=self.environment(),
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def copies(self, destination: Path) -> list[str]:
        """Every file at a destination, hidden ones and half ones too."""
        return sorted(str(path.relative_to(destination)) for path in destination.rglob("*") if path.is_file())

    def old_copy(self, destination: Path, date: str = "2020-01-01") -> Path:
        """A copy of the old tool: without a manifest, and long ago."""
        path = destination / HOST / date / "data.tar.gpg"
        path.parent.mkdir(parents=True)
        path.write_text("old")
        os.utime(path, (0, 0))
        return path

    def later_source(self) -> dict[str, Any]:
        """A source of a type that parses and can't run yet; the job needs ``modules`` with ``later_type``."""
        (self.directory / "later_type.py").write_text(_LATER)
        self.env["PYTHONPATH"] = str(self.directory)
        return {"id": "later", "type": "later"}

    def private_leftovers(self) -> list[str]:
        """What is left where private files go."""
        return sorted(path.name for path in self.tmp.iterdir())


def finished(process: subprocess.Popen[bytes], *signals: signal.Signals) -> Ended:
    """Send signals and wait for the end."""
    for number in signals:
        process.send_signal(number)
    out, err = process.communicate(timeout=SECONDS)
    return Ended(process.returncode, out.decode(), err.decode())


class Blocking:
    """A program in the place of a real one that gives some bytes, says that it is there, and then waits for ever."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fifo = directory / "there"
        os.mkfifo(self._fifo)

    def script(self, give: str = "head -c 3000000 /dev/zero") -> str:
        """For ``FakePath.put``."""
        return f"{give}\necho $$ >'{self._fifo}'\nexec sleep 3600"

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Wait until the program is there; returns its process id. Fails when ``process`` ends before."""
        descriptor = os.open(self._fifo, os.O_RDWR | os.O_NONBLOCK)
        try:
            while not select.select([descriptor], [], [], 0.1)[0]:
                assert process.poll() is None, process.communicate()[1].decode()
            self._pid = int(os.read(descriptor, 100))
        finally:
            os.close(descriptor)
        return self._pid

    def end(self) -> None:
        """End it where the command that started it was killed, and can't."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
