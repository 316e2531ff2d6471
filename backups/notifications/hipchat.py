"""HipChat: a v2 room notification."""

from __future__ import annotations

from typing import ClassVar, Literal

from backups.config import SecretWebAddress
from backups.context import Context
from backups.notifications.base import MessageChannel
from backups.notifications.message import Message
from backups.notifications.rich import html_text
from backups.notifications.webhook import post_json

_LONGEST = 10_000


class HipChat(MessageChannel):
    """A message to a HipChat room."""

    label: ClassVar[str] = "HipChat"
    identity: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["hipchat"] = "hipchat"

    url: SecretWebAddress
    """Address that HipChat gives for its v2 integration; a secret, since whoever knows it can post."""

    def post(self, message: Message, context: Context) -> None:
        payload = {
            "from": "Backup Agent",
            "message": html_text(message, _LONGEST, line_break="<br>"),
            "message_format": "html",  # in the other format an @all in an error text would call everyone
            "notify": not message.ok,
            "color": "green" if message.ok else "red",
        }
        post_json(self.url, payload, context, service="HipChat")
