"""Slack: an incoming web hook."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import SecretStr

from backups.context import Context
from backups.notifications.base import Notification
from backups.notifications.message import render
from backups.notifications.webhook import post_json
from backups.records import RunReport

_LONGEST = 4000  # characters: what Slack advises; far longer texts it would cut itself


class Slack(Notification):
    """A message to a Slack channel."""

    label: ClassVar[str] = "Slack"
    identity: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["slack"] = "slack"

    url: SecretStr
    """Address of the incoming web hook; a secret, since whoever knows it can post."""

    def send(self, report: RunReport, context: Context) -> None:
        message = render(report)
        payload = {
            "username": "Backup Agent",
            "icon_emoji": ":+1:" if message.ok else ":imp:",
            "text": _escaped(message.cut(_LONGEST)),
        }
        post_json(self.url, payload, context, service="Slack")


def _escaped(text: str) -> str:
    """Slack reads & < > as markup: an error text could otherwise call everyone in the channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
