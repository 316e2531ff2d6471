"""Which destination leaves the pass because the others wait for it, and which never does."""

from __future__ import annotations

import collections
import hashlib
import threading
from collections.abc import Callable

from backups.destinations.base import Upload
from backups.fanout import WINDOW_BYTES, Lane, LaneEnd, Patience
from backups.pacing import Pace
from backups.progress import Progress
from backups.storing import quickest_first

BLOCK = bytes(1 << 20)
BLOCKS = 3 * WINDOW_BYTES // len(BLOCK)
IMPATIENT = Patience(slow_seconds=0.2, slow_factor=2.0)


class Sink(Upload):
    """Counts what it takes; ``before`` is called before each block."""

    def __init__(self, before: Callable[[], object] = lambda: None) -> None:
        self.before = before
        self.taken = 0

    def write(self, block: bytes) -> None:
        self.before()
        self.taken += len(block)

    def commit(self, size: int, sha256: str) -> str:
        assert size == self.taken
        return "size"

    def abort(self) -> None:
        """Nothing is kept."""


def lanes(patience: Patience, **sinks: Sink) -> list[Lane]:
    return [Lane(name, lambda sink=sink: sink, Progress("s"), patience) for name, sink in sinks.items()]  # type: ignore[misc]


def finish(*given: Lane) -> dict[str, LaneEnd]:
    data = BLOCK * BLOCKS
    for lane in given:
        lane.commit(len(data), hashlib.sha256(data).hexdigest())
    return {lane.destination: lane.join() for lane in given}


def test_one_that_the_others_wait_for_leaves_and_they_are_done() -> None:
    go = threading.Event()
    made = lanes(IMPATIENT, quick=Sink(), slow=Sink(go.wait), other=Sink())
    pace = Pace(made, IMPATIENT)
    for _ in range(BLOCKS):
        pace.put(BLOCK)
    go.set()
    ends = finish(*made)
    assert [name for name, end in ends.items() if end.error is None] == ["quick", "other"]
    error = ends["slow"].error
    assert error is not None
    assert error.message.startswith("was too slow for the others, who waited for it for ")
    assert "slow_factor" in error.hint


def held_up(patience: Patience, go: threading.Event, made: list[Lane]) -> dict[str, LaneEnd]:
    """Feed lanes that hang for longer than makes one leave, then let them go."""
    pace = Pace(made, patience)
    feeding = threading.Thread(target=lambda: collections.deque(map(pace.put, [BLOCK] * BLOCKS)))
    feeding.start()
    feeding.join(4 * patience.slow_seconds)
    assert feeding.is_alive(), "there was room for everything"
    assert all(lane.alive for lane in made)
    go.set()
    feeding.join(60)
    return finish(*made)


def test_the_only_one_never_leaves() -> None:
    go = threading.Event()
    ends = held_up(IMPATIENT, go, lanes(IMPATIENT, only=Sink(go.wait)))
    assert ends["only"].error is None


def test_of_two_that_are_as_slow_none_leaves() -> None:
    go = threading.Event()
    ends = held_up(IMPATIENT, go, lanes(IMPATIENT, one=Sink(go.wait), two=Sink(go.wait)))
    assert [end.error for end in ends.values()] == [None, None]


def test_without_the_factor_all_wait_for_the_slowest() -> None:
    go, patient = threading.Event(), Patience(slow_seconds=0.2, slow_factor=None)
    ends = held_up(patient, go, lanes(patient, quick=Sink(), slow=Sink(go.wait)))
    assert [end.error for end in ends.values()] == [None, None]


def test_a_broken_one_is_not_what_the_others_wait_for() -> None:
    """Its window never empties, yet it holds nobody back."""
    made = lanes(IMPATIENT, quick=Sink(), broken=Sink(lambda: 1 // 0))
    pace = Pace(made, IMPATIENT)
    for _ in range(BLOCKS):
        pace.put(BLOCK)
    ends = finish(*made)
    assert ends["quick"].error is None
    assert "ZeroDivisionError" in str(ends["broken"].error)


def test_the_quickest_gives_its_copy_back_first_and_else_the_job_s_order_stands() -> None:
    assert quickest_first(["far", "near"], {"far": 7000.0, "near": 60.0}) == ["near", "far"]
    assert quickest_first(["one", "two"], {"one": 14.0, "two": 0.1}) == ["one", "two"]
    assert quickest_first(["one", "two"], {"one": 40.0, "two": 36.0}) == ["one", "two"]
