"""The stream of a folder on another host: its parts, taken out of the staging area as they come.

    host: tar ─> parts ─curl─> staging area ─> [receiver, a thread here] ─socket─> whoever reads the stream
                          └── lease: which parts may come ──┘

The stream is whole when the host's last word is there and says so, and the sum of each part is that of what arrived.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from backups import ssm, staging
from backups.errors import BackupsError, SourceError, StoppedError
from backups.sources.base import SourceStream
from backups.sources.host_words import LastWord, complaint, too_long
from backups.sources.tar import shown

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

log = logging.getLogger("backups.sources.host_stream")

_FETCHERS = 3
FETCH_BYTES = 6 << 20
"""Parts are read in pieces of this size, so many at once: what they take in memory, however large a part is."""
_BUFFER = 1 << 20
_LEAVE_SECONDS = 30.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0


@dataclass(frozen=True)
class Pace:
    """Sizes, and times in seconds."""

    part_bytes: int = 64 << 20
    """Large, since each costs the host a few processes."""
    window: int = 8
    """How many parts may wait in the staging area."""
    beat: int = 20
    """The lease is written, and read by the host, so often."""
    silence: int = 600
    """Without a new lease for so long the host gives up."""
    uploads: int = 4
    """The host sends so many parts at once; each waits on its disk until it is sent."""
    tries: int = 7
    """The host tries to send each part so often."""
    status: float = 5.0
    """While nothing comes, the command is looked at so often."""
    ping: float = 60.0
    """While nothing comes, the agent is looked at so often."""


@dataclass(frozen=True)
class Request:
    """What is asked of a host, and of whom."""

    path: PurePosixPath
    """Of the folder, there."""
    host: str
    """Its id."""
    limit: int
    """Seconds that it may take."""
    pace: Pace

    @property
    def where(self) -> str:
        """How errors begin."""
        return f"{shown(self.path)} on {self.host}"


@dataclass(frozen=True)
class Staged:
    """A stream on its way."""

    area: staging.Area
    lease: staging.Lease
    command: ssm.RemoteCommand
    client: SSMClient


class HostStream(SourceStream):
    """The archive as it arrives."""

    def __init__(self, request: Request, staged: Staged, warnings: list[str]) -> None:
        self._request = request
        self._staged = staged
        self._warnings = warnings
        self._last_word: LastWord | None = None
        self._error: BaseException | None = None
        self._over = threading.Event()
        self._receiver = _Receiver(request, staged, self._over, time.monotonic() + request.limit)
        # A socket, since it can be shut down from any thread while others read and write.
        self._outlet, self._inlet = socket.socketpair()
        self._inlet.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER)
        self._thread = threading.Thread(target=self._run, name=f"from {request.host}", daemon=True)
        self._thread.start()

    def fileno(self) -> int:
        return self._outlet.fileno()

    def finish(self, size: int, tail: bytes) -> list[str]:  # noqa: ARG002 - the host's last word says more than the end
        self._thread.join()
        if self._error is not None:
            raise self._error
        if self._last_word is None:
            raise StoppedError()
        return self._warnings + self._last_word.judge(self._request, size, self._receiver.sums)

    def kill(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._inlet.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.kill()
        self._thread.join(_LEAVE_SECONDS)
        self._staged.lease.close()
        if self._last_word is None:  # whatever it says, a host that has said it is tidying up
            end(self._staged.command)
        clear(self._staged.area)
        self._inlet.close()
        self._outlet.close()

    def _run(self) -> None:
        try:
            self._last_word = self._receiver.receive(self._inlet)
        except BaseException as error:
            self._error = error
        finally:
            with contextlib.suppress(OSError):
                self._inlet.shutdown(socket.SHUT_WR)  # the end of the stream, good or bad: finish tells


@dataclass(frozen=True)
class _Piece:
    """Bytes of a part."""

    part: int
    start: int
    size: int
    last: bool
    """Whether the part ends with it."""


class _Receiver:
    """Takes parts as they come, in order, and hands them on."""

    def __init__(self, request: Request, staged: Staged, over: threading.Event, deadline: float) -> None:
        self._request = request
        self._staged = staged
        self._over = over
        self._deadline = deadline
        self._arrived = 0
        self._ended = False
        self._wanted: deque[_Piece] = deque()
        """What has arrived and is not on its way to us yet."""
        self._sum = staging.Cksum()
        self.sums: list[str] = []
        """Of the parts that were handed on, as the host writes them."""
        self._starved = _Starved(request, staged)

    def receive(self, sink: socket.socket) -> LastWord:
        """Everything, up to the last word. Raises BackupsError."""
        area = self._staged.area
        queue: deque[tuple[_Piece, Future[bytes]]] = deque()
        look: Future[tuple[dict[int, int], bool]] | None = None
        with ThreadPoolExecutor(_FETCHERS + 2, "part") as pool:
            while True:
                self._check()
                self._fetch_more(pool, queue)
                if look is None and not self._wanted and not self._ended:
                    look = pool.submit(area.arrived, self._arrived)  # while others are handed on
                if queue:
                    self._starved.fed()
                    piece, fetched = queue.popleft()
                    data = fetched.result()
                    self._fetch_more(pool, queue)
                    self._hand_on(piece, data, sink)
                    del data, fetched
                    if piece.last:
                        pool.submit(area.remove, piece.part).add_done_callback(_logged)
                elif look is None:
                    return LastWord.parse(area.last_word(), self._request)
                if look is not None and (look.done() or not queue):
                    news = self._note(*look.result())
                    look = None
                    if not news and not queue:
                        self._over.wait(self._starved.pause())

    def _fetch_more(self, pool: ThreadPoolExecutor, queue: deque[tuple[_Piece, Future[bytes]]]) -> None:
        while self._wanted and len(queue) < _FETCHERS:
            piece = self._wanted.popleft()
            queue.append((piece, pool.submit(self._staged.area.fetch, piece.part, piece.start, piece.size)))

    def _check(self) -> None:
        if self._over.is_set():
            raise StoppedError
        if time.monotonic() > self._deadline:
            raise too_long(self._request)

    def _note(self, sizes: dict[int, int], ended: bool) -> bool:
        """What a look has found: the size of each part; whether there was anything new."""
        before = (self._arrived, self._ended)
        self._ended = ended
        while size := sizes.get(self._arrived + 1):
            self._arrived += 1
            for start in range(0, size, FETCH_BYTES):
                length = min(FETCH_BYTES, size - start)
                self._wanted.append(_Piece(self._arrived, start, length, start + length == size))
        # The host begins with a part only when the one that many before it was sent.
        if max(sizes, default=0) > self._arrived + self._request.pace.uploads:
            raise SourceError(f"{self._request.where}: part {self._arrived + 1} was lost in the staging area")
        return (self._arrived, self._ended) != before

    def _hand_on(self, piece: _Piece, data: bytes, sink: socket.socket) -> None:
        try:
            sink.sendall(data)
        except OSError:  # whoever read is gone
            raise StoppedError from None
        self._sum.add(data)
        if piece.last:
            self.sums.append(f"{self._sum.value} {self._sum.size}")
            self._sum = staging.Cksum()
            self._staged.lease.advance(len(self.sums))


class _Starved:
    """What to do while nothing comes: wait, and find out whether anything will."""

    def __init__(self, request: Request, staged: Staged) -> None:
        self._request = request
        self._staged = staged
        self._pause = _SHORTEST_PAUSE
        self._ended: ssm.Invocation | None = None
        self.fed()

    def fed(self) -> None:
        """Something came."""
        self._pause = _SHORTEST_PAUSE
        self._looked = self._pinged = time.monotonic()

    def pause(self) -> float:
        """Seconds to wait before the next look. Raises BackupsError when nothing will come any more."""
        if self._ended is not None:  # and the look after it has found nothing new either
            raise complaint(self._request, self._ended)
        now = time.monotonic()
        if now - self._looked > self._request.pace.status:
            self._looked = now
            invocation = self._staged.command.look()
            if invocation.ended:
                self._ended = invocation
                return 0
        if now - self._pinged > self._request.pace.ping:
            self._pinged = now
            if not ssm.is_online(self._staged.client, self._request.host):
                raise SourceError(
                    f"{self._request.where}: the SSM agent no longer answers, and nothing more arrives",
                    hint="is the host up, and is it connected?",
                )
        pause, self._pause = self._pause, min(2 * self._pause, _LONGEST_PAUSE)
        return pause


def end(command: ssm.RemoteCommand) -> None:
    """Cancel a command, whatever comes of it."""
    try:
        staging.stop(command)
    except BackupsError as error:
        log.warning("%s", error)


def clear(area: staging.Area) -> None:
    """Empty an area; what stays for lack of a network expires after a day."""
    try:
        area.clear()
    except BackupsError as error:
        log.warning("%s", error)


def _logged(removal: Future[None]) -> None:
    if error := removal.exception():
        log.warning("%s", error)
