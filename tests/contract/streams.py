"""Reads a source's stream as the pipeline does, and looks at its children."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

from backups.context import Context
from backups.sources import SourceStream


def read_whole(stream: SourceStream) -> tuple[bytes, list[str]]:
    """Everything up to the end of file, and what ``finish`` returned."""
    data = read_rest(stream)
    return data, stream.finish(len(data), data[-stream.tail_bytes :] if stream.tail_bytes else b"")


def read_rest(stream: SourceStream) -> bytes:
    """What is left up to the end of file."""
    blocks = []
    while block := os.read(stream.fileno(), 1 << 20):
        blocks.append(block)
    return b"".join(blocks)


_SERVERS = ("postgres", "smbd")
"""Whose children come and go by themselves, such as those that vacuum a database."""


def children(of: int | None = None) -> dict[int, str]:
    """Living descendants by process id, each with its command's name.

    Those that ended and wait are left out, and the children of servers.
    """
    found: dict[int, str] = {}
    for task in Path(f"/proc/{of or os.getpid()}/task").iterdir():
        try:
            ids = [int(word) for word in (task / "children").read_text().split()]
        except (FileNotFoundError, ProcessLookupError):
            continue
        for id_ in ids:
            try:
                name, _, rest = Path(f"/proc/{id_}/stat").read_text().partition("(")[2].rpartition(")")
                if rest.split()[0] != "Z":
                    found[id_] = name
                if name not in _SERVERS:
                    found |= children(id_)
            except (FileNotFoundError, ProcessLookupError):
                continue
    return found


@contextlib.contextmanager
def stopped_by_a_hanging_program(context: Context) -> Iterator[str]:
    """The text of a script that has this process told to stop, and then hangs."""
    before = signal.signal(signal.SIGUSR1, lambda *_: context.cancel.set(signal.SIGTERM))
    try:
        yield f"kill -USR1 {os.getpid()}; exec sleep 600"
    finally:
        signal.signal(signal.SIGUSR1, before)
