"""The stream of a source that is one child process, such as tar or mysqldump."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from backups.commands import Command
from backups.sources.base import SourceStream

EndCheck = Callable[[int, bytes], list[str]]
"""Looks at the size and the last bytes of a dump that ended with status 0; returns warnings or raises SourceError."""


class CommandStream(SourceStream):
    """A child's stdout, complete when the child ended well and the check of the end found nothing wrong."""

    def __init__(
        self,
        command: Command,
        *,
        check: EndCheck | None = None,
        tail_bytes: int = 0,
        size_bound: int | None = None,
        warnings: Sequence[str] = (),
        private: Path | None = None,
    ) -> None:
        """``warnings`` were found before the start; ``private`` is a directory to remove at the end."""
        self.tail_bytes = tail_bytes
        self.size_bound = size_bound
        self._command = command
        self._check = check
        self._warnings = list(warnings)
        self._private = private

    def fileno(self) -> int:
        return self._command.stdout.fileno()

    def finish(self, size: int, tail: bytes) -> list[str]:
        found = self._command.wait()
        if self._check is not None:
            found += self._check(size, tail)
        return self._warnings + found

    def kill(self) -> None:
        self._command.kill()

    def close(self) -> None:
        self._command.close()
        if self._private is not None:
            shutil.rmtree(self._private, ignore_errors=True)
