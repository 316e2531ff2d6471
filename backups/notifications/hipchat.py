"""HipChat: the model of the channel; sending is not connected yet."""

from __future__ import annotations

from typing import ClassVar, Literal

from backups.config import SecretWebAddress
from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.base import Notification
from backups.records import RunReport


class HipChat(Notification):
    """A message to a HipChat room."""

    label: ClassVar[str] = "HipChat"
    identity: ClassVar[tuple[str, ...]] = ("url",)
    unavailable: ClassVar[str] = "HipChat is not connected"

    type: Literal["hipchat"] = "hipchat"

    url: SecretWebAddress
    """Address that HipChat gives for its v2 integration; a secret, since whoever knows it can post."""

    def send(self, report: RunReport, context: Context) -> None:  # noqa: ARG002
        raise NotificationError(self.not_yet(), permanent=True)
