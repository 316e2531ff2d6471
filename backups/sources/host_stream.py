"""The stream of a folder on another host: its parts, taken out of the staging area as they come.

    host: tar ─> parts ─curl─> staging area ─> [receiver, a thread here] ─socket─> whoever reads the stream
                          └── lease: which parts may come ──┘

The stream is whole when the host's last word is there and says so: tar's status, how many parts and bytes, and the
sum of each, all of which must be those that arrived.
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
from backups.errors import BackupsError, CommandError, SourceError, StoppedError
from backups.sources.base import SourceStream
from backups.sources.tar import archive_warnings, shown

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient

log = logging.getLogger("backups.sources.host_stream")

_FETCHERS = 3
FETCH_BYTES = 8 << 20
"""Parts are read in pieces of this size, so many at once: what they take in memory, however large a part is."""
_BUFFER = 1 << 20
_LEAVE_SECONDS = 30.0
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.05, 1.0
_REASONS = {
    3: ("does not exist", "correct 'path', or mount what should be there"),
    4: ("is neither a folder nor a file", "correct 'path'"),
}
_HINTS = {
    5: "install it on the host",
    6: "the host must reach S3: check its route, proxy and firewall, and the VPC endpoint's policy",
    7: "the worker, or its network, was gone for too long",
    8: "make room on the host: a few parts wait there until they are sent",
}


@dataclass(frozen=True)
class Pace:
    """Sizes, and times in seconds."""

    part_bytes: int = 32 << 20
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
        self._deadline = time.monotonic() + request.limit
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
        return self._warnings + self._last_word.judge(self._request, size)

    def kill(self) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._inlet.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.kill()
        self._thread.join(_LEAVE_SECONDS)
        self._staged.lease.close()
        if self._last_word is None:
            end(self._staged.command)
        clear(self._staged.area)
        self._inlet.close()
        self._outlet.close()

    def _run(self) -> None:
        try:
            receiver = _Receiver(self._request, self._staged, self._over, self._deadline)
            self._last_word = receiver.receive(self._inlet)
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
        self._sums: list[str] = []
        self._starved = _Starved(request, staged)

    def receive(self, sink: socket.socket) -> LastWord:
        """Everything, up to the last word. Raises BackupsError."""
        area = self._staged.area
        free = deque(memoryview(bytearray(FETCH_BYTES)) for _ in range(_FETCHERS))  # used again and again
        queue: deque[tuple[_Piece, memoryview, Future[None]]] = deque()
        look: Future[tuple[dict[int, int], bool]] | None = None
        with ThreadPoolExecutor(_FETCHERS + 2, "part") as pool:
            while True:
                self._check()
                while self._wanted and free:
                    piece, buffer = self._wanted.popleft(), free.popleft()
                    into = buffer[: piece.size]
                    queue.append((piece, buffer, pool.submit(area.fetch, piece.part, piece.start, into)))
                if look is None and not self._wanted and not self._ended:
                    look = pool.submit(area.arrived, self._arrived)  # while others are handed on
                if queue:
                    self._starved.fed()
                    piece, buffer, fetched = queue.popleft()
                    fetched.result()
                    self._hand_on(piece, buffer[: piece.size], sink)
                    free.append(buffer)
                    if piece.last:
                        pool.submit(area.remove, piece.part).add_done_callback(_logged)
                elif look is None:
                    return self._last_word(area)
                if look is not None and (look.done() or not queue):
                    news = self._note(*look.result())
                    look = None
                    if not news and not queue:
                        self._over.wait(self._starved.pause())

    def _check(self) -> None:
        if self._over.is_set():
            raise StoppedError
        if time.monotonic() > self._deadline:
            raise _too_long(self._request)

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

    def _hand_on(self, piece: _Piece, data: memoryview, sink: socket.socket) -> None:
        try:
            sink.sendall(data)
        except OSError:  # whoever read is gone
            raise StoppedError from None
        self._sum.add(data)
        if piece.last:
            self._sums.append(f"{self._sum.value} {self._sum.size}")
            self._sum = staging.Cksum()
            self._staged.lease.advance(len(self._sums))

    def _last_word(self, area: staging.Area) -> LastWord:
        word = LastWord.parse(area.last_word(), self._request)
        if word.sums != self._sums:
            raise SourceError(
                f"{self._request.where}: {len(self._sums)} parts arrived, and they are not the {len(word.sums)} that "
                "the host sent",
                hint="run the job again; if it recurs, look at what is between the host and S3",
            )
        return word


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
            raise _complaint(self._request, self._ended)
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


@dataclass(frozen=True)
class LastWord:
    """What the host says at the end of the stream."""

    status: int
    """Of tar."""
    sums: list[str]
    """``cksum`` of each part: the sum and the size."""
    said: str
    """The last lines of tar."""

    @classmethod
    def parse(cls, text: str, request: Request) -> LastWord:
        """Raises SourceError when it is not what the document's script writes."""
        try:
            (_, status), (_, parts), (_, size), *_ = (line.split() for line in text.split("\n", 3)[:3])
            *sums, said = text.split("\n", 3 + int(parts))[3:]
            word = cls(int(status), sums, said)
            sizes = [int(line.split()[1]) for line in sums]
        except (ValueError, IndexError):
            sizes, size = [], "?"
        if len(sizes) == 0 or sum(sizes) != int(size if size.isdigit() else -1):
            raise SourceError(f"{request.where}: the host's last word can't be read", hint="deploy the stack again")
        return word

    def judge(self, request: Request, size: int) -> list[str]:
        """Warnings for the report. Raises CommandError or SourceError when the archive is not whole."""
        if self.status not in (0, 1):
            how = "was killed" if self.status > 128 else f"ended with exit status {self.status}"
            raise CommandError(f"{request.where}: tar {how}: {'; '.join(self.said.split(chr(10)))}", status=self.status)
        return archive_warnings(request.path, self.said, size, warned=self.status == 1)


def _complaint(request: Request, ended: ssm.Invocation) -> BackupsError:
    if ended.status == "ExecutionTimedOut":
        return _too_long(request)
    if ended.code in _REASONS and ended.status == "Failed":
        reason, hint = _REASONS[ended.code]
        return SourceError(f"{request.where} {reason}", hint=hint)
    said = ended.complaint or "the command ended without its last word"
    return SourceError(f"{request.where}: {said}", hint=_HINTS.get(ended.code, ""))


def _too_long(request: Request) -> SourceError:
    return SourceError(
        f"{request.where}: archiving took longer than {request.limit} s and was given up",
        hint="raise 'time_limit' of the source if it really takes longer",
    )


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
