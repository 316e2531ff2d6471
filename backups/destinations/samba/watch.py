"""Time limits of requests, for all of which one thread waits: to start one for each took longer than many a request."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

_NEVER = float("inf")


class Watch:
    """Calls ``late`` when a block of code takes longer than it may. Several threads may use it."""

    def __init__(self, late: Callable[[], None]) -> None:
        """``late`` is called in a thread of this object's own, and must not wait for anything."""
        self._late = late
        self._limits: dict[object, float] = {}
        self._changed = threading.Condition()
        self._wakes = _NEVER
        self._closed = False
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """The block may take so long; it is told of being late by whatever ``late`` does."""
        key, limit = object(), time.monotonic() + seconds
        with self._changed:
            self._limits[key] = limit
            if self._thread is None:
                self._thread = threading.Thread(target=self._wait, name="time limits of a share", daemon=True)
                self._thread.start()
            elif limit < self._wakes:  # else it looks soon enough, and finds this one then
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._limits.pop(key, None)

    def close(self) -> None:
        """End the thread, if no block runs any more."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread:
            self._thread.join()

    def _wait(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                late = [key for key, limit in self._limits.items() if limit <= now]
                for key in late:
                    del self._limits[key]  # once is enough
                    self._late()
                self._wakes = min(self._limits.values(), default=_NEVER)
                self._changed.wait(None if self._wakes == _NEVER else self._wakes - now)
