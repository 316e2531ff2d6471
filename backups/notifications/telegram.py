"""Telegram: a message of a bot. Its token is a part of the address, so the address goes into no text."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, SecretStr

from backups.config import WebAddress
from backups.context import Context
from backups.notifications.base import MessageChannel
from backups.notifications.message import Message
from backups.notifications.rich import html_text
from backups.notifications.webhook import post_json
from backups.notifications.words import utf16_units

_LONGEST = 4096

_HINTS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "check 'chat_id': the chat must have been begun with the bot, or the bot be its member",
    HTTPStatus.UNAUTHORIZED: "check 'api_token'",
    HTTPStatus.NOT_FOUND: "check 'api_token'",  # Telegram's answer to a token of a wrong form
    HTTPStatus.FORBIDDEN: "the bot was blocked or taken out of the chat",
    HTTPStatus.TOO_MANY_REQUESTS: "too many messages at once",
}


def _text(value: object) -> object:
    """Ids are numbers; job files have them with quotes and without."""
    return str(value) if type(value) is int else value


class Telegram(MessageChannel):
    """A message to a Telegram chat."""

    label: ClassVar[str] = "Telegram"
    identity: ClassVar[tuple[str, ...]] = ("chat_id",)

    type: Literal["telegram"] = "telegram"

    api_token: SecretStr = Field(min_length=1)
    """Token of the bot."""

    chat_id: Annotated[str, Field(min_length=1), BeforeValidator(_text, json_schema_input_type=str | int)]
    """Id of the chat."""

    api_url: WebAddress = "https://api.telegram.org"
    """Address of the Bot API, for those who run a server of their own."""

    def post(self, message: Message, context: Context) -> None:
        token = self.api_token.get_secret_value()
        for secret in (token, token.rpartition(":")[2]):  # the number before the colon is the bot's name
            context.secrets.scrub.add(secret)
        payload = {
            "chat_id": self.chat_id,
            "text": html_text(message, _LONGEST, line_break="\n", measure=utf16_units),
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
        }
        address = SecretStr(f"{self.api_url.rstrip('/')}/bot{token}/sendMessage")
        post_json(address, payload, context, service="Telegram", hints=_HINTS)
