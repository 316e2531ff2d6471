"""Telegram: the model of the channel; sending is not connected yet."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, SecretStr

from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.base import Notification
from backups.records import RunReport


def _text(value: object) -> object:
    """Ids are numbers; job files have them with quotes and without."""
    return str(value) if type(value) is int else value


class Telegram(Notification):
    """A message to a Telegram chat."""

    label: ClassVar[str] = "Telegram"
    identity: ClassVar[tuple[str, ...]] = ("chat_id",)
    unavailable: ClassVar[str] = "Telegram is not connected"

    type: Literal["telegram"] = "telegram"

    api_token: SecretStr = Field(min_length=1)
    """Token of the bot."""

    chat_id: Annotated[str, Field(min_length=1), BeforeValidator(_text, json_schema_input_type=str | int)]
    """Id of the chat."""

    def send(self, report: RunReport, context: Context) -> None:  # noqa: ARG002
        raise NotificationError(self.not_yet(), permanent=True)
