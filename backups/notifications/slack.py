"""Slack: an incoming web hook. The old words are the text; the facts stand in blocks, which Slack shows instead."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import SecretStr

from backups.context import Context
from backups.notifications.base import MessageChannel
from backups.notifications.message import Entry, Message
from backups.notifications.rich import fact_lines, within
from backups.notifications.webhook import post_json
from backups.notifications.words import fitted, shortened
from backups.records import Outcome

_LONGEST = 4000  # characters: what Slack advises; far longer texts it would cut itself
_LONGEST_HEADER = 150
_LONGEST_SECTION = 3000
_LONGEST_BLOCKS = 40_000  # characters of all sections: as many as a message may have; 50 blocks are allowed
_MOST_ENTRIES = 45
_MARKS = {
    Outcome.STORED: ":large_green_circle:",
    Outcome.PARTIAL: ":large_orange_circle:",
    Outcome.FAILED: ":red_circle:",
    Outcome.SKIPPED: ":white_circle:",
}


class Slack(MessageChannel):
    """A message to a Slack channel."""

    label: ClassVar[str] = "Slack"
    identity: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["slack"] = "slack"

    url: SecretStr
    """Address of the incoming web hook; a secret, since whoever knows it can post."""

    def post(self, message: Message, context: Context) -> None:
        payload = {
            "username": "Backup Agent",
            "icon_emoji": ":+1:" if message.ok else ":imp:",
            "text": fitted(lambda room: _escaped(message.cut(room)), _LONGEST),
            "blocks": _blocks(message),
        }
        post_json(self.url, payload, context, service="Slack")


def _blocks(message: Message) -> list[dict[str, Any]]:
    header = {"type": "plain_text", "text": shortened(message.subject, _LONGEST_HEADER), "emoji": False}
    blocks: list[dict[str, Any]] = [{"type": "header", "text": header}]
    shown = within(message.entries, _section, _LONGEST_BLOCKS, 0, most=_MOST_ENTRIES)
    blocks += [{"type": "section", "text": _marked(text)} for text in shown]
    link = _escaped(message.link)
    if link and len(link) < _LONGEST_SECTION // 2:
        blocks.append({"type": "context", "elements": [_marked(f"See <{link.replace('|', '%7C')}>")]})
    return blocks


def _section(entry: Entry) -> str:
    title = f"{_MARKS[entry.outcome]} *{_escaped(entry.title)}*"
    room = _LONGEST_SECTION - len(title) - 1
    return title + "\n" + fact_lines(entry.facts, lambda f: f"*{f.name}*: {_escaped(f.value)}", room)


def _marked(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}  # names of people and channels stay mere text


def _escaped(text: str) -> str:
    """Slack reads & < > as markup: an error text could otherwise call everyone in the channel."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
