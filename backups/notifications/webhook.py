"""One JSON request to a web hook, with errors that people can act on and that never show the address."""

from __future__ import annotations

import time
import urllib.parse
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import requests
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.base import REQUEST_SECONDS
from backups.notifications.message import one_line

LONGEST_WAIT = 20
"""Seconds: a service that asks for a longer pause is not waited for."""

_ANSWER_BYTES = 300  # of an error page; services answer with a word such as invalid_payload

_HINTS: dict[int, str] = {
    HTTPStatus.FORBIDDEN: "the service refuses this hook: check its settings there",
    HTTPStatus.NOT_FOUND: "the hook does not exist: check 'url'",
    HTTPStatus.GONE: "the hook was taken away: make a new one and change 'url'",
    HTTPStatus.TOO_MANY_REQUESTS: "too many messages at once",
}


@dataclass(frozen=True)
class _Answer:
    status: int
    body: str
    retry_after: str


def post_json(url: SecretStr, payload: dict[str, Any], context: Context, *, service: str) -> None:
    """Post ``payload``; the address holds a token, so it goes into no text. Raises NotificationError."""
    address = url.get_secret_value()
    hide_address(address, context)
    answer = _post(address, payload, service)
    wait = _pause(answer)
    if wait is not None:
        time.sleep(wait)
        answer = _post(address, payload, service)
    _check(answer, context, service)


def hide_address(address: str, context: Context) -> None:
    """Make the scrubber know the parts in which libraries show an address, since these hold the token."""
    parts = urllib.parse.urlsplit(address)
    context.secrets.scrub.add(address)
    for part in (parts.path, parts.query, f"{parts.path}?{parts.query}", parts.path.rpartition("/")[2]):
        if len(part.strip("/?")) >= 4:
            context.secrets.scrub.add(part)


def _post(address: str, payload: dict[str, Any], service: str) -> _Answer:
    try:
        with requests.post(
            address, json=payload, timeout=REQUEST_SECONDS, allow_redirects=False, stream=True
        ) as response:
            body = response.raw.read(_ANSWER_BYTES, decode_content=True) or b""
            return _Answer(response.status_code, body.decode(errors="replace"), response.headers.get("Retry-After", ""))
    except requests.Timeout:
        raise NotificationError(f"{service}: no answer within {REQUEST_SECONDS} s") from None
    except requests.exceptions.SSLError:
        raise NotificationError(
            f"{service}: its certificate can't be trusted", hint="is a proxy in between?", permanent=True
        ) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
        raise NotificationError(f"{service}: 'url' is no web address", permanent=True) from None
    except (requests.RequestException, HTTPError, OSError) as error:
        # its text is left out: libraries show the address in it
        raise NotificationError(f"{service}: the connection failed ({type(error).__name__})") from None


def _pause(answer: _Answer) -> float | None:
    """Seconds to wait before the one repetition that a busy service asks for; None when there is none."""
    if answer.status != HTTPStatus.TOO_MANY_REQUESTS:
        return None
    seconds = int(answer.retry_after) if answer.retry_after.isdecimal() else 1
    return seconds if seconds <= LONGEST_WAIT else None


def _check(answer: _Answer, context: Context, service: str) -> None:
    if 200 <= answer.status < 300:
        return
    words = context.secrets.scrub(one_line(answer.body))
    message = f"{service} answered {answer.status}" + (f": {words}" if words else "")
    permanent = answer.status < 500
    hint = _HINTS.get(answer.status, "")
    raise NotificationError(message, hint=hint, permanent=permanent)
