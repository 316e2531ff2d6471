"""Discord: the model of the channel; sending is not connected yet."""

from __future__ import annotations

from typing import ClassVar, Literal

from backups.config import SecretWebAddress
from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.base import Notification
from backups.records import RunReport


class Discord(Notification):
    """A message to a Discord channel."""

    label: ClassVar[str] = "Discord"
    identity: ClassVar[tuple[str, ...]] = ("url",)
    unavailable: ClassVar[str] = "Discord is not connected"

    type: Literal["discord"] = "discord"

    url: SecretWebAddress
    """Address of the web hook; a secret, since whoever knows it can post."""

    def send(self, report: RunReport, context: Context) -> None:  # noqa: ARG002
        raise NotificationError(self.not_yet(), permanent=True)
