"""Copies one object from a destination that has it to a lane, in a thread: an origin that hangs hangs nobody else."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator

from backups.errors import DestinationError, VerificationError
from backups.fanout import Lane

_TICK = 1.0


class Relay:
    """One copy on its way; the lane is committed when all of it was read and is what was stored."""

    def __init__(self, read: Callable[[], Iterator[bytes]], lane: Lane, size: int, sha256: str) -> None:
        """``read`` opens the object; it is called in the relay's thread."""
        self._read = read
        self._lane = lane
        self._expected = (size, sha256)
        self._size = 0
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name=f"copy to {lane.destination}", daemon=True)
        self._thread.start()

    def wait(self, stall_seconds: float) -> None:
        """Wait until everything was handed over, or the lane takes no more.

        Raises what the origin raised, VerificationError when it gives other bytes than were stored, and
        DestinationError when it gives none for ``stall_seconds``.
        """
        size, moved = 0, time.monotonic()
        while self._thread.is_alive() and self._lane.alive:
            self._thread.join(min(_TICK, stall_seconds))
            if self._size != size:
                size, moved = self._size, time.monotonic()
            elif time.monotonic() - moved > stall_seconds:
                raise DestinationError(f"gave no data for {stall_seconds:g} s")
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self._copy()
        except Exception as error:
            self._error = error

    def _copy(self) -> None:
        digest = hashlib.sha256()
        for block in self._read():
            digest.update(block)
            self._lane.put(block)
            self._size += len(block)
            if not self._lane.alive:
                return
        if (self._size, digest.hexdigest()) != self._expected:
            raise VerificationError("the copy read back for the second chance is not what was stored")
        self._lane.commit(*self._expected)
