"""What a process may find or leave on this machine: the lock of a job, and private directories that outlive nobody.

A private directory is locked as long as its process lives; the kernel lets go of the lock even after ``kill -9``. So
whoever comes next knows which directories are nobody's, and removes them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from backups.errors import BackupsError, UsageError

log = logging.getLogger("backups.workspace")

PRIVATE = "backups-private-"
"""How private directories begin. ``tmpdir`` may be where people keep directories of theirs called ``backups-…``."""

_RANDOM = re.compile(r"[a-z0-9_]{8}")
"""What mkdtemp puts behind it."""

_NO_LOCKS = frozenset({errno.ENOLCK, errno.EBADF, errno.ENOTSUP, errno.ENOSYS})


class BusyError(BackupsError):
    """Another run of the same job is going on this machine."""


@contextlib.contextmanager
def job_lock(job_file: Path) -> Iterator[None]:
    """Hold a job, so that it runs once at a time on this machine. Raises BusyError, UsageError.

    The job file itself is locked: every user that may read it meets the same lock, and no lock file is left behind.
    """
    with held(job_file, f"another run of {job_file}"):
        yield


@contextlib.contextmanager
def held(path: Path, other: str) -> Iterator[None]:
    """Hold a file or directory that is there; ``other`` says who else may hold it. Raises BusyError, UsageError."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    try:
        if not _locked(fd):
            raise BusyError(
                f"{other} is still going on this machine", hint="wait for its end; nothing was touched by this one"
            )
        yield
    finally:
        os.close(fd)


@contextlib.contextmanager
def private_directory(parent: Path, *, prefix: str = PRIVATE, suffix: str = "") -> Iterator[Path]:
    """A new directory that only this user may enter, removed at the end, with those of dead processes.

    Raises BackupsError when it can't be made.
    """
    try:
        path, fd = _create(parent, prefix, suffix)
    except OSError as error:
        raise BackupsError(
            f"no directory can be made in {parent}: {error.strerror}",
            hint="it must exist, with room, and be writable by the user that runs this",
        ) from None
    try:
        remove_stale(parent, prefix=prefix, suffix=suffix)
        yield path
    finally:
        remove_tree(path)
        os.close(fd)


def remove_stale(parent: Path, *, prefix: str = PRIVATE, suffix: str = "") -> None:
    """Remove this user's private directories whose process is dead."""
    with contextlib.suppress(OSError):
        for path in parent.iterdir():
            name = path.name
            middle = name.removeprefix(prefix).removesuffix(suffix)
            if name == f"{prefix}{middle}{suffix}" and _RANDOM.fullmatch(middle) and _is_private_directory(path):
                _remove_if_stale(path)


def remove_tree(path: Path) -> None:
    """Remove a directory with all it holds, also directories in it that forbid it. What stays is logged."""
    if not path.exists():
        return
    for folder, _, _ in os.walk(path):  # top down, so each is opened before it is read
        for inner in os.scandir(folder):
            if inner.is_dir(follow_symlinks=False):
                with contextlib.suppress(OSError):
                    Path(inner.path).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        log.warning("%s could not be removed whole: remove it by hand", path)


def _create(parent: Path, prefix: str, suffix: str) -> tuple[Path, int]:
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=parent))
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        _locked(fd)
        # Between its making and its lock another process may have taken it for a dead one's.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(fd), path.stat()):
                return path, fd
        os.close(fd)


def _remove_if_stale(path: Path) -> None:
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if _locked(fd):
                remove_tree(path)
        finally:
            os.close(fd)


def _is_private_directory(path: Path) -> bool:
    status = path.lstat()
    is_private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
    return is_private and status.st_uid == os.geteuid()


def _locked(fd: int) -> bool:
    """Lock a file or directory without waiting; False when another process holds it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            log.warning("this file system knows no locks: a second run at the same time would not be noticed")
            return True
        return False
    return True
