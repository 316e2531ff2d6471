"""Stands in for Slack, of which there is no server to be had: refuses whatever its documented form refuses."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PATH = "/services/T0SECRET1/B0SECRET2/x9SecretHookToken77"
_KEYS = {"text", "username", "icon_emoji", "icon_url", "channel", "blocks", "attachments", "mrkdwn"}
_LONGEST = 40_000


@dataclass
class Answer:
    """What to answer instead of judging the message."""

    status: int
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False
    """Take the request and never answer."""


@dataclass
class SlackServer:
    """What a test knows and sets of the running sink."""

    url: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    """Payloads that were accepted."""
    answers: list[Answer] = field(default_factory=list)
    """Answers to come, one for each request; after the last, messages are judged again."""
    requests: int = 0
    closing: threading.Event = field(default_factory=threading.Event)


@contextmanager
def slack_server() -> Iterator[SlackServer]:
    """Run the sink until the block ends."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.daemon_threads = True
    http.slack = SlackServer(f"http://127.0.0.1:{http.server_address[1]}{PATH}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, name="slack", daemon=True)
    thread.start()
    try:
        yield http.slack  # type: ignore[attr-defined]
    finally:
        http.slack.closing.set()  # type: ignore[attr-defined]
        http.shutdown()
        http.server_close()
        thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        slack: SlackServer = self.server.slack  # type: ignore[attr-defined]
        slack.requests += 1
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        answer = slack.answers.pop(0) if slack.answers else self._judged(slack, body)
        if answer.hang:
            slack.closing.wait()
            self.close_connection = True
            return
        content = answer.body.encode()
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.send_error(405)

    def _judged(self, slack: SlackServer, body: bytes) -> Answer:
        if self.path != PATH:
            return Answer(404, "no_service")
        if self.headers.get_content_type() != "application/json":
            return Answer(400, "invalid_payload")
        try:
            payload = json.loads(body.decode("utf-8"))
        except ValueError:
            return Answer(400, "invalid_payload")
        problem = _problem(payload)
        if problem:
            return Answer(400, problem)
        slack.messages.append(payload)
        return Answer(200, "ok")

    def log_message(self, *_args: object) -> None:
        """Tests look at what was received."""


def _problem(payload: Any) -> str:
    """What Slack's form forbids."""
    if not isinstance(payload, dict) or not set(payload) <= _KEYS:
        return "invalid_payload"
    text = payload.get("text")
    if not isinstance(text, str) or not text.strip():
        return "no_text"
    if len(text) > _LONGEST:
        return "msg_too_long"
    if re.search(r"[<>]|&(?!amp;|lt;|gt;)", text):
        return "invalid_payload"  # these three must be escaped, unless they are meant as markup
    if not re.fullmatch(r":[a-z0-9_+'-]+:", payload.get("icon_emoji", ":x:")):
        return "invalid_payload"
    return ""
