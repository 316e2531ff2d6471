"""Discord's web hooks: what their documented form refuses."""

from __future__ import annotations

from typing import Any

from tests.servers.sink import Answer, Request, is_json

PATH = "/api/webhooks/1098765432101234567/aB3dSecretDiscordToken_x7-Q"
_KEYS = {
    "content", "username", "avatar_url", "tts", "embeds", "allowed_mentions", "components", "attachments", "flags",
    "thread_name", "applied_tags", "poll",
}  # fmt: skip
_EMBED_KEYS = {
    "title", "type", "description", "url", "timestamp", "color", "footer", "image", "thumbnail", "author", "fields",
}  # fmt: skip


def judge(request: Request) -> Answer:
    """Discord's answer to a request."""
    if request.path != PATH:
        return Answer(404, '{"message": "Unknown Webhook", "code": 10015}')
    if request.method != "POST" or not is_json(request):
        return Answer(400, '{"message": "The request body contains invalid JSON.", "code": 50109}')
    if _is_right(request.json):
        return Answer(204)
    return Answer(400, '{"message": "Invalid Form Body", "code": 50035}')


def _length(text: Any) -> int:
    """In 16-bit units, the stricter way to count; of something that is no text, more than is ever allowed."""
    return len(text.encode("utf-16-le")) // 2 if isinstance(text, str) else 1_000_000


def _is_right(payload: Any) -> bool:
    if not isinstance(payload, dict) or not set(payload) <= _KEYS:
        return False
    embeds = payload.get("embeds", [])
    if not isinstance(embeds, list) or len(embeds) > 10 or not (payload.get("content") or embeds):
        return False
    if _length(payload.get("content", "")) > 2000 or not 1 <= _length(payload.get("username", "x")) <= 80:
        return False
    return all(_embed_is_right(embed) for embed in embeds) and sum(map(_embed_length, embeds)) <= 6000


def _embed_is_right(embed: Any) -> bool:
    if not isinstance(embed, dict) or not set(embed) <= _EMBED_KEYS:
        return False
    fields = embed.get("fields", [])
    return (
        _length(embed.get("title", "")) <= 256
        and _length(embed.get("description", "")) <= 4096
        and _length(embed.get("footer", {}).get("text", "")) <= 2048
        and 0 <= embed.get("color", 0) <= 0xFFFFFF
        and len(fields) <= 25
        and all(
            set(f) <= {"name", "value", "inline"}
            and 1 <= _length(f["name"]) <= 256
            and 1 <= _length(f["value"]) <= 1024
            for f in fields
        )
        and bool(embed.get("title") or embed.get("description") or fields)
    )


def _embed_length(embed: Any) -> int:
    texts = [embed.get("title", ""), embed.get("description", ""), embed.get("footer", {}).get("text", "")]
    texts += [text for field in embed.get("fields", []) for text in (field["name"], field["value"])]
    return sum(map(_length, texts))
