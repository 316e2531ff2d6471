"""One file on its way: written under a hidden name, flushed, checked, and renamed when it is whole."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from contextlib import suppress

from backups.destinations.base import Upload
from backups.destinations.local.tree import PARTIAL, Tree, split_key, sync_directory
from backups.errors import DestinationError, VerificationError

WRITEBACK_BYTES = 8 << 20
"""How much may gather before the kernel is told to write it out, so that the last flush is short."""

READ_BYTES = 1 << 20

ABANDONED_SECONDS = 86_400.0
"""Where the file system knows no locks, a partial file that nobody wrote to for so long is left over."""

_RACES = 20  # how often a directory may vanish under us because another run prunes empty ones


class LocalUpload(Upload):
    """A locked, hidden file in the topmost directory of its key."""

    def __init__(self, tree: Tree, key: str, *, full: bool) -> None:
        """``full``: read the file back from the disk before it is renamed. Raises DestinationError."""
        self._tree = tree
        self._key = key
        self._names = split_key(key)
        self._full = full
        self._size = 0
        self._flushed = 0
        self._name = f".backups-{secrets.token_hex(8)}.partial"
        self._file = self._directory = -1
        try:
            self._open()
        except OSError as error:
            self.abort()
            raise tree.explain(error, f"{key} can't be created") from None

    @property
    def _top(self) -> tuple[str, ...]:
        """Within it the partial file is made: surely on the same file system, and there is one place to clean."""
        return self._names[:1] if len(self._names) > 1 else ()

    def _open(self) -> None:
        for attempt in range(_RACES):
            try:
                self._directory = self._tree.open(self._top, make=True)
                remove_abandoned(self._directory)
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
                self._file = os.open(self._name, flags, 0o600, dir_fd=self._directory)
            except FileNotFoundError:
                if attempt == _RACES - 1:
                    raise
                self._close()
                continue
            with suppress(OSError):  # no locks there: then the age decides
                fcntl.flock(self._file, fcntl.LOCK_EX)
            if os.fstat(self._file).st_nlink:
                return
            self._close()  # another run had the lock first, and took it for left over
        raise DestinationError(f"{self._tree.path}: {self._key} can't be created: other runs keep removing it")

    def write(self, block: bytes) -> None:
        """Append to the partial file."""
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
            self._size += len(block)
            if self._size - self._flushed >= WRITEBACK_BYTES:
                # Starts writing what is dirty and forgets what is written, without waiting for either.
                os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)
                self._flushed = self._size
        except OSError as error:
            raise self._tree.explain(error, f"{self._key} can't be written") from None

    def commit(self, size: int, sha256: str) -> str:
        """Flush, check, rename, and flush the directory."""
        try:
            os.fsync(self._file)
            self._check(size, sha256)
            self._rename()
        except OSError as error:
            raise self._tree.explain(error, f"{self._key} can't be completed") from None
        self._close()
        return "size and sha256, read back" if self._full else "size"

    def abort(self) -> None:
        """Remove the partial file."""
        if self._file >= 0:
            with suppress(OSError):
                os.unlink(self._name, dir_fd=self._directory)
        if self._directory >= 0:
            self._close()
            self._tree.prune(self._top)

    def _check(self, size: int, sha256: str) -> None:
        found = os.fstat(self._file).st_size
        if not size == found == self._size:
            raise VerificationError(f"{self._tree.path}: {self._key} has {found} bytes instead of {size}")
        if self._full and self._read_back() != sha256:
            raise VerificationError(
                f"{self._tree.path}: {self._key} reads back with another sha256 than it was written with",
                hint="look for errors of the disk or the network file system in the kernel's log",
            )

    def _read_back(self) -> str:
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)  # from the disk, not from the cache
        digest, offset = hashlib.sha256(), 0
        while block := os.pread(self._file, READ_BYTES, offset):
            digest.update(block)
            offset += len(block)
        return digest.hexdigest()

    def _rename(self) -> None:
        for attempt in range(_RACES):
            final = self._tree.open(self._names[:-1], make=True)
            try:
                os.rename(self._name, self._names[-1], src_dir_fd=self._directory, dst_dir_fd=final)
                sync_directory(final)
                sync_directory(self._directory)
            except FileNotFoundError:
                if attempt == _RACES - 1:
                    raise
            else:
                return
            finally:
                os.close(final)

    def _close(self) -> None:
        for descriptor in (self._file, self._directory):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._directory = -1


def remove_abandoned(directory: int) -> None:
    """Remove partial files whose writers are gone; never one that a living writer has locked."""
    for name in os.listdir(directory):
        if not PARTIAL.fullmatch(name):
            continue
        with suppress(OSError):  # its writer was faster, or it belongs to another user
            file = os.open(name, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            try:
                if _abandoned(file):
                    os.unlink(name, dir_fd=directory)
            finally:
                os.close(file)


def _abandoned(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return os.fstat(file).st_mtime < time.time() - ABANDONED_SECONDS
    return True
