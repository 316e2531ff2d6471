"""Slack's incoming web hooks: what their documented form, and that of blocks, refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.servers.sink import Answer, Request, Sink, is_json, serving

__all__ = ["PATH", "Answer", "SlackServer", "judge", "slack_server"]

PATH = "/services/T0SECRET1/B0SECRET2/x9SecretHookToken77"
_KEYS = {"text", "username", "icon_emoji", "icon_url", "channel", "blocks", "attachments", "mrkdwn"}
_LONGEST = 40_000
_MOST_BLOCKS = 50


class SlackServer(Sink):
    """Slack's stand-in with one hook."""

    @property
    def url(self) -> str:
        """Address of the hook."""
        return self.base + PATH


@contextmanager
def slack_server() -> Iterator[SlackServer]:
    """Run Slack's stand-in until the block ends."""
    with serving(lambda port: SlackServer(port, judge)) as running:
        yield running


def judge(request: Request) -> Answer:
    """Slack's answer to a request."""
    if request.path != PATH:
        return Answer(404, "no_service")
    if request.method != "POST" or not is_json(request):
        return Answer(400, "invalid_payload")
    problem = _problem(request.json)
    return Answer(400, problem) if problem else Answer(200, "ok")


def _problem(payload: Any) -> str:
    """What Slack's form forbids."""
    if not isinstance(payload, dict) or not set(payload) <= _KEYS:
        return "invalid_payload"
    blocks = payload.get("blocks", [])
    if not isinstance(blocks, list) or len(blocks) > _MOST_BLOCKS or not all(_block_is_right(b) for b in blocks):
        return "invalid_blocks"
    text = payload.get("text")
    if not isinstance(text, str) or not text.strip():
        return "no_text"
    if len(text) > _LONGEST:
        return "msg_too_long"
    # The three of markup must be escaped, unless they are meant.
    icon_is_right = re.fullmatch(r":[a-z0-9_+'-]+:", payload.get("icon_emoji", ":x:"))
    return "" if icon_is_right and not _unescaped(text) else "invalid_payload"


def _unescaped(text: str) -> bool:
    return re.search(r"[<>]|&(?!amp;|lt;|gt;)", text) is not None


def _block_is_right(block: Any) -> bool:
    match block:
        case {"type": "header", "text": {"type": "plain_text", "text": str(text), **rest}, **others}:
            return 0 < len(text) <= 150 and set(rest) <= {"emoji"} and set(others) <= {"block_id"}
        case {"type": "section", "text": text, **others}:
            return _text_is_right(text, 3000) and set(others) <= {"block_id", "fields", "accessory", "expand"}
        case {"type": "context", "elements": list(elements), **others}:
            right = all(_text_is_right(element, 3000) for element in elements)
            return 0 < len(elements) <= 10 and right and set(others) <= {"block_id"}
        case _:
            return False


def _text_is_right(text: Any, longest: int) -> bool:
    match text:
        case {"type": "mrkdwn", "text": str(words), **rest}:
            links = re.sub(r"<https?://[^<>|]+>", "", words)  # the only markup with brackets that may be meant
            return 0 < len(words) <= longest and set(rest) <= {"verbatim"} and not _unescaped(links)
        case _:
            return False
