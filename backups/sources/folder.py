"""Folder: one folder or file as a tar archive."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from backups.config import Flag
from backups.context import Context
from backups.errors import SourceError
from backups.sources.base import Source, SourceStream


class Folder(Source):
    """A folder or file, as a tar archive."""

    label: ClassVar[str] = "Folder"
    identity: ClassVar[tuple[str, ...]] = ("path",)

    type: Literal["folder"] = "folder"

    path: str = Field(min_length=1)
    """Name of the folder or file to be backed up. A symbolic link is followed here, and nowhere below."""

    excludes: tuple[str, ...] = ()
    """Files and folders to leave out, as patterns of tar's `--exclude`: `tmp` and `*~` match at any depth.

    One that begins with the path itself matches there only."""

    sudo: Flag = False
    """Read as root: `sudo -n tar`; sudoers must allow tar without a password."""

    one_file_system: Flag = False
    """Leave out what is mounted below the path."""

    @property
    def extension(self) -> str:
        return "tar"

    def open(self, context: Context) -> SourceStream:
        raise SourceError("")
