"""Starts sandboxed programs, and ends them: each by itself, or all when the server ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_SANDBOX = Path(__file__).with_name("sandbox.py")


class Sandboxed:
    """A running program. Its standard output and standard error go to ``output``, its input is empty."""

    def __init__(self, argv: Sequence[str], *, environment: Mapping[str, str], directory: Path, output: Path) -> None:
        self.output = output
        with output.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_SANDBOX), str(_LIFELINE.reader), *argv],
                env=dict(environment),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                pass_fds=(_LIFELINE.reader,),
                start_new_session=True,
            )
        _LIFELINE.remember(self._process)

    @property
    def pid(self) -> int:
        """The sandbox's process id; the program is its child."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, 128 plus the number of a signal that killed it, or None while it runs."""
        code = self._process.poll()
        return code if code is None or code >= 0 else 128 - code

    def wait(self, timeout: float | None = None) -> int:
        """The exit status, as ``status``. Raises subprocess.TimeoutExpired after ``timeout`` seconds."""
        code = self._process.wait(timeout)
        return code if code >= 0 else 128 - code

    def stop(self, timeout: float) -> None:
        """SIGTERM, and SIGKILL to everything when it still runs after ``timeout`` seconds."""
        if self.status is None:
            self._process.terminate()
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """SIGKILL to the program and all its descendants."""
        if self.status is None:
            self._process.send_signal(signal.SIGUSR1)
            self.wait()


class _Lifeline:
    """A pipe that every sandbox watches: closing this end, or dying with it open, ends them all."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self._writer: int | None = writer
        self._lock = threading.Lock()
        self._running: list[subprocess.Popen[bytes]] = []

    def remember(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running = [one for one in self._running if one.poll() is None]
            self._running.append(process)

    def cut(self) -> None:
        with self._lock:
            if self._writer is not None:
                os.close(self._writer)
                self._writer = None
            for process in self._running:
                process.wait()


_LIFELINE = _Lifeline()


_AT_END: list[Callable[[], None]] = []


def at_end(clean_up: Callable[[], None]) -> None:
    """Call ``clean_up`` whenever every program was ended; it may happen more than once."""
    _AT_END.append(clean_up)


def end_all() -> None:
    """Kill every program that still runs and wait until they are gone. One that is started after this ends at once."""
    _LIFELINE.cut()
    for clean_up in _AT_END:
        clean_up()
