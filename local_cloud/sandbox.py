"""Runs one program as a container would: alone with its environment, and gone with all its descendants.

``python -I -S sandbox.py LIFELINE PROGRAM [ARGUMENT ...]`` starts PROGRAM and ends with its exit status (128 plus the
number of the signal that killed it). However PROGRAM ends, every process that it left behind is killed. LIFELINE is a
descriptor whose other end the server holds: when the server dies in any way, it reads end of file and everything is
killed. SIGTERM and SIGINT are passed on to PROGRAM; SIGUSR1 kills everything at once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
KILLED = 128 + signal.SIGKILL
NOT_STARTED = 127
_PASSED_ON = (signal.SIGTERM, signal.SIGINT)
_HANDLED = (*_PASSED_ON, signal.SIGUSR1, signal.SIGCHLD)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def descendants(root: int) -> list[int]:
    """The process ids of all children of ``root``, their children, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                # The name in parentheses may hold spaces and parentheses itself.
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[int] = []
    pending = [root]
    while pending:
        pending += (below := children.get(pending.pop(), []))
        found += below
    return found


def _reap(program: int) -> int | None:
    """Collect every child that has ended; the program's exit status when it is among them."""
    status: int | None = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, raw = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == program:
                code = os.waitstatus_to_exitcode(raw)
                status = code if code >= 0 else 128 - code
    return status


def _kill_everything() -> None:
    # As a subreaper this process inherits orphans, so that the tree below it is complete until it is empty.
    while living := descendants(os.getpid()):
        for pid in living:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


def _given_environment() -> dict[bytes, bytes]:
    # Not os.environ: in a C locale the interpreter adds LC_CTYPE to its own.
    entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    return {name: value for name, found, value in (entry.partition(b"=") for entry in entries) if found}


def _start(argv: list[str]) -> int:
    sandbox = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != sandbox:
            os._exit(KILLED)
        for number in _HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        os.execvpe(argv[0], argv, _given_environment())
    except OSError as error:
        sys.stderr.write(f"can't start {argv[0]}: {error.strerror}\n")
        sys.stderr.flush()
    os._exit(NOT_STARTED)


def main(lifeline: int, argv: list[str]) -> int:
    """Start the program and answer its exit status once nothing of it is left."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    os.set_inheritable(lifeline, False)
    # Signals arrive through a pipe, so that one select waits for them and for the end of the server.
    arrived, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    for number in _HANDLED:
        signal.signal(number, lambda *_: None)
    program = _start(argv)
    status: int | None = None
    while status is None:
        ready, _, _ = select.select([arrived, lifeline], [], [])
        numbers = set(os.read(arrived, 4096)) if arrived in ready else set()
        if lifeline in ready or signal.SIGUSR1 in numbers:
            status = KILLED
            break
        for passed_on in numbers.intersection(_PASSED_ON):
            with contextlib.suppress(ProcessLookupError):
                os.kill(program, passed_on)
        status = _reap(program)
    _kill_everything()
    return status


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
