"""A job of scripted parts: a source that is any child process, and real destinations that break when told to."""

from __future__ import annotations

import datetime as dt
import gc
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from backups.commands import Command
from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig, StoredObject, Upload
from backups.destinations.local.destination import Local
from backups.errors import DestinationError, SourceError
from backups.fanout import PATIENCE
from backups.job import Job, JobSettings
from backups.planning import plan
from backups.progress import Progress
from backups.records import Result
from backups.running import run_source
from backups.sources.base import Source, SourceStream
from backups.sources.command_stream import CommandStream
from tests.contract.streams import children

PASSPHRASE = "correct horse battery staple"
NOW = dt.datetime(2026, 11, 23, 2, 0, tzinfo=dt.UTC)
SOON = 30.0
"""Seconds after which what is waited for counts as never coming."""

Action = Callable[[], None]


class Scripted(Source):
    """Whatever a child writes."""

    label: ClassVar[str] = "Scripted"

    type: Literal["scripted"] = "scripted"
    argv: tuple[str, ...]
    last_line: str = ""
    size_bound: int | None = None
    warnings: dict[int, str] = Field(default_factory=dict)
    faults: Any = None

    @property
    def extension(self) -> str:
        return "sql"

    def open(self, context: Context) -> SourceStream:
        if self.faults is not None:
            self.faults.at("open source")
        check = self._check if self.last_line else None
        return CommandStream(
            Command(self.argv, warnings=self.warnings),
            check=check,
            tail_bytes=len(self.last_line),
            size_bound=self.size_bound,
        )

    def _check(self, size: int, tail: bytes) -> list[str]:
        if tail.decode() != self.last_line:
            raise SourceError(f"the dump of {size} bytes does not end with '{self.last_line}'")
        return []


def shell(script: str, *, id: str = "data", **fields: Any) -> Scripted:
    """A source that is a shell script."""
    return Scripted(id=id, argv=("/bin/sh", "-c", script), **fields)


def python(script: str, *, id: str = "data", **fields: Any) -> Scripted:
    """A source that is a Python script."""
    return Scripted(id=id, argv=(sys.executable, "-S", "-c", script), **fields)


class Faults:
    """What goes wrong at which step; ``reached`` tells a test that a step has come."""

    def __init__(self, **steps: Sequence[Action | None] | Action) -> None:
        """Each step (with _ for a space) has its actions, one each time it comes; a single action comes each time."""
        self._actions: dict[str, Sequence[Action | None] | Action] = {}
        self._times: dict[str, int] = {}
        self._events: dict[str, threading.Event] = {}
        self.bounds: list[int | None] = []
        self._lock = threading.Lock()
        for step, actions in steps.items():
            self._actions[step.replace("_", " ")] = actions

    def reached(self, step: str) -> threading.Event:
        """Set when the step comes for the first time."""
        with self._lock:
            return self._events.setdefault(step, threading.Event())

    def at(self, step: str) -> None:
        """The step comes."""
        self.reached(step).set()
        with self._lock:
            number = self._times[step] = self._times.get(step, 0) + 1
        actions = self._actions.get(step)
        if callable(actions):
            actions()
        elif actions is not None and number <= len(actions) and (action := actions[number - 1]) is not None:
            action()


def fail(text: str = "the disk said no", error: type[Exception] = DestinationError) -> Action:
    """Raise this."""

    def action() -> None:
        raise error(text)

    return action


class Hang:
    """Wait until the test lets go."""

    def __init__(self) -> None:
        self._go = threading.Event()

    def __call__(self) -> None:
        if not self._go.wait(4 * SOON):
            raise AssertionError("the test never let go")

    def pause(self, seconds: float) -> Action:
        """Wait for so long only, or until the test lets go."""

        def action() -> None:
            self._go.wait(seconds)

        return action

    def release(self) -> None:
        """Let go."""
        self._go.set()


class Faulty(DestinationConfig):
    """A real destination, with faults."""

    label: ClassVar[str] = "Faulty destination"

    type: Literal["faulty"] = "faulty"
    inner: Any
    faults: Any

    def connect(self, context: Context) -> Destination:
        self.faults.at("connect")
        return FaultyDestination(self.inner.connect(context), self.faults)


