"""A folder on a share of a Samba or Windows server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

from backups.config import Flag
from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig, StoredObject, Upload, reaches
from backups.errors import DestinationError, MissingError

if TYPE_CHECKING:
    from backups.destinations.samba.link import Link, Links


class Samba(DestinationConfig):
    """A share of a Samba or Windows server."""

    label: ClassVar[str] = "Samba"
    identity: ClassVar[tuple[str, ...]] = ("hostname", "share", "folder")
    aliases: ClassVar[dict[str, str]] = {"host": "hostname"}
    nested: ClassVar[tuple[str, ...]] = ("credentials",)

    type: Literal["samba"] = "samba"

    hostname: str = Field(min_length=1)
    """DNS name of the server."""

    port: int = Field(445, ge=1, le=65535)
    """TCP port of the server."""

    share: str = Field(min_length=1)
    """Name of the share. It must exist."""

    folder: str = ""
    """Folder on the share to store in, such as `backups/nightly`. It must exist; the share itself when missing."""

    username: str = Field(min_length=1)
    """User to connect as."""

    password: SecretStr
    """Password of the user."""

    workgroup: str = ""
    """Domain or workgroup of the user."""

    encrypt: Flag = True
    """Require that SMB 3 encrypts everything on the way. Without it requests are only signed, and SMB 2 suffices."""

    verify: Literal["sampled", "full"] = "sampled"
    """`sampled`: compare the size, and read 16 blocks of 4 MiB chosen at random and the last one back. `full`: read
    everything back. After a lost connection everything is read back in any case."""

    @field_validator("hostname", "share")
    @classmethod
    def _one_name(cls, value: str) -> str:
        if "\\" in value or "/" in value:
            raise ValueError("must be a name alone, without slashes")
        return value

    @field_validator("folder")
    @classmethod
    def _below(cls, folder: str) -> str:
        if any(part in (".", "..") for part in _parts(folder)):
            raise ValueError("must not have . or .. in it")
        return folder

    def connect(self, context: Context) -> SambaDestination:
        """Prepare; nothing is sent before the first use."""
        from backups.destinations.samba.link import Links, Share
        from backups.destinations.samba.names import to_names

        folder = _parts(self.folder)
        share = Share(
            host=self.hostname,
            port=self.port,
            share=self.share,
            folder=to_names("/".join(folder)) if folder else (),
            username=f"{self.workgroup}\\{self.username}" if self.workgroup else self.username,
            password=self.password,
            encrypt=self.encrypt,
        )
        return SambaDestination(Links(share, context.cancel), full=self.verify == "full")


class SambaDestination(Destination):
    """Connections to a folder; keys are paths in it."""

    def __init__(self, links: Links, *, full: bool) -> None:
        self._links = links
        self._full = full

    def create(self, key: str, *, size_bound: int | None = None) -> Upload:  # noqa: ARG002 - files need no plan
        """Begin a hidden file, after removing what killed runs left."""
        from backups.destinations.samba.upload import SambaUpload

        return SambaUpload(self._links, key, full=self._full)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """Walk the directories that the prefix reaches into, one at a time."""
        return self.list_after(prefix, "")

    def list_after(self, prefix: str, after: str) -> Iterator[StoredObject]:
        """Walk them, and pass over those that come before."""
        with self._links.borrow():
            pass  # tells of a share or folder that is missing
        yield from self._walk((), "", prefix, after)

    def _walk(self, names: tuple[str, ...], above: str, prefix: str, after: str) -> Iterator[StoredObject]:
        from backups.destinations.samba import tree
        from backups.destinations.samba.names import PARTIAL, to_part

        try:
            found = self._links.run(lambda link: tree.entries(link, names))
        except MissingError:
            return  # removed since its parent was read
        # A directory sorts as its keys do: with the slash.
        keyed = [(above + to_part(entry.name) + "/" * entry.is_directory, entry) for entry in found]
        for key, entry in sorted(keyed, key=lambda pair: pair[0]):
            if entry.is_directory and reaches(key, prefix, after):
                yield from self._walk((*names, entry.name), key, prefix, after)
            elif (
                not entry.is_directory and key.startswith(prefix) and key > after and not PARTIAL.fullmatch(entry.name)
            ):
                yield StoredObject(key, entry.size, entry.modified)

    def read(self, key: str) -> Iterator[bytes]:
        """Stream it, going on where a lost connection left off."""
        from backups.destinations.samba.read import read_file

        return read_file(self._links, key)

    def remove(self, keys: Iterable[str]) -> dict[str, str]:
        """Remove files, and directories that are then empty."""
        refused: dict[str, str] = {}
        for key in keys:
            if reason := self._links.run(partial(_remove, key)):
                refused[key] = reason
        return refused

    def close(self) -> None:
        """Log out."""
        self._links.close()


def _remove(key: str, link: Link) -> str:
    """Returns why it was refused. Raises LostError."""
    from backups.destinations.samba import tree
    from backups.destinations.samba.errors import LostError
    from backups.destinations.samba.link import ANSWER_SECONDS
    from backups.destinations.samba.names import to_names

    try:
        names = to_names(key)
        tree.unlink(link, names, ANSWER_SECONDS)
        tree.prune(link, names[:-1])
    except LostError:
        raise
    except DestinationError as error:
        return str(error)
    return ""


def _parts(folder: str) -> list[str]:
    """The names in a folder's path, however its author wrote the slashes."""
    return [part for part in folder.replace("\\", "/").split("/") if part]
