"""Reads from a share, the next one on its way while an answer is used: so server, receiver and caller work at once."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from smbprotocol.exceptions import SMBResponseException

from backups.destinations.samba.writes import CREDIT_BYTES, credit, post

READ_BYTES = 1 << 20
"""One request. The library copies an answer several times, which for larger ones is slower and needs more memory."""

IN_FLIGHT = 4
"""Requests that may be without an answer."""

Place = tuple[int, int]
"""Offset and size in bytes."""


@dataclass(frozen=True)
class _Read:
    place: int
    offset: int
    size: int
    request: Any


def read_ahead(fd: Any, places: Iterable[Place]) -> Iterator[tuple[int, bytes]]:
    """Bytes of an open file with the offset of the place they are of, which has one block or more, in order.

    Fewer bytes than asked for come where the server has no more. Raises what the client raises.
    """
    wanted = deque((offset, offset, size) for offset, size in places)
    sent: deque[_Read] = deque()
    try:
        while wanted or sent:
            if wanted and len(sent) < IN_FLIGHT and (not sent or credit(fd) >= _most(fd, wanted[0][2])):
                place, offset, size = wanted.popleft()
                part = min(_most(fd, size), max(credit(fd), CREDIT_BYTES))
                if part < size:
                    wanted.appendleft((place, offset + part, size - part))
                sent.append(_ask(fd, place, offset, part))
                continue
            read = sent.popleft()
            block = fd._read_response(read.request)
            if 0 < len(block) < read.size:
                sent.appendleft(_ask(fd, read.place, read.offset + len(block), read.size - len(block)))
            yield read.place, block
    except SMBResponseException:
        for read in sent:  # their answers bring the credit that any request needs
            with suppress(SMBResponseException):
                fd._read_response(read.request)
        raise


def _most(fd: Any, size: int) -> int:
    return min(size, READ_BYTES, int(fd.connection.max_read_size))


def _ask(fd: Any, place: int, offset: int, size: int) -> _Read:
    message, _ = fd.read(offset, size, send=False)
    return _Read(place, offset, size, post(fd, message))
