"""Source -> compress -> encrypt -> every destination at once, in one pass.

    source ─fd─> [feed thread] ─> compressor ─kernel pipe─> gpg ─> [this thread: sha256] ─> lanes, one per destination

Each stage sees the end of its input only after the stage before it ended well: the feed closes the compressor's
input only when the source was whole, so nothing that was cut off ever looks complete. Only encrypted bytes
pass through this process in blocks; plain bytes are moved by the kernel, or looked at for a dump's last line.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from backups.commands import Command
from backups.compression import compress_argv
from backups.context import Context
from backups.encryption import encrypting
from backups.errors import CommandError, DestinationError, SourceError, StoppedError
from backups.fanout import Lane, Patience
from backups.job import Encryption
from backups.naming import Compression
from backups.pacing import Pace
from backups.progress import Progress
from backups.sources.base import SourceStream

BLOCK_BYTES = 1 << 20
"""Encrypted bytes come in blocks of this size, shared by all destinations."""

_END_SECONDS = 600.0
_LEAVE_SECONDS = 5.0


@dataclass(frozen=True)
class Streamed:
    """A stream that was whole."""

    plain_size: int
    size: int
    sha256: str
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """How a source is turned into a copy. ``encryption`` has its references resolved; ``time_limit`` is seconds."""

    compression: Compression
    encryption: Encryption
    time_limit: float
    patience: Patience


class NoDestinationLeftError(DestinationError):
    """Every destination failed, each for a reason of its own."""


class Stages:
    """The children and lanes of one pass: the first failure is what counts, and it ends everything."""

    def __init__(self, source: SourceStream, lanes: Sequence[Lane], children: Sequence[Command]) -> None:
        self.killed = False
        """Whether everything was ended: what fails from then on fails because of that, and tells nothing."""
        self._reason: BaseException | None = None
        self._settled = False
        self._source = source
        self._lanes = lanes
        self._children = children
        self._lock = threading.RLock()  # a signal handler may interrupt the thread that holds it

    def fail(self, reason: BaseException) -> None:
        """End everything because of ``reason``, unless everything was ended before or is whole."""
        with self._lock:
            if not (self.killed or self._settled):
                self._reason = reason
            self.kill()

    def kill(self) -> None:
        """End everything at once: reads end, and waits for room in a lane end. Safe in a signal handler."""
        with self._lock:
            if self._settled:
                return
            self.killed = True
        self._source.kill()
        for child in self._children:
            child.kill()
        for lane in self._lanes:
            lane.abort()

    def settle(self) -> None:
        """Everything was whole; from here on nothing can fail. Raises the reason when something did before."""
        with self._lock:
            if self.killed:
                raise self.cause(StoppedError())
            self._settled = True

    def cause(self, error: BaseException) -> BaseException:
        """What failed first. Without a reason of our own ``error`` is it: a stage that died by itself."""
        return self._reason or error


class Feed:
    """Moves a source's plain bytes into the first stage, in a thread, and closes it only when they were whole."""

    def __init__(self, source: SourceStream, sink: IO[bytes], stages: Stages, progress: Progress) -> None:
        self.warnings: list[str] = []
        self.size = 0
        self._refused = False
        self._source = source
        self._sink = sink
        self._stages = stages
        self._progress = progress
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)
        self._thread.start()

    def join(self, timeout: float) -> None:
        """Wait for the end, at most ``timeout`` seconds, once every stage ended well. Raises when not all was read."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise SourceError(f"the source did not end within {timeout:.0f} s")
        if self._refused:
            raise CommandError("a stage ended with status 0 before it had read all of the data")

    def leave(self) -> None:
        """After a kill: give the thread a moment to let go of the descriptors before they are closed."""
        self._thread.join(_LEAVE_SECONDS)

    def _run(self) -> None:
        try:
            tail = self._copy() if self._source.tail_bytes else self._splice()
            if not self._stages.killed:
                self._finish(tail)
        except BrokenPipeError:
            # A later stage ended. Whoever waits for the stages sees which one and why; killing them now could hide it.
            self._refused = True
            self._source.kill()
        except BaseException as error:
            self._stages.fail(error)

    def _finish(self, tail: bytes) -> None:
        self.warnings = self._source.finish(self.size, tail)
        if self.size == 0:
            raise SourceError("the source gave no data at all", hint="an empty dump is never a backup")
        self._sink.close()

    def _splice(self) -> bytes:
        source, sink = self._source.fileno(), self._sink.fileno()
        # Once killed the descriptors may be closed, and their numbers used again: never touch them then.
        while not self._stages.killed and (moved := os.splice(source, sink, BLOCK_BYTES)):
            self._count(moved)
        return b""

    def _copy(self) -> bytes:
        source, sink, keep = self._source.fileno(), self._sink.fileno(), self._source.tail_bytes
        tail = b""
        while not self._stages.killed and (block := os.read(source, BLOCK_BYTES)):
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(sink, rest) :]
            tail = block[-keep:] if len(block) >= keep else (tail + block)[-keep:]
            self._count(len(block))
        return tail

    def _count(self, moved: int) -> None:
        self.size += moved
        self._progress.plain_bytes += moved


def stream(
    source: SourceStream,
    lanes: Sequence[Lane],
    recipe: Recipe,
    context: Context,
    progress: Progress,
) -> Streamed:
    """Pass the source through to all lanes, and commit them once every stage ended with status 0.

    Does not wait for the commits: ``Lane.join`` does. When anything was not whole every lane is aborted, and the
    stage that failed first is what is raised (SourceError, CommandError, EncryptionError, StoppedError;
    NoDestinationLeftError when no lane is left).
    """
    try:
        with contextlib.ExitStack() as stack:
            sink, output, children = _start(stack, recipe, context)
            stages = Stages(source, lanes, children)
            stack.callback(context.cancel.on_stop(stages.kill))
            stack.enter_context(_limit(recipe.time_limit, stages))
            feed = Feed(source, sink, stages, progress)
            try:
                size, sha256 = _distribute(output, lanes, recipe.patience, progress)
                # The last stage is looked at first: when it dies those before it die of SIGPIPE, when one before it
                # dies it meets its end of file and ends well. And a feed may wait for its source for long.
                for child in reversed(children):
                    child.wait(_END_SECONDS)
                feed.join(_END_SECONDS)
                stages.settle()
            except BaseException as error:
                stages.kill()
                feed.leave()
                context.cancel.check()
                raise stages.cause(error) from None
    except BaseException:
        for lane in lanes:
            lane.abort()
        for lane in lanes:
            lane.join()
        raise
    for lane in lanes:
        lane.commit(size, sha256)
    return Streamed(feed.size, size, sha256, tuple(feed.warnings))


def _start(stack: contextlib.ExitStack, recipe: Recipe, context: Context) -> tuple[IO[bytes], IO[bytes], list[Command]]:
    """Start the compressor and gpg; returns where plain bytes go in, where encrypted ones come out, and both."""
    call = stack.enter_context(encrypting(recipe.encryption, recipe.compression, context))
    argv = compress_argv(recipe.compression)
    if argv is None:
        gpg = call.start(stdin=subprocess.PIPE)
        stack.callback(gpg.close)
        return gpg.stdin, gpg.stdout, [gpg]
    compressor = Command(argv, stdin=subprocess.PIPE)
    stack.callback(compressor.close)
    gpg = call.start(stdin=compressor.stdout.fileno())
    stack.callback(gpg.close)
    compressor.stdout.close()  # gpg holds it now; so the compressor notices when gpg dies
    return compressor.stdin, gpg.stdout, [compressor, gpg]


def _distribute(output: IO[bytes], lanes: Sequence[Lane], patience: Patience, progress: Progress) -> tuple[int, str]:
    digest, size, pace = hashlib.sha256(), 0, Pace(lanes, patience)
    while block := output.read(BLOCK_BYTES):
        digest.update(block)
        size += len(block)
        progress.encrypted_bytes = size
        pace.put(block)
        if not any(lane.alive for lane in lanes):
            raise NoDestinationLeftError("no destination is left to write to")
    return size, digest.hexdigest()


@contextlib.contextmanager
def _limit(seconds: float, stages: Stages) -> Iterator[None]:
    hint = "raise 'time_limit' in the job file if it really takes longer"
    error = SourceError(f"reading took longer than {seconds:.0f} s and was given up", hint=hint)
    timer = threading.Timer(seconds, stages.fail, (error,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
