"""The way back: destination -> sha256 -> gpg -> decompressor -> whoever wants the plain bytes.

    destination ─blocks─> [feed thread: size and sha256] ─> gpg -d ─kernel pipe─> decompressor ─> output

A truncated copy makes gpg write megabytes of plain bytes before it notices. So nothing that was read from ``output``
may count before ``finish`` returned: it knows the copy's sha256 and every exit status.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

from backups.commands import Command
from backups.compression import decompress_argv
from backups.context import Cancel, Context
from backups.copies import Copy, read_manifest
from backups.destinations.base import Destination
from backups.encryption import decrypting
from backups.errors import (
    BackupsError,
    CommandError,
    EncryptionError,
    RestoreError,
    VerificationError,
)
from backups.jobfile.settings import Encryption
from backups.records import Manifest
from backups.watching import Meter

_SIGPIPE = -13
_BROKEN_PIPE = "Broken pipe"  # gpg does not let SIGPIPE end it
_LEAVE_SECONDS = 5.0
_END_SECONDS = 30.0
_LOOK_SECONDS = 0.5
_WRONG_PASSPHRASE = "Bad session key"  # noqa: S105 - gpg's words
_NO_KEY = "No secret key"

AFTER_DAMAGE = "restore from another destination or date, and run the job again"
"""The way out for a copy that is not what was stored."""


class MissingKeyError(EncryptionError):
    """The secret key of a copy for ``recipients`` is not on this machine."""


@dataclass(frozen=True)
class StoredCopy:
    """One copy at one destination."""

    destination_id: str
    destination: Destination
    copy: Copy

    def manifest(self) -> Manifest | None:
        """What says how the copy must be; None for an unverified one. Raises DestinationError."""
        return read_manifest(self.destination, self.copy)


class Feed:
    """Reads a copy in a thread, hashes it, and writes it to gpg; ends gpg's input only when it was the right copy."""

    def __init__(
        self,
        stored: StoredCopy,
        manifest: Manifest | None,
        sink: IO[bytes],
        meter: Meter,
        *,
        whole: bool,
        also: Callable[[bytes], None] | None = None,
    ) -> None:
        self.error: BaseException | None = None
        self.on_error: Callable[[], None] = lambda: None
        """Ends the stages after it: whoever reads them then meets the end, and learns the reason from ``finish``."""
        self.complete = False
        """Everything was read, compared, and taken by gpg."""
        self.sha256 = ""
        """Of what was read, once that is everything."""
        self._also = also
        self._whole = whole
        self._stored = stored
        self._manifest = manifest
        self._sink: IO[bytes] | None = sink
        self._meter = meter
        self._abandoned = False
        self._thread = threading.Thread(target=self._run, name=f"from {stored.destination_id}", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def join(self, cancel: Cancel) -> None:
        """Wait until everything was read. Raises StoppedError, DestinationError and what else reading may raise."""
        while self._thread.is_alive():
            self._thread.join(_LOOK_SECONDS)  # it may hang in a request that knows nothing of our stop
            cancel.check()
        if self.error is not None:
            raise self.error

    def abandon(self) -> None:
        """Read no further; a thread that hangs in a request is left behind."""
        self._abandoned = True
        if self._thread.is_alive():
            self._thread.join(_LEAVE_SECONDS)

    def _run(self) -> None:
        try:
            self._copy()
        except BaseException as error:
            self.error = error
            self.on_error()

    def _copy(self) -> None:
        digest = hashlib.sha256()
        for block in self._stored.destination.read(str(self._stored.copy.key)):
            if self._abandoned or not (self._whole or self._sink):
                return
            digest.update(block)
            if self._also:
                self._also(block)
            self._meter.bytes += len(block)
            self._write(block)
        self.sha256 = digest.hexdigest()
        self._compare(self.sha256)
        if self._sink is not None:
            self._sink.close()
            self.complete = True

    def _write(self, block: bytes) -> None:
        if self._sink is None:
            return
        try:
            self._sink.write(block)
            self._sink.flush()
        except BrokenPipeError:
            self._sink = None  # gpg's exit status says why

    def _compare(self, sha256: str) -> None:
        size = self._stored.copy.size if self._manifest is None else self._manifest.size
        where = f"{self._stored.destination_id}: {self._stored.copy.key}"
        if self._meter.bytes != size:
            raise damaged(f"{where} has {self._meter.bytes} bytes instead of {size}")
        if self._manifest is not None and sha256 != self._manifest.sha256:
            raise damaged(f"{where} is damaged: its sha256 is not the one in its manifest")


class Decoding:
    """A copy on its way back. ``output`` gives plain bytes; they count only after ``finish`` returned."""

    def __init__(self, feed: Feed, children: Sequence[Command], context: Context) -> None:
        self.output = children[-1].stdout
        self.feed = feed
        feed.on_error = self.kill
        self._children = list(children)
        self._context = context

    def add(self, child: Command) -> None:
        """A further stage that reads ``output``: its end counts as well, and it is killed with the others."""
        self._children.append(child)

    def kill(self) -> None:
        """End everything at once, the last stage first, so that it never takes a cut-off stream for a whole one."""
        for child in reversed(self._children):
            child.kill()

    def finish(self) -> list[str]:
        """Wait for the end of every stage; returns their warnings.

        Raises what failed first: StoppedError, DestinationError or VerificationError for the bytes of the copy,
        EncryptionError or CommandError for gpg, RestoreError for a later stage.
        """
        self.feed.join(self._context.cancel)  # bytes that never came, or wrong ones, explain whatever the children say
        try:
            warnings = self._wait()
        finally:
            self._context.cancel.check()
        if not self.feed.complete:
            raise CommandError(f"{self._children[0].name} ended before it had read everything")
        return warnings

    def _wait(self) -> list[str]:
        """When one stage dies, those before it die of their broken pipe, which tells nothing."""
        warnings: list[str] = []
        died: CommandError | None = None
        for number, child in enumerate(self._children):
            try:
                warnings += child.wait(_END_SECONDS if died else None)
            except CommandError as death:
                if death.status == _SIGPIPE or _BROKEN_PIPE in death.message:
                    died = died or death
                elif number == 0:
                    raise _of_gpg(death) from None
                else:
                    raise RestoreError(death.message, hint=death.hint) from None
        if died:
            raise died
        return warnings


@contextlib.contextmanager
def decoding(  # noqa: PLR0913 - everything that a stream passes by
    stored: StoredCopy,
    manifest: Manifest | None,
    encryption: Encryption,
    context: Context,
    meter: Meter,
    *,
    whole: bool = False,
    also: Callable[[bytes], None] | None = None,
) -> Iterator[Decoding]:
    """Start reading a copy back; ``encryption`` has its references resolved. Leaving the block ends every child.

    With ``whole`` the copy is read to its end even after gpg has died, so that ``finish`` knows whether it is damaged.
    ``also`` is shown every block of the copy.
    """
    with contextlib.ExitStack() as stack:
        call = stack.enter_context(decrypting(encryption, context))
        gpg = call.start(stdin=-1)
        stack.callback(gpg.close)
        children = [gpg]
        argv = decompress_argv(stored.copy.key.compression_suffix)
        if argv is not None:
            decompressor = Command(argv, stdin=gpg.stdout)
            stack.callback(decompressor.close)
            gpg.stdout.close()  # the decompressor holds it now, so gpg notices when that dies
            children.append(decompressor)
        feed = Feed(stored, manifest, gpg.stdin, meter, whole=whole, also=also)
        decoded = Decoding(feed, children, context)
        stack.callback(feed.abandon)
        stack.callback(context.cancel.on_stop(decoded.kill))
        stack.callback(decoded.kill)
        feed.start()
        yield decoded


def damaged(message: str) -> VerificationError:
    """The error of a copy that is not what was stored."""
    return VerificationError(message, hint=AFTER_DAMAGE)


def _of_gpg(death: CommandError) -> BackupsError:
    """The error of gpg, in words that help."""
    if _NO_KEY in death.message:
        return MissingKeyError(
            "the secret key that the copy is encrypted for is not in this user's key ring",
            hint="import it with: gpg --import KEY; then try again",
        )
    if _WRONG_PASSPHRASE in death.message:
        return EncryptionError(
            f"the passphrase in the job file does not fit the copy: {death.message}",
            hint="put the passphrase of that time there; `backups verify` tells whether the copy is damaged instead",
        )
    return death
