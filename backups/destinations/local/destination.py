"""A directory: on a disk of this machine, on NFS or on USB."""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import ClassVar, Literal

from pydantic import Field, field_validator

from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig, StoredObject, Upload, reaches
from backups.destinations.local.tree import PARTIAL, Tree, split_key
from backups.destinations.local.upload import READ_BYTES, LocalUpload
from backups.errors import DestinationError, MissingError
from backups.secrets import is_reference


class Local(DestinationConfig):
    """A directory."""

    label: ClassVar[str] = "Directory"
    identity: ClassVar[tuple[str, ...]] = ("path",)

    type: Literal["local"] = "local"

    path: str = Field(min_length=1)
    """Absolute path of the directory. It must exist, so that a disk that is not mounted is noticed."""

    verify: Literal["size", "full"] = "size"
    """`size`: compare the size after everything reached the disk. `full`: also read it back from the disk."""

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: str) -> str:
        if not path.startswith("/") and not is_reference(path):
            raise ValueError("must be an absolute path")
        return path

    def connect(self, context: Context) -> LocalDestination:  # noqa: ARG002 - a directory needs nothing of it
        """Open the directory. Raises MissingError, DeniedError or DestinationError."""
        return LocalDestination(self)


class LocalDestination(Destination):
    """An open directory; keys are paths in it."""

    def __init__(self, config: Local) -> None:
        self._full = config.verify == "full"
        try:
            self._tree = Tree(config.path)
        except FileNotFoundError:
            raise MissingError(
                f"{config.path}: no such directory", hint="mount the disk, or make it with mkdir -p"
            ) from None
        except NotADirectoryError:
            raise DestinationError(f"{config.path}: not a directory", permanent=True) from None
        except OSError as error:
            raise DestinationError(f"{config.path}: {error.strerror}") from None

    def create(self, key: str, *, size_bound: int | None = None) -> Upload:  # noqa: ARG002 - files need no plan
        """Begin a hidden file, after removing what killed runs left."""
        return LocalUpload(self._tree, key, full=self._full)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Walk the directories that the prefix reaches into."""
        return self.list_after(prefix, "")

    def list_after(self, prefix: str, after: str) -> Iterator[StoredObject]:
        """Walk them, and pass over those that come before."""
        try:
            yield from self._walk((), prefix, after)
        except OSError as error:
            raise self._tree.explain(error, "can't be listed") from None

    def _walk(self, names: tuple[str, ...], prefix: str, after: str) -> Iterator[StoredObject]:
        try:
            directory = self._tree.open(names)
        except FileNotFoundError:
            return  # removed since its parent was read
        try:
            with os.scandir(directory) as entries:
                found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
            # A directory sorts as its keys do: with the slash.
            for name, inner in sorted((name + "/" if inner else name, inner) for name, inner in found):
                key = "/".join((*names, name))
                if inner and reaches(key, prefix, after):
                    yield from self._walk((*names, name[:-1]), prefix, after)
                elif not inner and key.startswith(prefix) and key > after and not PARTIAL.fullmatch(name):
                    yield from _object(directory, name, key)
        finally:
            os.close(directory)

    def read(self, key: str) -> Iterator[bytes]:
        """Read the file from start to end."""
        names = split_key(key)
        try:
            directory = self._tree.open(names[:-1])
            try:
                file = os.open(names[-1], os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            finally:
                os.close(directory)
            try:
                while block := os.read(file, READ_BYTES):
                    yield block
            finally:
                os.close(file)
        except FileNotFoundError:
            raise MissingError(f"{self._tree.path}: there is no {key}") from None
        except OSError as error:
            raise self._tree.explain(error, f"{key} can't be read") from None

    def remove(self, keys: Iterable[str]) -> dict[str, str]:
        """Remove files, and directories that are then empty."""
        refused: dict[str, str] = {}
        for key in keys:
            try:
                self._remove(split_key(key))
            except DestinationError as error:
                refused[key] = str(error)
            except OSError as error:
                refused[key] = error.strerror or str(error)
        return refused

    def _remove(self, names: tuple[str, ...]) -> None:
        with suppress(FileNotFoundError):
            directory = self._tree.open(names[:-1])
            try:
                os.unlink(names[-1], dir_fd=directory)
            finally:
                os.close(directory)
        self._tree.prune(names[:-1])

    def close(self) -> None:
        """Let the directory go."""
        self._tree.close()


def _object(directory: int, name: str, key: str) -> Iterator[StoredObject]:
    """The file of that name; nothing for one that is gone, or no regular file."""
    with suppress(FileNotFoundError):
        state = os.stat(name, dir_fd=directory, follow_symlinks=False)
        if stat.S_ISREG(state.st_mode):
            yield StoredObject(key, state.st_size, dt.datetime.fromtimestamp(state.st_mtime, dt.UTC))
