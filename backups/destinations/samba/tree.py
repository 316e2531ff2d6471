"""What uploads, listings and removals do with names in the folder. Every function raises DestinationError."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import smbclient
from smbprotocol.file_info import FileAttributes

from backups.destinations.samba.errors import EXISTS, IN_USE, NO_VOLUME_INFO, LostError, status_of
from backups.destinations.samba.link import Link
from backups.errors import DestinationError, MissingError

_RACES = 20  # how often a directory may vanish under us because another run prunes empty ones

Names = tuple[str, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Entry:
    """A file or directory, as a listing of its directory tells of it."""

    name: str
    size: int
    modified: dt.datetime
    is_directory: bool


def entries(link: Link, names: Names, pattern: str = "*") -> list[Entry]:
    """What is in a directory, without symbolic links; ``pattern`` may have asterisks."""
    return [*_scan(link, names, pattern)]


def _scan(link: Link, names: Names, pattern: str) -> Iterator[Entry]:
    with (
        link.answering(f"{'/'.join(names) or 'it'} can't be listed"),
        smbclient.scandir(link.share.path(names), search_pattern=pattern, **link.options) as found,
    ):
        for entry in found:
            info = entry.smb_info  # its own stat() would forget the port
            if not info.file_attributes & FileAttributes.FILE_ATTRIBUTE_REPARSE_POINT:
                directory = bool(info.file_attributes & FileAttributes.FILE_ATTRIBUTE_DIRECTORY)
                yield Entry(info.file_name, info.end_of_file, info.last_write_time.astimezone(dt.UTC), directory)


def size_of(link: Link, names: Names) -> int:
    """Bytes of a file."""
    with link.answering(f"{'/'.join(names)} can't be looked at"):
        return int(smbclient.stat(link.share.path(names), **link.options).st_size)


def rename(link: Link, old: Names, new: Names) -> None:
    """Give a file another name, in place of one that has it already; its directory is made."""

    def move() -> None:
        with link.answering(f"{'/'.join(new)} can't be completed"):
            smbclient.replace(link.share.path(old), link.share.path(new), **link.options)

    making(link, new[:-1], move)


def is_in_use(link: Link, names: Names) -> bool:
    """Whether anybody has a file open, ourselves included: then it can't be opened for one alone."""
    try:
        with link.answering(f"{'/'.join(names)} can't be looked at"):
            smbclient.open_file(link.share.path(names), mode="rb", share_access="", **link.options).close()
    except LostError:
        raise
    except DestinationError as error:
        return status_of(error.__cause__) in IN_USE
    return False


def unlink(link: Link, names: Names, seconds: float) -> None:
    """Remove a file; one that is gone is no error."""
    try:
        with link.answering(f"{'/'.join(names)} can't be removed", seconds):
            smbclient.remove(link.share.path(names), **link.options)
    except MissingError:
        pass


def prune(link: Link, names: Names) -> None:
    """Remove this directory and those above it, up to the first that is not empty."""
    while names:
        try:
            with link.answering(f"{'/'.join(names)} can't be removed"):
                smbclient.rmdir(link.share.path(names), **link.options)
        except MissingError:
            pass  # another run was faster; the one above may be empty now
        except LostError:
            raise
        except DestinationError:
            return
        names = names[:-1]


def making(link: Link, directory: Names, action: Callable[[], T]) -> T:
    """Do it; where the directory is missing make it and try again, also when another run removes it meanwhile."""
    for _ in range(_RACES):
        try:
            return action()
        except MissingError:
            for depth in range(1, len(directory) + 1):
                _make(link, directory[:depth])
    return action()


def _make(link: Link, names: Names) -> None:
    try:
        with link.answering(f"{'/'.join(names)} can't be made"):
            smbclient.mkdir(link.share.path(names), **link.options)
    except DestinationError as error:
        if not isinstance(error, MissingError) and status_of(error.__cause__) != EXISTS:
            raise


def free(link: Link) -> int | None:
    """Bytes that the user may still write; None where the server does not tell."""
    try:
        with link.answering("its free space can't be looked at"):
            return int(smbclient.stat_volume(link.share.path(), **link.options).caller_available_size)
    except DestinationError as error:
        if status_of(error.__cause__) in NO_VOLUME_INFO:
            return None
        raise
