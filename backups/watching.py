"""What long work tells whoever started it: how far it is, and what is worth a line."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Protocol

from backups.progress import Progress
from backups.records import Result


class Meter:
    """How much of a copy was read. Written by one thread and read by any."""

    def __init__(self, name: str, total: int) -> None:
        self.name = name
        self.total = total
        """Bytes of the copy."""
        self.bytes = 0
        self.started = time.monotonic()


class Watch(Protocol):
    """Whoever shows it. Its methods are called from several threads."""

    def follow(self, what: Progress | Meter) -> AbstractContextManager[None]:
        """Show how far this is, as long as the block lasts."""

    def done(self, result: Result) -> None:
        """A source has ended."""

    def note(self, text: str) -> None:
        """Something worth knowing."""

    def warn(self, text: str) -> None:
        """Something that went wrong without ending the work."""
