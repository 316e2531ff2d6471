"""The SSM agent of a host in the embedded cloud: runs the script of a command, and tells how it ended."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from local_cloud.hosts import Host
from local_cloud.processes import Sandboxed

_POLL_SECONDS = 0.05
_STDOUT_CHARACTERS, _STDERR_CHARACTERS = 24_000, 8_000


@dataclass
class Order:
    """A script for one host."""

    id: str
    script: str
    delivery_seconds: float
    execution_seconds: float
    status: str = "Pending"
    details: str = "Pending"
    code: int = -1
    stdout: str = ""
    stderr: str = ""
    cancelled: threading.Event = field(default_factory=threading.Event)

    def end(self, status: str, details: str, code: int) -> None:
        """What becomes of it; the status is last, so that whoever sees it sees the rest."""
        self.code, self.details, self.status = code, details, status


def carry_out(host: Host, order: Order) -> None:
    """What the agent does with a command, from its delivery to its end."""
    end = time.monotonic() + order.delivery_seconds
    while not host.online:
        if order.cancelled.wait(_POLL_SECONDS):
            order.end("Cancelled", "Cancelled", -1)
            return
        if time.monotonic() > end:
            order.end("TimedOut", "DeliveryTimedOut", -1)
            return
    order.status = order.details = "InProgress"
    directory = host.commands / order.id
    directory.mkdir(mode=0o700)
    (directory / "_script.sh").write_text(order.script)
    sandbox = _start(host, directory)
    process = host.commands / f"{order.id}.pid"
    process.write_text(f"{sandbox.pid}\n")
    end = time.monotonic() + order.execution_seconds
    outcome = ("Success", "Success")
    while sandbox.status is None:
        if order.cancelled.wait(_POLL_SECONDS):
            outcome = ("Cancelled", "Cancelled")
        elif time.monotonic() > end:
            outcome = ("TimedOut", "ExecutionTimedOut")
        else:
            continue
        sandbox.kill()
    process.unlink()
    while not host.online:  # an agent that is gone tells nothing
        time.sleep(_POLL_SECONDS)
    code = sandbox.wait()
    order.stdout, order.stderr = (
        _said(directory / "stdout", _STDOUT_CHARACTERS),
        _said(directory / "stderr", _STDERR_CHARACTERS),
    )
    if outcome[0] == "Success" and code != 0:
        outcome = ("Failed", "Failed")
    order.end(*outcome, code)


def _start(host: Host, directory: Path) -> Sandboxed:
    inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    split = 'exec sh "$0/_script.sh" >"$0/stdout" 2>"$0/stderr"'  # the agent keeps the two apart
    return Sandboxed(
        ["sh", "-c", split, str(directory)],
        environment={**inherited, "HOME": str(host.directory), "TMPDIR": str(host.directory / "tmp")},
        directory=host.directory,
        output=directory / "log",
    )


def _said(path: Path, most: int) -> str:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(errors="replace")[:most]
    return ""
