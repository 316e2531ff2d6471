"""Anything that rclone knows: SFTP, Azure, B2, Dropbox, WebDAV and some seventy more."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator

from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig, StoredObject, Upload

if TYPE_CHECKING:
    from backups.destinations.rclone.remote import Remote


class Rclone(DestinationConfig):
    """A folder on one of rclone's remotes."""

    label: ClassVar[str] = "rclone"
    identity: ClassVar[tuple[str, ...]] = ("remote", "path")

    type: Literal["rclone"] = "rclone"

    # No colons or commas: rclone would take what follows for settings, which must not stand in a list of processes.
    remote: str = Field(pattern=r"^([A-Za-z0-9_.+@][A-Za-z0-9_.+@ -]*|\{\{resolve:.*)$")
    """Name of the remote in rclone's configuration, without the colon. It must take streams of unknown length, and
    rename or copy on its own side."""

    path: str = Field("", pattern=r"^([^/\x00-\x1f].*)?$")
    """Folder on the remote, or bucket with a prefix. A folder or bucket must exist."""

    config: SecretStr | None = Field(None, min_length=1)
    """Content of rclone's configuration file, or of its part that begins with the remote's name in brackets, as a
    reference to a secret. Tokens that rclone renews while it works are not kept: for a service that makes the old ones
    useless take `config_file`."""

    config_file: str = ""
    """Path of rclone's configuration file, which rclone updates itself; its usual place when both are missing."""

    config_password: SecretStr | None = Field(None, min_length=1)
    """Password of an encrypted configuration."""

    verify: Literal["checksum", "full"] = "checksum"
    """`checksum`: compare size and a hash that the remote tells of the file before it appears under its name, or read
    it back where it tells none. `full`: always read it back."""

    @model_validator(mode="after")
    def _one_config(self) -> Self:
        if self.config and self.config_file:
            raise ValueError("give 'config' or 'config_file', not both")
        return self

    def connect(self, context: Context) -> RcloneDestination:
        """Write the configuration; nothing is sent before the first use. Raises DestinationError for a bad one."""
        from backups.destinations.rclone.remote import Remote

        return RcloneDestination(Remote(self, context), full=self.verify == "full")


class RcloneDestination(Destination):
    """A remote; keys are paths below its folder."""

    def __init__(self, remote: Remote, *, full: bool) -> None:
        self._remote = remote
        self._full = full

    def create(self, key: str, *, size_bound: int | None = None) -> Upload:  # noqa: ARG002 - rclone plans by itself
        """Begin a file under a hidden name, after removing what killed runs left."""
        from backups.destinations.rclone.upload import RcloneUpload

        return RcloneUpload(self._remote, key, full=self._full)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """All below the prefix's folder. rclone lists folders side by side, so that they are sorted here, in memory."""
        from backups.destinations.rclone.tree import list_files

        return list_files(self._remote, prefix)

    def read(self, key: str) -> Iterator[bytes]:
        """Stream the file; one that ends early is an error."""
        from backups.destinations.rclone.tree import read_file

        return read_file(self._remote, key)

    def remove(self, keys: Iterable[str]) -> dict[str, str]:
        """Remove files, and folders that are then empty."""
        from backups.destinations.rclone.tree import remove_files

        return remove_files(self._remote, keys)

    def close(self) -> None:
        """End what still runs, and remove the configuration."""
        self._remote.close()
