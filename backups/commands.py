"""A child process whose status is always looked at, whose stderr can never block it, and whose end is never missed.

Children are argv lists, never a shell; they get a small environment of their own, so that no secret of this
process reaches them; they run in a process group of their own, so that Ctrl-C reaches only us and we end them.
A child that ended stays a zombie until ``close``: so its number, which is its group's too, can't be given to another
process, and killing the group is safe at any time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from backups.errors import CommandError

PIPE_BYTES = 1 << 20
"""Size of pipes between children: large blocks, few context switches."""

STDERR_LINES = 25
"""How many of a child's last error lines go into an error."""

DRAIN_SECONDS = 5.0
"""How long the last of stderr may take to come after the child has ended."""

_STDERR_KEPT = 16 << 10
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.001, 0.05
_INHERITED = ("PATH", "HOME", "USER", "LOGNAME", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD", "FAKETIME")
_INSTALL = {
    "gpg": "gnupg",
    "mysqldump": "mariadb-client (or mysql-client)",
    "mysql": "mariadb-client (or mysql-client)",
    "mariadb-dump": "mariadb-client",
    "mariadb": "mariadb-client",
}


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """A child's environment: what programs need to run, messages in English, and ``extra``."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return {**inherited, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", **(extra or {})}


def widen(fd: int) -> None:
    """Give a pipe the large buffer; a system that refuses (a limit per user) keeps the default."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


class Command:
    """A started child with its stdout in a pipe."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stdin: int | IO[bytes] = subprocess.DEVNULL,
        stdout: int | IO[bytes] = subprocess.PIPE,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        warnings: Mapping[int, str] | None = None,
    ) -> None:
        """Start ``argv``. ``warnings`` maps exit statuses that are no failure to what the report says of them.

        Raises CommandError when the program is missing or may not run.
        """
        self.name = Path(argv[0]).name
        self._warnings = dict(warnings or {})
        self._stderr = b""
        self._stderr_bytes = 0
        self._status: int | None = None
        self._closed = False
        self._lock = threading.RLock()  # a signal handler may interrupt the thread that holds it
        try:
            self.process = subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=stdout,
                stderr=subprocess.PIPE,
                env=environment(env),
                pass_fds=tuple(pass_fds),
                process_group=0,
            )
        except FileNotFoundError:
            package = _INSTALL.get(self.name, self.name)
            raise CommandError(
                f"{self.name} is not installed",
                status=127,
                hint=f"install the package {package} or correct PATH",
            ) from None
        except OSError as error:
            raise CommandError(f"{self.name} could not be started: {error.strerror}", status=126) from None
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                widen(pipe.fileno())
        self._drain = threading.Thread(target=self._read_stderr, name=f"stderr of {self.name}", daemon=True)
        self._drain.start()

    @property
    def stdout(self) -> IO[bytes]:
        """The reading end of the child's output."""
        assert self.process.stdout is not None  # noqa: S101 - only for callers that asked for a pipe
        return self.process.stdout

    @property
    def stdin(self) -> IO[bytes]:
        """The writing end of the child's input."""
        assert self.process.stdin is not None  # noqa: S101 - only for callers that asked for a pipe
        return self.process.stdin

    @property
    def stderr_tail(self) -> str:
        """The last lines that the child wrote to stderr; whole ones, for of half a secret nobody knows what it is."""
        kept, written = self._stderr, self._stderr_bytes
        if written > len(kept):
            kept = kept.partition(b"\n")[2]
        lines = [line for raw in kept.decode("utf-8", "replace").splitlines() if (line := raw.rstrip())]
        if written and not lines:
            return f"{written} bytes on stderr without a line that could be shown"
        return "\n".join(lines[-STDERR_LINES:])

    def wait(self, timeout: float | None = None) -> list[str]:
        """Wait for the end. Returns warnings for the report. Raises CommandError unless it ended well."""
        status = self._ended(timeout)
        if status is None:
            self.kill()
            raise CommandError(f"{self.name} did not end within {timeout:.0f} s")
        self._drain.join(DRAIN_SECONDS)  # a grandchild may keep stderr open for ever
        if status == 0:
            return []
        if status in self._warnings:
            detail = self.stderr_tail
            return [f"{self._warnings[status]}: {detail}" if detail else self._warnings[status]]
        raise CommandError(self._complaint(status), status=status)

    def kill(self) -> None:
        """End the child and all of its group at once. Safe from any thread, a signal handler, and more than once."""
        with self._lock:
            if not self._closed:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(self.process.pid, signal.SIGKILL)

    def close(self) -> None:
        """Kill what still runs of its group, reap it, and close its pipes."""
        self.kill()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        with contextlib.suppress(CommandError):
            self._ended(10)  # a sudo child can't be killed by us; it ends at its closed pipe
        with self._lock:
            self._closed = True
            self.process.poll()
        self._drain.join(DRAIN_SECONDS)

    def _ended(self, timeout: float | None) -> int | None:
        """Wait for the exit status (negative for a signal) without reaping; None when it takes too long."""
        flags = os.WEXITED | os.WNOWAIT | (0 if timeout is None else os.WNOHANG)
        deadline, pause = time.monotonic() + (timeout or 0), _SHORTEST_PAUSE
        while self._status is None:
            try:
                end = os.waitid(os.P_PID, self.process.pid, flags)
            except ChildProcessError:
                # Somebody else took the status, as the kernel does when SIGCHLD is ignored: never take it for 0.
                raise CommandError(
                    f"{self.name} ended, but its exit status was lost", hint="start this program with SIGCHLD as usual"
                ) from None
            if end is not None:
                self._status = end.si_status if end.si_code == os.CLD_EXITED else -end.si_status
            elif time.monotonic() > deadline:
                return None
            else:
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
        return self._status

    def _complaint(self, status: int) -> str:
        how = f"ended with exit status {status}"
        if status < 0:
            with contextlib.suppress(ValueError):
                how = f"was killed by {signal.Signals(-status).name}"
        detail = self.stderr_tail
        return f"{self.name} {how}: {detail}" if detail else f"{self.name} {how}"

    def _read_stderr(self) -> None:
        """Take everything, keep the end; a child that writes megabytes, even without a newline, never blocks."""
        stream = self.process.stderr
        assert stream is not None  # noqa: S101
        with stream:
            while block := os.read(stream.fileno(), _STDERR_KEPT):
                self._stderr = (self._stderr + block)[-_STDERR_KEPT:]
                self._stderr_bytes += len(block)


def version_of(argv: Sequence[str]) -> str:
    """First line that a program prints about its version; empty when it can't be run."""
    try:
        done = subprocess.run(
            list(argv),
            capture_output=True,
            env=environment(),
            timeout=20,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace").partition("\n")[0].strip()
