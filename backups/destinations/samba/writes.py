"""Writes on their way to a share: several at once, so that the server works while the next request is made."""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from smbprotocol.exceptions import SMBResponseException

from backups.destinations.samba.request import Requests, packs

WRITE_BYTES = 4 << 20
"""One request. Smaller ones are slower, larger ones only need more memory."""

IN_FLIGHT = 3
"""Requests that may be without an answer. What they hold is kept, to be written again when the connection breaks."""

CREDIT_BYTES = 64 << 10
"""What one of the credits that a server grants is good for."""


def credit(fd: Any) -> int:
    """Bytes that the server would take, or give, now."""
    window = fd.connection.sequence_window
    return int(window["high"] - window["low"]) * CREDIT_BYTES


def post(fd: Any, message: Any) -> Any:
    """Send a request of the library about this open file; its answer is waited for later."""
    tree = fd.tree_connect
    return fd.connection.send(message, sid=tree.session.session_id, tid=tree.tree_connect_id)


@dataclass(frozen=True)
class _Write:
    offset: int
    data: memoryview
    request: Any = None


class Writes:
    """What has no answer yet, in order. One thread uses it; it raises what the client raises."""

    def __init__(self) -> None:
        self._file: Any = None
        self._requests = Requests(WRITE_BYTES)
        self._sent: deque[_Write] = deque()
        self._unsent: deque[_Write] = deque()

    def add(self, offset: int, data: bytes) -> None:
        """To be written by ``advance``."""
        self._unsent.append(_Write(offset, memoryview(data)))

    def advance(self, file: Any, most: int) -> None:
        """Send everything to this open file, and wait until at most ``most`` requests are without an answer.

        Another file than before means that the connection broke: then what had no answer is sent again.
        """
        if file is not self._file:
            self._file = file
            self._unsent.extendleft(reversed(self._sent))
            self._sent.clear()
        while self._unsent or len(self._sent) > most:
            if self._unsent and (self._room() or not self._sent):
                self._send()
            else:
                self._receive()

    def leave_credit(self, file: Any) -> None:
        """Wait until this connection takes a request of another kind, too: writes may have taken all its credit."""
        while file is self._file and self._sent and not credit(file.fd):
            self._receive()

    def settle(self) -> None:
        """Wait for the answers to what was sent, whatever they say: they bring the credit that any request needs."""
        self._unsent.clear()
        while self._sent:
            request = self._sent.popleft().request
            with suppress(SMBResponseException):
                self._file.fd._write_response(request)

    def clear(self) -> None:
        """Forget everything."""
        self._sent.clear()
        self._unsent.clear()

    def _room(self) -> bool:
        """Whether the server takes the next one now, without cutting it into smaller ones than it has to be in."""
        return credit(self._file.fd) >= min(len(self._unsent[0].data), int(self._file.fd.connection.max_write_size))

    def _send(self) -> None:
        """Send the next one, or as much of it as the server takes."""
        write, fd = self._unsent[0], self._file.fd
        size = min(len(write.data), int(fd.connection.max_write_size), max(credit(fd), CREDIT_BYTES))
        request = self._request(write.data[:size], write.offset)
        self._unsent.popleft()  # only now: until then it would be lost with the connection
        if size < len(write.data):
            self._unsent.appendleft(_Write(write.offset + size, write.data[size:]))
        self._sent.append(_Write(write.offset, write.data[:size], request))

    def _request(self, data: memoryview, offset: int) -> Any:
        fd = self._file.fd
        if packs(fd):
            return self._requests.send(fd, data, offset)
        message, _ = fd.write(bytes(data), offset=offset, send=False)
        return post(fd, message)

    def _receive(self) -> None:
        """Wait for the oldest one's answer; what the server did not take of it is sent again."""
        write, fd = self._sent[0], self._file.fd
        taken = fd._write_response(write.request)
        self._sent.popleft()
        fd.end_of_file = max(fd.end_of_file, write.offset + taken)  # else it reads nothing beyond
        if taken < len(write.data):
            self._unsent.appendleft(_Write(write.offset + taken, write.data[taken:]))
