"""Trying again after errors that may pass, and giving up at once when the work must stop: what bucket clients share."""

from __future__ import annotations

import concurrent.futures
import logging
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

from backups.context import Cancel
from backups.errors import DestinationError, StoppedError

log = logging.getLogger("backups.destinations")

PAUSES = (1.0, 2.0, 10.0, 30.0, 60.0)
"""Seconds between our own attempts; a client may make some of its own at each of them, within seconds."""

T = TypeVar("T")


class GivenUp:
    """Says that an upload or a reader must stop: it was given up, or the whole run is stopping."""

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel
        self.future: Future[None] = Future()  # so that it can be waited for together with requests
        self.forget = cancel.on_stop(self.set)

    def set(self) -> None:
        """Wake whoever waits."""
        with suppress(concurrent.futures.InvalidStateError):
            self.future.set_result(None)

    def check(self) -> None:
        """Raises StoppedError once the work must stop."""
        self._cancel.check()
        if self.future.done():
            raise StoppedError

    def wait(self, seconds: float) -> None:
        """Sleep. Raises StoppedError as soon as the work must stop."""
        concurrent.futures.wait({self.future}, timeout=seconds)
        self.check()


class Attempts:
    """Counts fruitless attempts, and pauses between them: what got on starts the count anew."""

    def __init__(self, given_up: GivenUp) -> None:
        self._given_up = given_up
        self._fruitless = 0

    def failed(self, error: DestinationError, *, got_on: bool = False) -> None:
        """Pause before the next attempt; one that got on before it broke is followed at once.

        Raises ``error`` when trying again is useless or was tried often enough, StoppedError when the work must stop.
        """
        self._fruitless = 0 if got_on else self._fruitless + 1
        if error.permanent or self._fruitless > len(PAUSES):
            raise error
        pause = PAUSES[self._fruitless - 1] if self._fruitless else 0.0
        log.warning("%s; trying again in %.0f s", error, pause)
        if pause:
            self._given_up.wait(pause)


def again(attempt: Callable[[], T], given_up: GivenUp) -> T:
    """Try, and after errors that may pass try again.

    Raises DestinationError from the last attempt, StoppedError when the work must stop.
    """
    attempts = Attempts(given_up)
    while True:
        try:
            return attempt()
        except DestinationError as error:
            attempts.failed(error)
