"""Client programs that take a dump: written to, waited for, and ended when something goes wrong."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import IO, Self

from backups.commands import Command
from backups.context import Cancel


class RestoreClients(ABC):
    """Clients that take a dump: ``write`` all of it, then call ``finish``.

    A ``write`` that raises BrokenPipeError means that a client gave up: ``finish`` says why. Leaving the block before
    ``finish`` returned ends the clients and takes back what they did, as far as it was not there before.
    """

    def __init__(self, commands: Sequence[Command], *, cancel: Cancel, cleanup: contextlib.ExitStack) -> None:
        """``commands`` are joined by pipes, and the first takes the dump. ``cleanup`` removes files that they need."""
        self._commands = commands
        self._cleanup = cleanup
        self._forget = cancel.on_stop(self.kill)

    def write(self, block: bytes) -> None:
        """Pass a block on."""
        write_all(self._commands[0].stdin, block)

    @abstractmethod
    def finish(self) -> None:
        """Write the end and wait until the server has run all of it. Raises RestoreError unless all went well."""

    def kill(self) -> None:
        """End the clients at once. Safe from any thread and more than once."""
        for command in reversed(self._commands):  # who reads must not take another's end for the end of the dump
            command.kill()

    def close(self) -> None:
        """End the clients, and take a half restore back. Raises RestoreError if that can't be done."""
        self._forget()
        self.end()
        try:
            self._take_back()
        finally:
            self._cleanup.close()

    def end(self) -> None:
        """Kill what still runs, and wait for it."""
        self.kill()
        for command in self._commands:
            command.close()

    @abstractmethod
    def _take_back(self) -> None:
        """Undo a restore that has not finished; nothing after one that has. Raises RestoreError."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def write_all(pipe: IO[bytes], block: bytes) -> None:
    """Write a block, however little the pipe takes at once."""
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(pipe.fileno(), rest) :]
