"""Reads a file as one stream, going on where a lost connection left off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import smbclient

from backups.destinations.samba.errors import LostError
from backups.destinations.samba.link import Link, Links
from backups.destinations.samba.names import to_names
from backups.errors import DestinationError, MissingError

READ_BYTES = 1 << 20


@dataclass
class _Reading:
    """An open file, and what tells it from another one of the same name."""

    link: Link
    file: Any
    identity: tuple[Any, int]


class _Reader:
    def __init__(self, links: Links, key: str) -> None:
        self._links = links
        self._key = key
        self._names = to_names(key)
        self._offset = 0
        self._identity: tuple[Any, int] | None = None
        self._reading: _Reading | None = None

    def next(self) -> bytes:
        """The next block; empty at the end. Raises LostError, after which it may be called again."""
        try:
            reading = self._reading = self._reading or self._open()
            with reading.link.answering(f"{self._key} can't be read"):
                block = bytes(reading.file.read(READ_BYTES))
        except LostError:
            self.close()
            raise
        self._offset += len(block)
        return block

    def _open(self) -> _Reading:
        link = self._links.take()
        try:
            with link.answering(f"{self._key} can't be read"):
                path = link.share.path(self._names)
                file = smbclient.open_file(path, mode="rb", buffering=0, share_access="rwd", **link.options)
        except LostError:
            self._links.lost(link)
            raise
        except MissingError:
            self._links.give_back(link)
            raise MissingError(link.share.about(f"there is no {self._key}")) from None
        except BaseException:
            self._links.give_back(link)
            raise
        reading = _Reading(link, file, (file.fd.creation_time, file.fd.end_of_file))
        if self._identity not in (None, reading.identity):
            self._reading = reading
            raise DestinationError(
                link.share.about(f"{self._key} was replaced while it was read"), hint="read it again", permanent=True
            )
        self._identity = reading.identity
        file.seek(self._offset)
        return reading

    def close(self) -> None:
        """Give the connection back, or up if it is gone."""
        reading, self._reading = self._reading, None
        if reading is None:
            return
        try:
            with reading.link.answering(f"{self._key} can't be closed"):
                reading.file.close()
        except DestinationError:
            with suppress(AttributeError):
                reading.file.fd._connected = False  # else it complains that nobody closed it
            self._links.lost(reading.link)
        else:
            self._links.give_back(reading.link)


def read_file(links: Links, key: str) -> Iterator[bytes]:
    """Blocks of up to 1 MiB. Raises MissingError; DestinationError when it breaks off or is replaced meanwhile."""
    reader = _Reader(links, key)
    try:
        while block := links.persist(reader.next):
            yield block
    finally:
        reader.close()
