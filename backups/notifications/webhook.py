"""One request to a web service, with errors that people can act on and that never show the address."""

from __future__ import annotations

import json
import math
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.words import one_line

if TYPE_CHECKING:
    import requests

    from backups.notifications.exchange import Answer

LONGEST_WAIT = 20
"""Seconds: a service that asks for a longer pause is not waited for."""

ANSWER_BYTES = 4096
"""Enough for the JSON of an error, in which some services name the pause they want."""

_ANSWER_SHOWN = 300  # characters of an error page; services answer with a word such as invalid_payload
_SHORTEST_TOKEN = 12  # characters of a part of an address that is no mere word
_LONGEST_SECRET = 1000  # characters at the end of a cut answer that may be a part of one, which no scrubber knows

_TEMPORARY = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""Answers below 500 that may be another one the next time."""

_HINTS: dict[int, str] = {
    HTTPStatus.FORBIDDEN: "the service refuses this hook: check its settings there",
    HTTPStatus.NOT_FOUND: "the hook does not exist: check 'url'",
    HTTPStatus.GONE: "the hook was taken away: make a new one and change 'url'",
    HTTPStatus.TOO_MANY_REQUESTS: "too many messages at once",
}


@dataclass(frozen=True)
class Call:
    """A request. No text shows its address, headers or body."""

    service: str
    """How errors call the other side."""
    address: str
    body: bytes
    method: str = "POST"
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)
    login: tuple[str, str] | None = None
    """User and password for HTTP basic authentication."""
    hints: Mapping[int, str] = field(default_factory=lambda: _HINTS)
    """What to do about an answer's status."""
    setting: str = "url"
    """The key of the job file that the address comes from."""


def post_json(
    url: SecretStr, payload: dict[str, Any], context: Context, *, service: str, hints: Mapping[int, str] = _HINTS
) -> None:
    """Post ``payload``; the address holds a token, so it goes into no text. Raises NotificationError."""
    address = url.get_secret_value()
    hide_address(address, context)
    request(Call(service, address, json_bytes(payload), hints=hints), context)


def json_bytes(payload: object) -> bytes:
    """JSON as it is sent."""
    return json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode()


def request(call: Call, context: Context, session: requests.Session | None = None) -> None:
    """Make a request, and once more when the service asks for a short pause. Raises NotificationError.

    ``session`` is for many requests to the same service.
    """
    from backups.notifications.exchange import ask

    answer = ask(call, session)
    wait = _pause(answer)
    if wait is not None:
        context.pause(wait)
        answer = ask(call, session)
    _check(call, answer, context)


def hide_address(address: str, context: Context) -> None:
    """Make the scrubber know the parts in which libraries show an address, since these hold the token."""
    parts = urllib.parse.urlsplit(address)
    context.secrets.scrub.add(address)
    for part in (parts.path, parts.query, f"{parts.path}?{parts.query}", parts.path.rpartition("/")[2]):
        if len(part.strip("/?")) >= 4:
            context.secrets.scrub.add(part)
    values = [value for _, value in urllib.parse.parse_qsl(parts.query)]
    for part in (*parts.path.split("/"), *values, parts.password or ""):
        if len(part) >= _SHORTEST_TOKEN and any(char.isdigit() for char in part):
            context.secrets.scrub.add(part)


def _pause(answer: Answer) -> float | None:
    """Seconds to wait before the one repetition that a busy service asks for; None when there is none."""
    if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
        return None
    try:
        seconds = float(answer.retry_after) if answer.retry_after else _pause_in_body(answer.body)
    except (ValueError, RecursionError):
        seconds = 1.0
    return seconds if math.isfinite(seconds) and 0 <= seconds <= LONGEST_WAIT else None


def _pause_in_body(body: str) -> float:
    """Discord, Telegram and older Matrix servers say it in JSON. Raises ValueError when it is not there."""
    content = json.loads(body)
    content = content if isinstance(content, dict) else {}
    inner = content.get("parameters")
    if "retry_after_ms" in content:
        return float(str(content["retry_after_ms"])) / 1000
    return float(str((inner if isinstance(inner, dict) else content).get("retry_after", "")))


def _check(call: Call, answer: Answer, context: Context) -> None:
    if 200 <= answer.status < 300:
        return
    words = context.secrets.scrub(one_line(answer.body))
    if len(answer.body.encode()) >= ANSWER_BYTES:
        words = words[:-_LONGEST_SECRET]
    words = words[:_ANSWER_SHOWN]
    message = f"{call.service} answered {answer.status}" + (f": {words}" if words else "")
    raise NotificationError(
        message,
        hint=call.hints.get(answer.status, ""),
        permanent=answer.status < 500 and answer.status not in _TEMPORARY,
        busy=answer.status == HTTPStatus.TOO_MANY_REQUESTS,
    )
