"""What a plugin may ask of the process that runs it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from backups.errors import StoppedError
from backups.secrets import Secrets
from backups.staging import Place

log = logging.getLogger("backups")


class Cancel:
    """Says that the work must stop. A signal handler sets it; it then kills what was registered, so reads end."""

    def __init__(self) -> None:
        self._signal: int | None = None
        self._callbacks: dict[int, Callable[[], None]] = {}
        self._next = 0
        self._lock = threading.RLock()  # a signal handler may interrupt the thread that holds it

    def set(self, signal: int) -> None:
        """Stop all work. Safe in a signal handler."""
        with self._lock:
            self._signal = signal
            callbacks = list(self._callbacks.values())
        for callback in callbacks:
            try:
                callback()
            except Exception:
                log.exception("stopping")  # the others must stop nevertheless

    def check(self) -> None:
        """Raises StoppedError once the work must stop."""
        if self._signal is not None:
            raise StoppedError(signal=self._signal)

    @property
    def stopped(self) -> bool:
        """Whether the work must stop."""
        return self._signal is not None

    def wait(self, seconds: float) -> None:
        """Wait so long. Raises StoppedError at once when the work must stop."""
        over = threading.Event()
        forget = self.on_stop(over.set)
        try:
            over.wait(seconds)
        finally:
            forget()
        self.check()

    def on_stop(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call ``callback`` when the work must stop; returns a function that takes it back."""
        with self._lock:
            number = self._next = self._next + 1
            self._callbacks[number] = callback
        if self.stopped:
            callback()

        def forget() -> None:
            with self._lock:
                self._callbacks.pop(number, None)

        return forget


@dataclass(frozen=True)
class Task:
    """The source of a run that is being worked on. What is made for it elsewhere is tagged with these names."""

    job: str = ""
    run: str = ""
    hostname: str = ""
    source: str = ""
    key: str = ""
    """Under which the copy is stored."""
    time_limit: float = 86_400
    """Seconds that reading the source may take."""
    tell: Callable[[str], None] = lambda _: None
    """Shows a phase of a long wait, such as ``snapshot 40%``."""


@dataclass(frozen=True)
class Context:
    """One per process; while a source is worked on, with its task."""

    tmpdir: Path
    """For small private files such as options files and key rings; never for data in plain."""
    secrets: Secrets = field(default_factory=Secrets)
    cancel: Cancel = field(default_factory=Cancel)
    pause: Callable[[float], None] = field(default=time.sleep)
    """Waits so many seconds because a service asked for it; whoever limits the time does not count them."""
    task: Task = field(default_factory=Task)
    staging: Place | None = None
    """Where streams of other hosts are staged; None on one machine, where the source names a stack."""
    flag_document: str = ""
    """What has the agent on a host write a flag file; empty on one machine, which reaches none."""
