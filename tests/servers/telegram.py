"""Telegram's Bot API: what the documented form of sendMessage refuses."""

from __future__ import annotations

import html
import json
import re
from typing import Any

from tests.servers.sink import Answer, Request, is_json

TOKEN = "295432120:AAsecretTelegramBotToken-x7_Q"
CHAT = "38123456"
_TAG = re.compile(r'<(/?)(b|strong|i|em|u|s|code|pre|a)(?: href="[^"<>]*")?>')


def judge(request: Request) -> Answer:
    """Telegram's answer to a request."""
    match = re.fullmatch(r"/bot([^/]+)/(\w+)", request.path)
    if not match:
        return _refused(404, "Not Found")
    if match[1] != TOKEN:
        return _refused(401, "Unauthorized")
    if match[2] != "sendMessage" or not is_json(request) or not isinstance(request.json, dict):
        return _refused(404, "Not Found: method not found")
    problem = _problem(request.json)
    return _refused(400, f"Bad Request: {problem}") if problem else Answer(200, '{"ok": true, "result": {}}')


def _refused(code: int, description: str) -> Answer:
    return Answer(code, json.dumps({"ok": False, "error_code": code, "description": description}))


def _problem(payload: dict[str, Any]) -> str:
    if payload.get("chat_id") not in (CHAT, int(CHAT)):
        return "chat not found"
    text = payload.get("text")
    if not isinstance(text, str) or not text.strip():
        return "message text is empty"
    if payload.get("parse_mode") == "HTML":
        open_tags: list[str] = []
        for closing, tag in _TAG.findall(text):
            if not closing:
                open_tags.append(tag)
            elif not open_tags or open_tags.pop() != tag:
                return "can't parse entities: unexpected end tag"
        text = _TAG.sub("", text)
        if open_tags or re.search(r"[<>]|&(?!(amp|lt|gt|quot|#\w+);)", text):
            return "can't parse entities: unsupported start tag"
        text = html.unescape(text)
    if len(text.encode("utf-16-le")) // 2 > 4096:
        return "message is too long"
    return ""
