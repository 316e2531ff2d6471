"""What every place that a restore can go to promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

from backups.restoring.decoding import Decoding

_BLOCK_BYTES = 1 << 20


class Target(ABC):
    """A place for plain data. ``take`` returned: it is there, whole."""

    dirty: bool = False
    """Something was given out that can't be taken back."""
    aftermath: str = ""
    """What to say about that."""

    @abstractmethod
    def check(self) -> None:
        """Look before anything is read. Raises UsageError."""

    @abstractmethod
    def take(self, decoded: Decoding) -> list[str]:
        """Take the plain data. Returns warnings. Raises RestoreError, and what ``Decoding.finish`` raises."""


def pump(decoded: Decoding, write: Callable[[bytes], object]) -> None:
    """Hand all plain data to ``write``, in blocks."""
    while block := decoded.output.read(_BLOCK_BYTES):
        write(block)
