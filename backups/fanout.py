"""One stream to every destination at once: each has a thread and a small window; one that breaks hurts no other."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from backups.destinations.base import Upload
from backups.errors import BackupsError, DestinationError
from backups.progress import Progress

WINDOW_BYTES = 8 << 20
"""How far one destination may be behind. Blocks are shared, so the windows together hold no more than this each."""

_TICK = 1.0


@dataclass(frozen=True)
class Patience:
    """How many seconds a destination has; only what hangs needs these, each request has limits of its own."""

    stall: float = 600.0
    """A destination that takes nothing for so long is dropped; the others go on."""

    commit: float = 6 * 3600.0
    """How long a commit may take."""

    abort: float = 30.0
    """How long a lane that failed or was aborted may take to clear up before nobody waits for it any more."""

    slow_seconds: float = 60.0
    """For how long the others wait for a destination before it may count as too slow."""

    slow_factor: float | None = 3.0
    """Then it leaves once it makes the pass so many times as long as it would be without it; None: never."""


PATIENCE = Patience()


class UnforeseenError(DestinationError):
    """What nobody foresaw: its ``__cause__`` belongs into the log, traceback and all."""


@dataclass(frozen=True)
class LaneEnd:
    """How one destination ended: ``error`` is None when it committed."""

    destination: str
    error: BackupsError | None
    verified: str
    seconds: float
    busy: float
    """Seconds of them in which the destination was at work, and not waiting for the source or for others."""


class Lane:
    """One destination's part of the fan-out: blocks in, written by a thread of its own."""

    def __init__(
        self,
        destination: str,
        begin: Callable[[], Upload],
        progress: Progress,
        patience: Patience,
    ) -> None:
        """``begin`` opens the upload; it is called in the lane's thread, so that slow openings don't add up."""
        self.destination = destination
        self.error: BackupsError | None = None
        self._begin = begin
        self._progress = progress
        self._patience = patience
        self._blocks: collections.deque[bytes] = collections.deque()
        self._waiting = 0  # bytes in the window
        self._verdict: tuple[int, str] | None = None  # size and sha256, once the stream is known to be whole
        self._aborted = self._committing = self._over = False
        self._verified = ""
        self._started = self._moved = time.monotonic()  # _moved: when it last got on
        self._busy = 0.0
        self._given_up: float | None = None  # when it failed or was aborted
        self._ended: float | None = None
        self._change = threading.Condition()
        progress.lanes[destination] = 0
        self._thread = threading.Thread(target=self._run, name=f"to {destination}", daemon=True)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether it still takes blocks."""
        return self.error is None and not self._aborted

    @property
    def idle(self) -> bool:
        """Whether it could take blocks, and has written all that it was given."""
        return self.alive and not self._waiting

    def put(self, block: bytes) -> None:
        """Hand over a block, waiting for room. A lane that broke or stalls is dropped, never raised from."""
        while not self.offer(block, _TICK):
            pass

    def offer(self, block: bytes, seconds: float) -> bool:
        """Hand over a block if there is room within ``seconds``; also true when it takes no more at all."""
        deadline = time.monotonic() + seconds
        with self._change:
            while self.alive and self._waiting and self._waiting + len(block) > WINDOW_BYTES:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._change.wait(min(left, self._patience.stall))
                self._drop_if_stalled()
            if self.alive:
                if not self._waiting:
                    self._moved = time.monotonic()  # it was waiting for us
                self._blocks.append(block)
                self._waiting += len(block)
                self._change.notify_all()
            return True

    def drop(self, reason: DestinationError) -> None:
        """Take it out: it failed for this reason. Does not wait."""
        self._fail(reason)

    def commit(self, size: int, sha256: str) -> None:
        """The stream was whole: make it visible. Does not wait."""
        with self._change:
            self._verdict = (size, sha256)
            self._moved = time.monotonic()
            self._change.notify_all()

    def abort(self) -> None:
        """Leave nothing, unless the commit is under way: that can't be stopped. Does not wait."""
        with self._change:
            self._aborted = True
            self._give_up()

    def join(self) -> LaneEnd:
        """Wait for the end of the commit or of the clearing up; one that hangs or stalls counts as failed."""
        limit = self._patience.commit
        deadline = time.monotonic() + limit
        with self._change:
            while not self._over and (now := time.monotonic()) < deadline:
                if self._given_up is not None:
                    deadline = min(deadline, self._given_up + self._patience.abort)
                elif not self._committing:
                    self._drop_if_stalled()
                self._change.wait(min(_TICK, self._patience.stall, max(0.0, deadline - now)))
            if not self._over and self._given_up is None:
                self._fail(DestinationError(f"did not finish within {limit:g} s and was dropped"))
            if self.error is None and not self._verified:
                self._fail(DestinationError("was aborted before its commit"))
            seconds = (self._ended or time.monotonic()) - self._started
            return LaneEnd(self.destination, self.error, self._verified, seconds, self._busy)

    def _run(self) -> None:
        upload: Upload | None = None
        try:
            upload = self._begin()
            self._write(upload)
            if self._may_commit() and self._verdict is not None:
                since = time.monotonic()
                verified = upload.commit(*self._verdict) or "size"
                self._busy += time.monotonic() - since
                self._committed(verified)
        except BackupsError as error:
            self._fail(error)
        except Exception as error:
            self._fail(_unexpected(error))
        finally:
            self._clear_up(upload)

    def _write(self, upload: Upload) -> None:
        """Write blocks until the verdict is there, the stream was aborted, or this lane was dropped."""
        while True:
            with self._change:
                while self.alive and not self._blocks and self._verdict is None:
                    self._change.wait()
                if not self.alive or not self._blocks:
                    return
                block = self._blocks.popleft()
            since = time.monotonic()
            upload.write(block)
            with self._change:
                self._busy += time.monotonic() - since
                self._waiting -= len(block)
                self._moved = time.monotonic()
                self._progress.lanes[self.destination] += len(block)
                self._change.notify_all()

    def _may_commit(self) -> bool:
        """From here on the commit can't be stopped: an abort came before, or it comes too late."""
        with self._change:
            self._committing = self.alive
            if self._committing:
                self._progress.states[self.destination] = "committing"
            return self._committing

    def _committed(self, verified: str) -> None:
        with self._change:
            # A commit that ends after the lane was dropped is not reported: nobody waited for it.
            if self.error is None:
                self._verified = verified
                self._progress.states[self.destination] = "stored"

    def _clear_up(self, upload: Upload | None) -> None:
        problem: Exception | None = None
        if upload is not None and not self._verified:
            try:
                upload.abort()
            except Exception as error:
                problem = error
        with self._change:
            if problem is not None:
                self._fail(_unexpected(problem))
            self._ended = time.monotonic()
            self._over = True
            self._change.notify_all()

    def _drop_if_stalled(self) -> None:
        if self.alive and time.monotonic() - self._moved > self._patience.stall:
            self._fail(DestinationError(f"took no data for {self._patience.stall:g} s and was dropped"))

    def _fail(self, error: BackupsError) -> None:
        with self._change:
            if self.error is None:
                self.error = error
                self._progress.states[self.destination] = "failed"
            self._give_up()

    def _give_up(self) -> None:
        if self._given_up is None:
            self._given_up = time.monotonic()
        self._blocks.clear()
        self._waiting = 0
        self._change.notify_all()


def _unexpected(error: Exception) -> DestinationError:
    wrapped = UnforeseenError(f"unexpected {type(error).__name__}: {error}")
    wrapped.__cause__ = error
    return wrapped
