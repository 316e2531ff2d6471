"""One stream to every destination at once: each has a thread and a small window; one that breaks hurts no other."""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from backups.destinations.base import Upload
from backups.errors import BackupsError, DestinationError
from backups.progress import Progress

log = logging.getLogger("backups.fanout")

WINDOW_BYTES = 8 << 20
"""How far one destination may be behind. Blocks are shared, so the windows together hold no more than this each."""

STALL_SECONDS = 600.0
"""A destination that takes nothing for so long is dropped; the others go on."""


@dataclass(frozen=True)
class LaneEnd:
    """How one destination ended: ``error`` is None when it committed."""

    destination: str
    error: BackupsError | None
    verified: str
    seconds: float


class Lane:
    """One destination's part of the fan-out: blocks in, written by a thread of its own."""

    def __init__(self, destination: str, begin: Callable[[], Upload], progress: Progress) -> None:
        """``begin`` opens the upload; it is called in the lane's thread, so that slow openings don't add up."""
        self.destination = destination
        self.error: BackupsError | None = None
        self._begin = begin
        self._progress = progress
        self._blocks: collections.deque[bytes] = collections.deque()
        self._waiting = 0  # bytes in the window
        self._verdict: tuple[int, str] | None = None  # size and sha256, once the stream is known to be whole
        self._aborted = False
        self._verified = ""
        self._started = self._ended = time.monotonic()
        self._change = threading.Condition()
        progress.lanes[destination] = 0
        self._thread = threading.Thread(target=self._run, name=f"to {destination}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still takes blocks."""
        return self.error is None and not self._aborted

    def put(self, block: bytes, stall_seconds: float) -> None:
        """Hand over a block, waiting for room. A lane that broke or stalls is dropped, never raised from."""
        with self._change:
            taken = self._progress.lanes[self.destination]
            deadline = time.monotonic() + stall_seconds
            while self.alive and self._waiting + len(block) > WINDOW_BYTES and self._waiting:
                self._change.wait(min(1.0, stall_seconds))
                if self._progress.lanes[self.destination] != taken:
                    taken = self._progress.lanes[self.destination]
                    deadline = time.monotonic() + stall_seconds
                elif time.monotonic() > deadline:
                    self._fail(DestinationError(f"took no data for {stall_seconds:.0f} s and was dropped"))
            if self.alive:
                self._blocks.append(block)
                self._waiting += len(block)
                self._change.notify_all()

    def commit(self, size: int, sha256: str) -> None:
        """The stream was whole: make it visible. Does not wait."""
        with self._change:
            self._verdict = (size, sha256)
            self._change.notify_all()

    def abort(self) -> None:
        """The stream was not whole: leave nothing. Does not wait."""
        with self._change:
            self._aborted = True
            self._blocks.clear()
            self._change.notify_all()

    def join(self, timeout: float) -> LaneEnd:
        """Wait for the end; one that hangs longer than ``timeout`` seconds counts as failed."""
        self._thread.join(timeout)
        with self._change:
            if self._thread.is_alive():
                self._fail(DestinationError(f"did not finish within {timeout:.0f} s and was dropped"))
            if self.error is None and not self._verified:
                self._fail(DestinationError("was aborted before its commit"))
            return LaneEnd(self.destination, self.error, self._verified, self._ended - self._started)

    def _run(self) -> None:
        upload: Upload | None = None
        try:
            upload = self._begin()
            self._write(upload)
            if self._verdict is not None and self.alive:
                self._progress.states[self.destination] = "committing"
                verified = upload.commit(*self._verdict) or "size"
                with self._change:
                    # A commit that ends after the lane was dropped is not reported: nobody waited for it.
                    self._verified = verified if self.error is None else ""
                self._progress.states[self.destination] = "stored"
        except BackupsError as error:
            self._fail(error)
        except Exception as error:
            log.exception("destination %s", self.destination)
            self._fail(DestinationError(f"unexpected {type(error).__name__}: {error}"))
        finally:
            if upload is not None and not self._verified:
                upload.abort()
            self._ended = time.monotonic()

    def _write(self, upload: Upload) -> None:
        """Write blocks until the verdict is there, the stream was aborted, or this lane was dropped."""
        while True:
            with self._change:
                while self.alive and not self._blocks and self._verdict is None:
                    self._change.wait()
                if not self.alive or not self._blocks:
                    return
                block = self._blocks.popleft()
            upload.write(block)
            with self._change:
                self._waiting -= len(block)
                self._progress.lanes[self.destination] += len(block)
                self._change.notify_all()

    def _fail(self, error: BackupsError) -> None:
        with self._change:
            if self.error is None:
                self.error = error
                self._progress.states[self.destination] = "failed"
            self._blocks.clear()
            self._waiting = 0
            self._change.notify_all()
