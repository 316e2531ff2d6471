"""Matrix: the model of the channel; sending is not connected yet."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from backups.config import WebAddress
from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.base import Notification
from backups.records import RunReport


class Matrix(Notification):
    """A message to a Matrix room."""

    label: ClassVar[str] = "Matrix"
    identity: ClassVar[tuple[str, ...]] = ("room_id",)
    unavailable: ClassVar[str] = "Matrix is not connected"

    type: Literal["matrix"] = "matrix"

    url: WebAddress
    """Address of the home server."""

    access_token: SecretStr = Field(min_length=1)
    """Access token of the user that posts."""

    room_id: str = Field(min_length=1)
    """Id of the room, such as `!abc:matrix.org`; the user must have joined it."""

    def send(self, report: RunReport, context: Context) -> None:  # noqa: ARG002
        raise NotificationError(self.not_yet(), permanent=True)