class FaultyDestination(Destination):
    """Breaks at: connect, create, write, commit, read, and the same with ``manifest``."""

    def __init__(self, inner: Destination, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def create(self, key: str, *, size_bound: int | None = None) -> Upload:
        suffix = " manifest" if key.endswith(".manifest.json") else ""
        self._faults.bounds.append(size_bound)
        self._faults.at("create" + suffix)
        return FaultyUpload(self._inner.create(key, size_bound=size_bound), self._faults, suffix)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return self._inner.list(prefix)

    def read(self, key: str) -> Iterator[bytes]:
        self._faults.at("read")
        yield from self._inner.read(key)

    def remove(self, keys: Iterable[str]) -> dict[str, str]:
        return self._inner.remove(keys)

    def close(self) -> None:
        self._inner.close()
        self._faults.at("close")


class FaultyUpload(Upload):
    """Asks for its fault before each step."""

    def __init__(self, inner: Upload, faults: Faults, suffix: str) -> None:
        self._inner = inner
        self._faults = faults
        self._suffix = suffix

    def write(self, block: bytes) -> None:
        self._faults.at("write" + self._suffix)
        self._inner.write(block)

    def commit(self, size: int, sha256: str) -> str:
        self._faults.at("commit" + self._suffix)
        return self._inner.commit(size, sha256)

    def abort(self) -> None:
        try:
            self._faults.at("abort" + self._suffix)
        finally:
            self._inner.abort()


class Setup:
    """Directories under one temporary one, and a job that stores in them."""

    def __init__(self, tmp_path: Path, context: Context) -> None:
        self.tmp_path = tmp_path
        self.context = context
        self.patience = PATIENCE

    def path(self, name: str) -> Path:
        """A destination's directory."""
        path = self.tmp_path / name
        path.mkdir(exist_ok=True)
        return path

    def local(self, name: str, **fields: Any) -> Local:
        """A directory without faults."""
        return Local(id=name, path=str(self.path(name)), **fields)

    def faulty(self, name: str, faults: Faults) -> Faulty:
        """A directory with faults."""
        return Faulty(id=name, inner=self.local(name), faults=faults)

    def job(self, source: Source, *destinations: DestinationConfig, **settings: Any) -> Job:
        """A job of one source."""
        given = {"encryption": {"passphrase": PASSPHRASE}, "compression": "none", "hostname": "host", **settings}
        return Job("nightly", JobSettings.model_validate(given), (source,), destinations, ())

    def run(
        self, source: Source, *destinations: DestinationConfig, progress: Progress | None = None, **settings: Any
    ) -> Result:
        """Run it to its end."""
        job = self.job(source, *destinations, **settings)
        [item] = plan(job, run="20261123T020000Z", now=NOW).items
        return run_source(job, item, self.context, progress, patience=self.patience)

    def start(self, source: Source, *destinations: DestinationConfig, **settings: Any) -> Running:
        """Run it in a thread."""
        return Running(lambda: self.run(source, *destinations, **settings))

    def objects(self, name: str) -> list[str]:
        """Keys of the complete objects, as a listing tells."""
        with Local(path=str(self.path(name))).connect(self.context) as destination:
            return [stored.key for stored in destination.list("")]

    def files(self, name: str) -> list[str]:
        """Everything that lies in the directory, hidden or not."""
        top = self.path(name)  # os.walk takes it well when a directory vanishes meanwhile
        return sorted(str((Path(at) / name).relative_to(top)) for at, _, names in os.walk(top) for name in names)


class Running:
    """A run in a thread of its own."""

    def __init__(self, work: Callable[[], Result]) -> None:
        self._results: list[Result] = []
        self._thread = threading.Thread(target=lambda: self._results.append(work()))
        self._thread.start()

    def result(self) -> Result:
        """Its result, which must come in time."""
        self._thread.join(SOON)
        assert not self._thread.is_alive(), "the run hangs"
        return self._results[0]


KEY = "host/2026-11-23/data.sql.gpg"
MANIFEST = KEY + ".manifest.json"
ENDLESS = "exec cat /dev/urandom"


def until(condition: Callable[[], Any]) -> Any:
    """Wait for what the system gives no event for."""
    deadline = time.monotonic() + SOON
    while not (value := condition()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)
    return value


def child_named(name: str) -> int:
    """Process id of a child of ours that runs a program; waits for it."""

    def find() -> int | None:
        return next((pid for pid, found in children().items() if found == name), None)

    return int(until(find))


@contextmanager
def nothing_left(context: Context) -> Iterator[None]:
    """After the block: no more children, threads, descriptors or private files than before."""
    processes, threads, descriptors = set(children()), set(threading.enumerate()), _descriptors()
    yield
    for thread in set(threading.enumerate()) - threads:
        thread.join(SOON)
        assert not thread.is_alive(), f"the thread '{thread.name}' goes on"
    left = {pid: name for pid, name in children().items() if pid not in processes}
    assert not left, f"processes go on: {left}"
    more = _descriptors() - descriptors
    if more:  # perhaps of objects that only a look at all of them frees, which takes long in a process with many
        gc.collect()
        more = _descriptors() - descriptors
    assert not more, f"descriptors stay open: {more}"
    private = [str(path) for path in context.tmpdir.rglob("*")]
    assert not private, f"private files stay: {private}"


def _descriptors() -> set[tuple[str, str]]:
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        try:
            found.add((path.name, str(path.readlink())))
        except FileNotFoundError:
            continue  # the one that reads the list
    return found
