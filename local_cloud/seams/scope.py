"""Ends the work of an execution: MiniStack's own threads run on when an execution is stopped or times out."""

from __future__ import annotations

import threading
import time
from contextvars import ContextVar

_POLL_SECONDS = 0.05


class Stopped(BaseException):
    """The execution has ended: leave its thread. No state's Retry or Catch may see this, nor ``except Exception``."""


class Scope:
    """What runs below one execution or one task of it; closing it ends the work inside and below.

    ``role`` is the ARN of the state machine's role.
    """

    def __init__(self, parent: Scope | None = None, *, role: str = "") -> None:
        self._parent = parent
        self.role: str = role or (parent.role if parent else "")
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        return self._closed.is_set() or (self._parent is not None and self._parent.closed)

    def close(self) -> None:
        self._closed.set()

    def check(self) -> None:
        """Raises Stopped when the scope was closed."""
        if self.closed:
            raise Stopped

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until the scope is closed; then raises Stopped."""
        end = time.monotonic() + seconds
        self.check()
        while (left := end - time.monotonic()) > 0:
            self._closed.wait(min(left, _POLL_SECONDS))
            self.check()


# MiniStack copies context variables into the threads that it starts for maps, branches and children.
_current: ContextVar[Scope | None] = ContextVar("scope", default=None)


def current() -> Scope:
    """The scope that this thread works in; outside of an execution one that nobody closes."""
    return _current.get() or Scope()


def enter(scope: Scope) -> None:
    """Work in ``scope`` from now on, in this context and those copied from it."""
    _current.set(scope)
