"""Lists, reads and removes files of a remote."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import PurePosixPath

from backups.destinations.base import StoredObject
from backups.destinations.rclone.hidden import is_hidden
from backups.destinations.rclone.remote import Remote
from backups.errors import DestinationError, MissingError

READ_BYTES = 1 << 20
BATCH = 1000
"""What one child removes."""


def list_files(remote: Remote, prefix: str) -> Iterator[StoredObject]:
    """In the order of their keys. Raises DestinationError."""
    remote.ready()
    folder = prefix.rpartition("/")[0]
    doing, found = remote.about(folder, "can't be listed"), []
    options = ("--recursive", "--files-only", "--no-mimetype")
    try:
        with remote.start("lsjson", *options, remote.target(folder), doing=doing) as command:
            for line in command.stdout:
                entry = line.strip().rstrip(b",")
                if entry.startswith(b"{"):  # one a line, between brackets
                    found.append(_stored(folder, entry))
            remote.end(command, doing)
    except MissingError:
        return  # a folder that nothing was stored in yet
    for stored in sorted(found, key=lambda one: one.key):
        if stored.key.startswith(prefix) and not is_hidden(stored.key):
            yield stored


def _stored(folder: str, entry: bytes) -> StoredObject:
    told = json.loads(entry)
    key = f"{folder}/{told['Path']}" if folder else told["Path"]
    return StoredObject(key, told["Size"], dt.datetime.fromisoformat(told["ModTime"]).astimezone(dt.UTC))


def read_file(remote: Remote, key: str) -> Iterator[bytes]:
    """Blocks of up to 1 MiB. Raises MissingError; DestinationError when it breaks off."""
    remote.ready()
    size = remote.stat(key, doing=remote.about(key, "can't be read"))["Size"]
    yield from read_known(remote, key, size)


def read_known(remote: Remote, key: str, size: int) -> Iterator[bytes]:
    """The same of a file whose size is known. rclone can't be asked to fail when a file is missing or cut short."""
    doing, read = remote.about(key, "can't be read"), 0
    with remote.start("cat", remote.target(key), doing=doing) as command:
        while block := command.stdout.read(READ_BYTES):
            read += len(block)
            yield block
        remote.end(command, doing)
    if read != size:
        raise DestinationError(f"{doing}: it ended after {read} bytes of {size}", hint="read it again")


def remove_files(remote: Remote, keys: Iterable[str]) -> dict[str, str]:
    """Returns the keys that were refused, each with the reason. Raises DestinationError when nothing can be done."""
    features = remote.ready()
    refused: dict[str, str] = {}
    rest = iter(keys)
    while batch := list(itertools.islice(rest, BATCH)):
        named = "".join(f"{key}\n" for key in batch).encode()
        doing = remote.about("", "files can't be removed")
        try:
            remote.ask("delete", "--files-from-raw", "-", remote.target(), stdin=named, doing=doing, must_end=True)
        except DestinationError as error:
            left = remote.stats(batch, doing=doing)
            if not left:
                raise
            refused |= dict.fromkeys(left, str(error))
        if features.directories:
            _prune(remote, batch)
    return refused


def _prune(remote: Remote, keys: Iterable[str]) -> None:
    """Remove the folders of these keys that are empty now, the deepest first."""
    folders = {folder for key in keys for folder in PurePosixPath(key).parents if folder.name}
    for folder in sorted(folders, key=lambda one: len(one.parts), reverse=True):
        remove_folder(remote, str(folder))


def remove_folder(remote: Remote, folder: str) -> None:
    """Remove a folder if it is empty."""
    with suppress(DestinationError):  # it holds something, or is gone
        remote.ask("rmdir", remote.target(folder), doing=remote.about(folder, "can't be removed"), must_end=True)
