"""One lane against an upload in memory; what real destinations do with it is in the integration tests."""

from __future__ import annotations

import collections
import hashlib
import threading
from collections.abc import Callable

import pytest

from backups.destinations.base import Upload
from backups.errors import DestinationError
from backups.fanout import WINDOW_BYTES, Lane, Patience
from backups.progress import Progress

SOON = Patience(stall=0.3, commit=0.5, abort=0.1)
BLOCK = bytes(1 << 20)


class Memory(Upload):
    """Keeps what it gets, and waits or fails where it is told to."""

    def __init__(self, **steps: Callable[[], object]) -> None:
        self.blocks: list[bytes] = []
        self.events: list[str] = []
        self.steps = steps

    def _step(self, name: str) -> None:
        self.events.append(name)
        self.steps.get(name, lambda: None)()

    def write(self, block: bytes) -> None:
        self._step("write")
        self.blocks.append(block)

    def commit(self, size: int, sha256: str) -> str:
        self._step("commit")
        assert (size, sha256) == (len(self.data), hashlib.sha256(self.data).hexdigest())
        return "everything"

    def abort(self) -> None:
        self._step("abort")

    @property
    def data(self) -> bytes:
        """All of it."""
        return b"".join(self.blocks)


def lane(upload: Memory, patience: Patience = SOON, progress: Progress | None = None) -> Lane:
    return Lane("a", lambda: upload, progress or Progress("s"), patience)


def commit(to: Lane, data: bytes) -> None:
    to.commit(len(data), hashlib.sha256(data).hexdigest())


def fail() -> None:
    raise DestinationError("no room")


def test_blocks_arrive_in_their_order_and_are_committed() -> None:
    upload, progress = Memory(), Progress("s")
    line = lane(upload, progress=progress)
    blocks = [bytes([number]) * (number + 1) for number in range(200)]
    for block in blocks:
        line.put(block)
    commit(line, b"".join(blocks))
    end = line.join()
    assert (end.error, end.verified) == (None, "everything")
    assert upload.data == b"".join(blocks)
    assert "abort" not in upload.events
    assert (progress.lanes, progress.states) == ({"a": 20100}, {"a": "stored"})


def test_an_empty_stream_can_be_committed() -> None:
    upload = Memory()
    line = lane(upload)
    commit(line, b"")
    assert line.join().error is None


def test_an_aborted_lane_commits_nothing() -> None:
    upload = Memory()
    line = lane(upload)
    line.put(BLOCK)
    line.abort()
    commit(line, BLOCK)
    end = line.join()
    assert end.error is not None
    assert end.error.message == "was aborted before its commit"
    assert "commit" not in upload.events
    assert upload.events[-1] == "abort"


def test_the_window_bounds_what_waits_for_a_slow_destination() -> None:
    go = threading.Event()
    upload = Memory(write=go.wait)
    line = lane(upload, Patience(stall=60))
    fits = WINDOW_BYTES // len(BLOCK)
    for _ in range(fits):
        line.put(BLOCK)
    more = threading.Thread(target=line.put, args=(BLOCK,))
    more.start()
    more.join(0.1)
    assert more.is_alive(), "there is no room yet"
    go.set()
    more.join(30)
    assert not more.is_alive()
    commit(line, BLOCK * (fits + 1))
    assert line.join().error is None


def test_a_block_larger_than_the_window_passes() -> None:
    upload = Memory()
    line = lane(upload)
    large = bytes(WINDOW_BYTES + 1)
    line.put(large)
    line.put(large)
    commit(line, large * 2)
    assert line.join().error is None


def test_a_stalled_lane_frees_who_waits_for_room() -> None:
    go = threading.Event()
    line = lane(Memory(write=go.wait))
    for _ in range(2 * WINDOW_BYTES // len(BLOCK)):
        line.put(BLOCK)
    assert not line.alive
    commit(line, b"")
    end = line.join()
    assert end.error is not None
    assert end.error.message == "took no data for 0.3 s and was dropped"
    go.set()


def test_a_lane_that_is_done_with_all_blocks_waits_for_the_source_for_ever() -> None:
    upload = Memory()
    line = lane(upload, Patience(stall=0.05))
    line.put(BLOCK)
    threading.Event().wait(0.2)  # longer than a stall
    line.put(BLOCK)
    threading.Event().wait(0.2)
    commit(line, BLOCK * 2)
    assert line.join().error is None


def test_an_abort_frees_who_waits_for_room() -> None:
    go = threading.Event()
    line = lane(Memory(write=go.wait), Patience(stall=60, abort=0.1))
    writer = threading.Thread(target=lambda: collections.deque(map(line.put, [BLOCK] * 100)))
    writer.start()
    line.abort()
    writer.join(30)
    assert not writer.is_alive()
    assert line.join().error is not None
    go.set()


@pytest.mark.parametrize("step", ["write", "commit"])
def test_a_failure_is_told_and_cleared_up(step: str) -> None:
    upload = Memory(**{step: fail})
    line = lane(upload)
    line.put(BLOCK)
    commit(line, BLOCK)
    end = line.join()
    assert end.error is not None
    assert (end.error.message, end.verified) == ("no room", "")
    assert upload.events[-1] == "abort"


def test_a_commit_that_ends_after_the_lane_was_dropped_is_not_reported() -> None:
    go = threading.Event()
    upload = Memory(commit=go.wait)
    progress = Progress("s")
    line = lane(upload, progress=progress)
    line.put(BLOCK)
    commit(line, BLOCK)
    end = line.join()
    assert end.error is not None
    assert end.error.message == "did not finish within 0.5 s and was dropped"
    go.set()
    line._thread.join(30)
    assert line.join().error is end.error
    assert progress.states["a"] == "failed"


def test_an_abort_during_a_commit_waits_for_its_end() -> None:
    """It can't be taken back, so the truth is what it says."""
    committing, go = threading.Event(), threading.Event()
    upload = Memory(commit=lambda: committing.set() or go.wait())  # type: ignore[func-returns-value]
    line = lane(upload, Patience(abort=30))
    line.put(BLOCK)
    commit(line, BLOCK)
    assert committing.wait(30)
    line.abort()
    go.set()
    assert line.join().error is None


def test_an_error_that_nobody_foresaw_keeps_its_cause() -> None:
    line = lane(Memory(write=lambda: 1 // 0))
    line.put(BLOCK)
    end = line.join()
    assert end.error is not None
    assert end.error.message.startswith("unexpected ZeroDivisionError")
    assert isinstance(end.error.__cause__, ZeroDivisionError)
