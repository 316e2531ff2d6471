"""Short runs with faults drawn at random, for the tests and for the longer look in ``benchmarks/faults.py``."""

from __future__ import annotations

import hashlib
import random
import signal
import threading
from pathlib import Path

from backups.context import Context
from backups.destinations.base import DestinationConfig
from backups.errors import DeniedError, DestinationError
from backups.fanout import Patience
from backups.records import Manifest, Outcome, Result
from tests.integration.scripted import KEY, Action, Faults, Hang, Setup, fail, shell, until

STEPS = ["connect", "create", "write", "commit", "create manifest", "write manifest", "commit manifest", "read"]
SOURCES = {
    "whole": "head -c {size} /dev/urandom",
    "status 1": "head -c {size} /dev/urandom; exit 1",
    "killed": "head -c {size} /dev/urandom; kill -9 $$",
    "empty": "exit 0",
    "no last line": "head -c {size} /dev/urandom; echo",
}
OLDER = b"a copy of this day that was there before"


class Draw:
    """One run."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.hangs: list[Hang] = []
        self.source = self.chance.choices(list(SOURCES), weights=[12, 1, 1, 1, 1])[0]
        self.size = self.chance.choice([1, 1000, 1 << 20, 5_000_000, 20_000_000])
        self.compression = self.chance.choice(["none", "none", "zstd", "gzip"])
        self.stop_after = self.chance.random() / 4 if self.chance.random() < 0.15 else None
        self.older = self.chance.random() < 0.3

    def faults(self) -> Faults:
        """Often none, sometimes one, sometimes many."""
        steps = self.chance.sample(STEPS, self.chance.choice([0, 0, 1, 1, 2, 4]))
        return Faults(**{step: self.actions() for step in steps})

    def actions(self) -> list[Action | None] | Action:
        """Always, or once at some time."""
        action = self.action()
        return action if self.chance.random() < 0.3 else [None] * self.chance.choice([0, 0, 1, 3]) + [action]

    def action(self) -> Action:
        """An error that was foreseen or not, or a hang, short or for ever."""
        hang = Hang()
        self.hangs.append(hang)
        errors = [fail("said no", DestinationError), fail("denied", DeniedError), fail("bug", ZeroDivisionError)]
        actions: list[Action] = [*errors, hang.pause(0.05), hang]
        return self.chance.choice(actions)


def run_with_faults(seed: int, tmp_path: Path, context: Context) -> Outcome:
    """One run. Raises AssertionError when it does not end, or says what is not true."""
    draw = Draw(seed)
    setup = Setup(tmp_path, context)
    setup.patience = Patience(stall=0.3, commit=0.6, abort=0.1, slow_seconds=0.1)
    names = ["a", "b", "c"][: draw.chance.choice([1, 2, 2, 3])]
    key = KEY.replace(".gpg", {"zstd": ".zst.gpg", "gzip": ".gz.gpg"}.get(draw.compression, ".gpg"))
    if draw.older:
        for name in names:
            (setup.path(name) / key).parent.mkdir(parents=True)
            (setup.path(name) / key).write_bytes(OLDER)
    destinations: list[DestinationConfig] = [setup.faulty(name, draw.faults()) for name in names]
    last_line = "-- Dump completed\n" if draw.source == "no last line" else ""
    source = shell(SOURCES[draw.source].format(size=draw.size), last_line=last_line)
    run = setup.start(source, *destinations, compression=draw.compression)
    if draw.stop_after is not None:
        stopper = threading.Timer(draw.stop_after, context.cancel.set, (signal.SIGTERM,))
        stopper.start()
    result = run.result()
    if draw.stop_after is not None:
        stopper.cancel()
        stopper.join()
    assert_truth(setup, draw, result, key, names)
    for hang in draw.hangs:
        hang.release()
    until(lambda: not [file for name in names for file in setup.files(name) if ".partial" in file])
    return result.outcome


def assert_truth(setup: Setup, draw: Draw, result: Result, key: str, names: list[str]) -> None:
    """What the result says against what lies there."""
    statuses = {place.destination: place.status for place in result.destinations}
    stored = {name for name, status in statuses.items() if status == "stored"}
    expected = Outcome.STORED if stored == set(names) else Outcome.PARTIAL if stored else Outcome.FAILED
    assert result.outcome is expected
    assert bool(result.error) == (expected is not Outcome.STORED)
    for name in names:
        copy, manifest = setup.path(name) / key, setup.path(name) / f"{key}.manifest.json"
        if name in stored:
            assert hashlib.sha256(copy.read_bytes()).hexdigest() == result.sha256
            assert Manifest.model_validate_json(manifest.read_bytes()).sha256 == result.sha256
        if draw.source != "whole":
            assert name not in stored
            assert not manifest.exists()
            assert copy.read_bytes() == OLDER if draw.older else not copy.exists()
        elif draw.older:
            assert copy.exists(), "what was there may only be replaced"
        assert set(setup.objects(name)) <= {key, f"{key}.manifest.json"}
