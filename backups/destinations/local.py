"""A directory: on a disk of this machine, on NFS or on USB."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig
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

    def connect(self, context: Context) -> Destination:
        """Open the directory. Raises MissingError, DeniedError or DestinationError."""
        raise NotImplementedError
