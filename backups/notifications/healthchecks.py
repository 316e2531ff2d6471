"""Healthchecks: pings of a monitor that raises the alarm when they stay away; of healthchecks.io, or any like it."""

from __future__ import annotations

import urllib.parse
import uuid
from http import HTTPStatus
from typing import ClassVar, Literal

from backups.config import Flag, SecretWebAddress
from backups.context import Context
from backups.notifications.base import MessageChannel
from backups.notifications.message import Message
from backups.notifications.webhook import Call, hide_address, request

_LONGEST = 10_000  # bytes of the text, of which services show no more
_LONGEST_TEXT = _LONGEST // 4  # characters

_HINTS: dict[int, str] = {
    HTTPStatus.NOT_FOUND: "the check does not exist: check 'ping_url'",
    HTTPStatus.TOO_MANY_REQUESTS: "too many pings at once",
}


class Healthchecks(MessageChannel):
    """A ping to a monitor that notices when runs stay away: that a run begins (unless `notify_on_start` is false), and
    how it ended.
    """

    label: ClassVar[str] = "Healthchecks"
    identity: ClassVar[tuple[str, ...]] = ("ping_url",)
    aliases: ClassVar[dict[str, str]] = {"url": "ping_url"}
    needs_every_run: ClassVar[bool] = True
    tells_notices: ClassVar[bool] = False  # a ping means that a run ended, and the monitor itself notices what is late

    type: Literal["healthchecks"] = "healthchecks"

    ping_url: SecretWebAddress
    """Address of the check; `/start` or `/fail` is added to its path. A secret: whoever knows it can ping."""

    notify_on_start: Flag = True
    """Ping when a run begins, so that the monitor knows how long it takes and notices one that never ends."""

    def post(self, message: Message, context: Context) -> None:
        address = self.ping_url.get_secret_value()
        hide_address(address, context)
        call = Call(
            "Healthchecks",
            ping_address(address, message),
            message.cut(_LONGEST_TEXT).encode(),
            content_type="text/plain; charset=utf-8",
            hints=_HINTS,
            setting="ping_url",
        )
        request(call, context)


def ping_address(address: str, message: Message) -> str:
    """Where a message goes; begin and end of a run name the same run, so that others in between do not confuse."""
    parts = urllib.parse.urlsplit(address)
    what = "/start" if message.begins else "" if message.ok else "/fail"
    run = uuid.uuid5(uuid.NAMESPACE_URL, f"{message.job}/{message.run}")
    query = "&".join(filter(None, [parts.query, f"rid={run}"]))
    return parts._replace(path=parts.path.rstrip("/") + what, query=query).geturl()
