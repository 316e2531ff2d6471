"""One file on its way to a remote: streamed under a hidden name, checked, and renamed when it is whole.

rclone ends a file when its input ends, also when this process was killed: so what it ends never has a copy's name.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import signal
import subprocess
from typing import Any

from backups.commands import Command
from backups.destinations.base import Upload
from backups.destinations.rclone.hidden import ClearUp, replaced_name, waiting_name
from backups.destinations.rclone.remote import Remote
from backups.destinations.rclone.tree import read_known, remove_folder
from backups.errors import BackupsError, CommandError, DestinationError, MissingError, VerificationError

log = logging.getLogger("backups.destinations.rclone")

HASHES = ("sha256", "sha512", "sha1", "md5")
"""Those of the remotes' hashes that Python computes, the best first."""

_ABORT_SECONDS = 30.0
_GRACE_SECONDS = 5.0

_REPLACE = "--ignore-times"
"""Without it rclone takes a file of the same size for the same where the remote knows neither times nor hashes."""


class RcloneUpload(Upload):
    """A hidden file in the topmost folder of its key."""

    def __init__(self, remote: Remote, key: str, *, full: bool) -> None:
        """``full``: read the file back before it is renamed. Raises DestinationError, StoppedError."""
        self._remote = remote
        self._key = key
        self._full = full
        self._top = key.partition("/")[0] if "/" in key else ""
        self._partial = waiting_name(self._top)
        self._doing = remote.about(key, "can't be stored")
        self._size = 0
        self._ended = self._done = False
        self._clearing: ClearUp | None = None
        with contextlib.ExitStack() as stack:
            # It connects while the remote is looked at. Before it has data it writes nothing, and its input stays open
            # until it is dead, so that nothing is left of it when the remote can't be used.
            self._command: Command = stack.enter_context(
                remote.start("rcat", *_UNCHECKED, remote.target(self._partial), doing=self._doing, **_PIPES)
            )
            self._features = remote.ready()
            if self._top not in remote.cleaned:
                self._clearing = ClearUp(remote, self._top, stack)
            self._stack = stack.pop_all()
        self._hash = next((name for name in HASHES if name in self._features.hashes), "")
        self._digest = hashlib.new(self._hash) if self._hash not in ("", "sha256") else None

    def write(self, block: bytes) -> None:
        """Hand it to rclone; waits while its pipe is full."""
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[os.write(self._command.stdin.fileno(), rest) :]
        except BrokenPipeError:
            self._remote.end(self._command, self._doing)
            raise DestinationError(f"{self._doing}: rclone ended before the data did") from None
        self._size += len(block)
        if self._digest:
            self._digest.update(block)

    def commit(self, size: int, sha256: str) -> str:
        """End the file, check it, and give it its name."""
        if size != self._size:
            self._differs(f"can't be completed: {self._size} bytes were given instead of {size}")
        with contextlib.suppress(BrokenPipeError):
            self._command.stdin.close()
        self._ended = True
        if self._clearing:
            self._clearing.finish()
            self._remote.cleaned.add(self._top)
        self._remote.end(self._command, self._doing)
        told = self._told()
        verified = self._verify(told[self._partial], sha256)
        self._name_it(replacing=self._key in told)
        self._done = True
        self._stack.close()
        return verified

    def _told(self) -> dict[str, dict[str, Any]]:
        """What the remote tells of the file, and of the one whose name it will get where that must be put aside."""
        options = ("--hash", "--hash-type", self._hash) if self._hash else ()
        asked = [self._partial, self._key] if self._features.move else [self._partial]
        told = self._remote.stats(asked, *options, doing=self._doing)
        if self._partial not in told:
            raise MissingError(f"{self._doing}: it is gone", hint="was it removed meanwhile? run again")
        return told

    def _verify(self, told: dict[str, Any], sha256: str) -> str:
        """Compare with what the remote tells of the file, else with what it gives back."""
        size = self._size
        if told["Size"] != size:
            self._differs(f"has {told['Size']} bytes instead of {size}")
        found = (told.get("Hashes") or {}).get(self._hash, "")
        if found and found != (self._digest.hexdigest() if self._digest else sha256):
            self._differs(f"has another {self._hash} than it was written with")
        if found and not self._full:
            return f"size, {self._hash} compared with the remote's"
        digest = hashlib.sha256()
        for block in read_known(self._remote, self._partial, size):
            digest.update(block)
        if digest.hexdigest() != sha256:
            self._differs("reads back with another sha256 than it was written with")
        return "size and sha256, read back"

    def _differs(self, how: str) -> None:
        raise VerificationError(self._remote.about(self._key, how))

    def _name_it(self, *, replacing: bool) -> None:
        """A copy takes the old file's place at once. A rename does not: rclone would remove the old file first."""
        if not self._features.move:
            self._ask("copyto", _REPLACE, self._partial, self._key)
            self._forget(self._partial)
            return
        replaced = replaced_name(self._top, self._key)
        if replacing:
            self._ask("moveto", _REPLACE, self._key, replaced)
        try:
            self._ask("moveto", _REPLACE, self._partial, self._key)
        except BackupsError:
            if replacing and not self._remote.has(self._key, doing=self._doing):
                self._ask("moveto", _REPLACE, replaced, self._key)
            raise
        if replacing:
            self._forget(replaced)

    def _ask(self, command: str, option: str, origin: str, target: str) -> None:
        names = (self._remote.target(origin), self._remote.target(target))
        self._remote.ask_patiently(command, option, *names, doing=self._doing)

    def _forget(self, name: str) -> None:
        """Remove a hidden file. What stays is removed by a run after a day."""
        try:
            self._remote.ask_patiently(
                "deletefile", self._remote.target(name), doing=self._doing, timeout=_ABORT_SECONDS
            )
        except MissingError:
            pass
        except BackupsError as error:
            log.warning("%s; a run after a day will remove %s", error, self._remote.target(name))

    def abort(self) -> None:
        """End rclone, and remove what it has written."""
        if self._done:
            return
        self._done = True
        if not self._ended:
            # Its input stays open until it is dead, else it would end the file. Asked to stop, it lets the remote
            # forget the parts that were sent; killed, it could not.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._command.process.pid, signal.SIGTERM)
            with contextlib.suppress(CommandError):
                self._command.wait(_GRACE_SECONDS)
        self._command.kill()
        self._stack.close()
        self._forget(self._partial)
        if self._top and self._features.directories:
            remove_folder(self._remote, self._top)


_UNCHECKED = ("--ignore-checksum", "--size-only")
"""rclone would have the remote sum the file after sending, as we do ourselves, with a hash that was made here."""

_PIPES: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL}
