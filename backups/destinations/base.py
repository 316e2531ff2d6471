"""What a destination is: a place for objects by key, where an object appears whole and verified or not at all."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import ClassVar, Self

from backups.config import Flag, NotNegative, Plugin, Positive
from backups.context import Context
from backups.retention import KeepRules


@dataclass(frozen=True)
class StoredObject:
    """A complete object, as a listing tells of it."""

    key: str
    size: int
    modified: dt.datetime
    locked_until: dt.datetime | None = None
    """Until when the destination refuses to remove it; see ``Destination.with_locks``."""


def reaches(directory: str, prefix: str, after: str = "") -> bool:
    """Whether a directory, given as a key that ends in a slash, may hold keys of a prefix that are greater."""
    return (directory.startswith(prefix) or prefix.startswith(directory)) and (
        directory > after or after.startswith(directory)
    )


class Upload(ABC):
    """One object on its way. Nothing shows under its key before ``commit`` returned.

    One thread uses it. After an error from ``write`` or ``commit`` the only call left is ``abort``.
    """

    @abstractmethod
    def write(self, block: bytes) -> None:
        """Take the next bytes; may wait for the network. Raises DestinationError."""

    @abstractmethod
    def commit(self, size: int, sha256: str) -> str:
        """Make the object visible, after checking that the destination holds exactly these bytes.

        Returns how it was verified, in a few words for the report. Raises DestinationError or VerificationError,
        and then nothing shows, or what showed before still does.
        """

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing behind. Never raises, does nothing after ``commit`` returned, may be called twice."""


class Destination(ABC):
    """An open connection to a place. Its methods may be called from several threads at once."""

    parallel: ClassVar[int] = 1
    """How many listings at a time are quicker than one after the other."""

    @abstractmethod
    def create(self, key: str, *, size_bound: int | None = None) -> Upload:
        """Begin an object; an existing one under the key stays until the commit. Raises DestinationError."""

    @abstractmethod
    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Complete objects whose key starts with ``prefix``, in the order of their keys. Raises DestinationError."""

    def list_after(self, prefix: str, after: str) -> Iterator[StoredObject]:
        """Those of ``list`` whose key is greater than ``after``: so a listing that was left goes on."""
        return (stored for stored in self.list(prefix) if stored.key > after)

    def with_locks(self, listed: Iterable[StoredObject]) -> Iterator[StoredObject]:
        """Objects of a listing, in their order, each with the end of its lock where ``list`` does not tell it.

        Asking costs a request for each object at some destinations. Raises DestinationError.
        """
        return iter(listed)

    @abstractmethod
    def read(self, key: str) -> Iterator[bytes]:
        """The object's bytes in large blocks. Raises MissingError, and DestinationError when it breaks off."""

    @abstractmethod
    def remove(self, keys: Iterable[str]) -> dict[str, str]:
        """Remove objects; one that is gone already is no error. Returns those refused, each with the reason."""

    def close(self) -> None:  # noqa: B027 - most have nothing to end
        """End the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class DestinationConfig(Plugin, ABC):
    """The part of the job file that describes one destination."""

    retention_copies: Positive | None = None
    """How many backups of each source to keep. Together with `retention_days` a copy must be within both."""

    retention_days: Positive | None = None
    """For how many days to keep backups."""

    retention: KeepRules | None = None
    """Rules by last, age, day, week, month and year: a copy stays while any of them keeps it."""

    retention_minimum: NotNegative | None = None
    """The newest verified backups that always stay, whatever the rules say; 1 when missing."""

    retention_legacy: Flag = False
    """Apply retention to what the old tool stored as `{id}/{stamp}/{id}.sql.gpg` too. Nothing in such a key names its
    host: leave it off where another host stores a source of the same id."""

    @abstractmethod
    def connect(self, context: Context) -> Destination:
        """Open it. Called on a copy whose references are resolved. Raises DestinationError."""
