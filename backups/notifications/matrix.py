"""Matrix: a message to a room, through the client-server API."""

from __future__ import annotations

import hashlib
import urllib.parse
from http import HTTPStatus
from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from backups.config import WebAddress
from backups.context import Context
from backups.notifications.base import MessageChannel
from backups.notifications.message import Message
from backups.notifications.rich import html_text
from backups.notifications.webhook import Call, json_bytes, request

# An event may have 65,536 bytes; a character has at most four of them, and the form takes some.
_LONGEST_TEXT = 6_000
_LONGEST_HTML = 32_000  # bytes

_HINTS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "the home server does not know 'access_token'",
    HTTPStatus.FORBIDDEN: "the user of 'access_token' must have joined the room, and be allowed to write there",
    HTTPStatus.NOT_FOUND: "'url' must be a home server, and 'room_id' begin with '!'",
    HTTPStatus.TOO_MANY_REQUESTS: "too many messages at once",
}


class Matrix(MessageChannel):
    """A message to a Matrix room."""

    label: ClassVar[str] = "Matrix"
    identity: ClassVar[tuple[str, ...]] = ("room_id",)

    type: Literal["matrix"] = "matrix"

    url: WebAddress
    """Address of the home server."""

    access_token: SecretStr = Field(min_length=1)
    """Access token of the user that posts."""

    room_id: str = Field(min_length=1)
    """Id of the room, such as `!abc:matrix.org`; the user must have joined it."""

    def post(self, message: Message, context: Context) -> None:
        token = self.access_token.get_secret_value()
        context.secrets.scrub.add(token)
        room = urllib.parse.quote(self.room_id, safe="")
        content = {
            "msgtype": "m.text",
            "body": message.cut(_LONGEST_TEXT),
            "format": "org.matrix.custom.html",
            "formatted_body": html_text(message, _LONGEST_HTML, line_break="<br>", measure=_utf8_bytes),
        }
        path = f"/_matrix/client/v3/rooms/{room}/send/m.room.message/{self._transaction(message)}"
        call = Call(
            "Matrix",
            self.url.rstrip("/") + path,
            json_bytes(content),
            method="PUT",
            headers={"Authorization": f"Bearer {token}"},
            hints=_HINTS,
        )
        request(call, context)

    def _transaction(self, message: Message) -> str:
        """The same for every try, so that the home server takes a repetition for what it is."""
        return hashlib.sha256(f"{message.identity}\n{self.id}".encode()).hexdigest()[:32]


def _utf8_bytes(text: str) -> int:
    return len(text.encode())
