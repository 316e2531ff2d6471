"""What a source is: something that opens as one stream of plain bytes, and knows whether that stream was whole."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from types import TracebackType
from typing import ClassVar, Self

from pydantic import Field, SecretStr

from backups.config import Identifier, Plugin, Positive
from backups.context import Context
from backups.naming import Compression


class SourceStream(ABC):
    """A stream of plain bytes that counts as complete only after ``finish`` returned.

    Use it as a context manager: leaving the block ends every child and removes every file that opening made.
    """

    tail_bytes: int = 0
    """How many of the last bytes ``finish`` wants to see; with 0 the kernel moves the data without a copy."""

    size_bound: int | None = None
    """An upper bound of the plain bytes, from which destinations choose part sizes; None when unknown."""

    @abstractmethod
    def fileno(self) -> int:
        """The descriptor to read from."""

    @abstractmethod
    def finish(self, size: int, tail: bytes) -> list[str]:
        """Call at end of file. Waits for the status and checks the end of the dump.

        Returns warnings for the report. Raises SourceError or CommandError when the stream was not whole.
        """

    @abstractmethod
    def kill(self) -> None:
        """End the children at once. Safe from any thread and more than once."""

    @abstractmethod
    def close(self) -> None:
        """Kill what still runs and remove what opening made."""

    def settle(self, stored: bool) -> None:  # noqa: B027 - most leave nothing at the source
        """Called once, after ``close``: whether a verified copy stands at any destination.

        A source that made something which outlives the run, such as a snapshot, counts it as good only now, or
        removes it. Raises SourceError when it can't be made to count: then the source has failed.
        """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Source(Plugin, ABC):
    """The part of the job file that describes one source."""

    left_when_killed: ClassVar[str] = ""
    """For the report: what a worker that was killed may leave that nobody removes at once; mostly nothing."""

    name: str = ""
    """Description of the data, for reports; the id when missing."""

    passphrase: SecretStr | None = Field(None, min_length=1)
    """Passphrase to encrypt with (GnuPG, symmetric AES256). Give this or `recipients`, here or in `encryption`."""

    recipients: tuple[str, ...] | None = Field(None, min_length=1)
    """OpenPGP public keys to encrypt for: each an armored key, or the path of a file that holds one."""

    compression: Compression | None = None
    """How to compress this source; the job's `compression` when missing."""

    time_limit: Positive | None = None
    """Seconds after which reading this source is given up; the job's `time_limit` when missing."""

    @property
    def title(self) -> str:
        """How reports call it."""
        return self.name or self.id

    @property
    @abstractmethod
    def extension(self) -> str:
        """What the plain data is: ``sql``, ``tar`` or ``json``; part of the object key."""

    @property
    def opening_limit(self) -> int:
        """Seconds that ``open`` may take before the time limit begins, as when something must be restored first."""
        return 0

    @property
    def leaves_something(self) -> bool:
        """Whether a worker that dies leaves something behind that costs money, and that others must remove."""
        return False

    def hints(self) -> Iterable[str]:
        """What is slow, risky or no longer possible in it; each begins with the name of a field."""
        return ()

    @abstractmethod
    def open(self, context: Context) -> SourceStream:
        """Start reading. Called on a copy whose references are resolved. Raises SourceError or CommandError."""

    def expanded(self) -> tuple[Source, ...]:
        """The sources that it stands for, each with an id and a copy of its own; most stand for themselves."""
        return (self,)

    def tools(self) -> dict[str, str]:
        """Versions of the programs used, for the manifest."""
        return {}


__all__ = ["Identifier", "Source", "SourceStream"]
