"""Samba: the model of the destination; storing on shares is not connected yet."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig
from backups.errors import DestinationError


class Samba(DestinationConfig):
    """A share of a Samba or Windows server."""

    label: ClassVar[str] = "Samba"
    identity: ClassVar[tuple[str, ...]] = ("hostname", "share")
    aliases: ClassVar[dict[str, str]] = {"host": "hostname"}
    nested: ClassVar[tuple[str, ...]] = ("credentials",)
    unavailable: ClassVar[str] = "Samba shares are not connected"

    type: Literal["samba"] = "samba"

    hostname: str = Field(min_length=1)
    """DNS name of the server."""

    share: str = Field(min_length=1)
    """Name of the share."""

    username: str = Field(min_length=1)
    """User to connect as."""

    password: SecretStr
    """Password of the user."""

    workgroup: str = ""
    """Domain or workgroup of the user."""

    def connect(self, context: Context) -> Destination:  # noqa: ARG002
        raise DestinationError(self.not_yet(), permanent=True)
