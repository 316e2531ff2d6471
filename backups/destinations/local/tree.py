"""A directory whose inside is reached by descriptors only, so that no symbolic link in it leads out of it."""

from __future__ import annotations

import errno
import os
import re
from contextlib import suppress

from backups.errors import DeniedError, DestinationError, MissingError

PARTIAL = re.compile(r"\.backups-[0-9a-f]{16}\.partial")
"""Names of objects on their way. They are never listed, and no key may use one."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def split_key(key: str) -> tuple[str, ...]:
    """The names that a key is made of. Raises DestinationError for a key that no path can stand for."""
    parts = tuple(key.split("/"))
    for part in parts:
        if part in ("", ".", "..") or "\0" in part or PARTIAL.fullmatch(part):
            raise DestinationError(f"'{key}' can't be the name of a file", permanent=True)
    return parts


class Tree:
    """An open directory. Methods take names, not paths, and raise OSError."""

    def __init__(self, path: str) -> None:
        """Raises OSError when the directory can't be opened."""
        self.path = path
        self._root = os.open(path, _DIRECTORY)

    def close(self) -> None:
        """Let the directory go, so that it can be unmounted."""
        if self._root >= 0:
            os.close(self._root)
            self._root = -1

    def open(self, names: tuple[str, ...], *, make: bool = False) -> int:
        """A descriptor of a directory below; the caller closes it. With ``make`` missing ones are made, mode 0700."""
        current = os.dup(self._root)
        for name in names:
            try:
                below = self._enter(current, name, make)
            finally:
                os.close(current)
            current = below
        return current

    @staticmethod
    def _enter(parent: int, name: str, make: bool) -> int:
        try:
            return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
        except FileNotFoundError:
            if not make:
                raise
        with suppress(FileExistsError):  # another writer was faster
            os.mkdir(name, 0o700, dir_fd=parent)
            sync_directory(parent)
        return os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)

    def prune(self, names: tuple[str, ...]) -> None:
        """Remove this directory and those above it, up to the first that is not empty."""
        while names:
            try:
                parent = self.open(names[:-1])
                try:
                    os.rmdir(names[-1], dir_fd=parent)
                finally:
                    os.close(parent)
            except OSError:
                return
            names = names[:-1]

    def explain(self, error: OSError, doing: str) -> DestinationError:
        """The error as one that a person can act on."""
        where = f"{self.path}: {doing}"
        reason = error.strerror or str(error)
        match error.errno:
            case errno.ENOSPC | errno.EDQUOT:
                return DestinationError(
                    f"{where}: {reason}{self._free()}",
                    hint="make room, or keep fewer copies with retention_copies or retention_days",
                    permanent=True,
                )
            case errno.ENOENT | errno.ENODEV | errno.ENXIO:
                return MissingError(f"{where}: {reason}", hint="mount it, or make it with mkdir -p")
            case errno.EACCES | errno.EPERM | errno.EROFS:
                return DeniedError(f"{where}: {reason}", hint="give the user who runs this the right to write there")
            case errno.ELOOP | errno.ENOTDIR:
                return DestinationError(
                    f"{where}: {reason}", hint="no part of it may be a file or a symbolic link", permanent=True
                )
            case errno.EFBIG:
                return DestinationError(
                    f"{where}: {reason}", hint="the file system or a limit (ulimit -f) allows no more", permanent=True
                )
            case _:
                return DestinationError(f"{where}: {reason}")

    def _free(self) -> str:
        with suppress(OSError):
            state = os.fstatvfs(self._root)
            return f", {state.f_bavail * state.f_frsize / (1 << 20):.1f} MB free"
        return ""


def sync_directory(descriptor: int) -> None:
    """Let the names in a directory reach the disk; some network file systems can't and need not."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
