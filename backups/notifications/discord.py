"""Discord: a web hook. The old words are the content; the facts stand in coloured embeds."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Literal

from backups.config import SecretWebAddress
from backups.context import Context
from backups.notifications.base import MessageChannel
from backups.notifications.message import Entry, Message
from backups.notifications.rich import COLOURS, CUT
from backups.notifications.webhook import post_json
from backups.notifications.words import fitted, shortened, utf16_units

_LONGEST = 2000
_LONGEST_EMBEDS = 5900  # 6,000 for the texts of all embeds together, and some room for a note
_MOST_EMBEDS = 10
_MOST_FIELDS = 25
_LONGEST_TITLE = 256
_LONGEST_VALUE = 1024
_MARKS = re.compile(r"([\\*_~`|>\[\]()#<:@-])")


class Discord(MessageChannel):
    """A message to a Discord channel."""

    label: ClassVar[str] = "Discord"
    identity: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["discord"] = "discord"

    url: SecretWebAddress
    """Address of the web hook; a secret, since whoever knows it can post."""

    def post(self, message: Message, context: Context) -> None:
        payload = {
            "username": "Backup Agent",
            "content": fitted(lambda room: _escaped(message.cut(room)), _LONGEST, utf16_units),
            "embeds": _embeds(message),
            "allowed_mentions": {"parse": []},  # an error text must not call everyone
        }
        post_json(self.url, payload, context, service="Discord")


def _embeds(message: Message) -> list[dict[str, Any]]:
    embeds: list[dict[str, Any]] = []
    room = _LONGEST_EMBEDS
    for entry in message.entries[:_MOST_EMBEDS]:
        embed = _embed(entry, room)
        if embed is None:
            break
        embeds.append(embed)
        room -= _size(embed)
    if embeds and len(embeds) < len(message.entries):
        embeds[-1]["footer"] = {"text": f"… [cut: {len(message.entries) - len(embeds)} more]"}
    if embeds and message.link.startswith(("http://", "https://")) and len(message.link) <= 2048:
        embeds[0]["url"] = message.link
    return embeds


def _embed(entry: Entry, room: int) -> dict[str, Any] | None:
    """An entry in at most ``room``, with as many facts as fit; None when not even its title does."""
    title = _within(entry.title, _LONGEST_TITLE)
    if utf16_units(title) > room // 2:
        return None
    embed: dict[str, Any] = {"title": title, "color": int(COLOURS[entry.outcome][1:], 16), "fields": []}
    for number, fact in enumerate(entry.facts):
        value = _within(fact.value, _LONGEST_VALUE)
        used = _size(embed) + len(fact.name) + utf16_units(value) + len(CUT)
        if used > room or number == _MOST_FIELDS - 1:
            embed["description"] = CUT
            break
        embed["fields"].append({"name": fact.name, "value": value, "inline": len(value) < 40})
    return embed


def _size(embed: dict[str, Any]) -> int:
    fields = sum(len(field["name"]) + utf16_units(field["value"]) for field in embed["fields"])
    return utf16_units(embed["title"]) + fields + len(embed.get("description", ""))


def _within(text: str, limit: int) -> str:
    """Escaped text in at most ``limit``; never empty, which Discord would refuse."""
    return fitted(lambda room: _escaped(shortened(text, room)), limit, utf16_units) or "-"


def _escaped(text: str) -> str:
    """Text in which Discord finds no Markdown, no mention and no emoji."""
    return _MARKS.sub(r"\\\1", text)
