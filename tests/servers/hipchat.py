"""HipChat's v2 room notifications: what their documented schema refuses."""

from __future__ import annotations

import re
from typing import Any

from tests.servers.sink import Answer, Request, is_json

PATH = "/v2/room/4242/notification?auth_token=hcSecretRoomToken0815"
_KEYS = {"from", "message_format", "color", "attach_to", "notify", "message", "card"}
_TAGS = r"</?(?:a|b|i|strong|em|br|img|pre|code|lists|tables|li|ul|ol|table|tr|td)(?: href=\"[^\"<>]*\")?/?>"


def judge(request: Request) -> Answer:
    """HipChat's answer to a request."""
    path, _, query = request.path.partition("?")
    if f"{path}?{query}" != PATH:
        return Answer(401, '{"error": {"code": 401, "type": "Unauthorized", "message": "Invalid OAuth session"}}')
    if request.method != "POST" or not is_json(request) or not _is_right(request.json):
        return Answer(400, '{"error": {"code": 400, "type": "Bad Request", "message": "The request was invalid."}}')
    return Answer(204)


def _is_right(payload: Any) -> bool:
    if not isinstance(payload, dict) or not set(payload) <= _KEYS:
        return False
    message = payload.get("message")
    if not isinstance(message, str) or not 1 <= len(message) <= 10_000:
        return False
    return (
        len(payload.get("from", "")) <= 64
        and payload.get("color", "yellow") in {"yellow", "green", "red", "purple", "gray", "random"}
        and isinstance(payload.get("notify", False), bool)
        and payload.get("message_format", "html") in {"html", "text"}
        and (payload.get("message_format") == "text" or not re.search("[<>]", re.sub(_TAGS, "", message)))
    )
