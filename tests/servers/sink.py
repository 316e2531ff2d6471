"""Stands in for services of which there is no server to be had: answers as told, or judges a request by its form.

The judges of each service stand in files of their own and refuse whatever the documented form refuses.
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import trustme


@dataclass(frozen=True)
class Answer:
    """What a service answers."""

    status: int
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    hang: bool = False
    """Take the request and never answer."""


@dataclass(frozen=True)
class Request:
    """One request as it came in."""

    method: str
    path: str
    """With the query."""
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON; None when it is none."""
        try:
            return json.loads(self.body.decode())
        except ValueError:
            return None


Judge = Callable[[Request], Answer]


def takes_all(_request: Request) -> Answer:
    """A service that refuses nothing."""
    return Answer(200, "OK")


@dataclass
class Sink:
    """What a test knows and sets of a running sink."""

    port: int
    judge: Judge = takes_all
    tls: bool = False
    requests: int = 0
    received: list[Request] = field(default_factory=list)
    accepted: list[Request] = field(default_factory=list)
    """Those that the judge took."""
    answers: list[Answer] = field(default_factory=list)
    """Answers to come, one for each request; after the last, requests are judged again."""
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def base(self) -> str:
        """Its address without a path."""
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def messages(self) -> list[Any]:
        """The JSON of what was accepted."""
        return [request.json for request in self.accepted]


S = TypeVar("S", bound=Sink)


@contextmanager
def sink(judge: Judge = takes_all, *, tls: bool = False) -> Iterator[Sink]:
    """Run a sink until the block ends; with ``tls``, its certificate is of an authority that nobody knows."""
    with serving(lambda port: Sink(port, judge, tls)) as running:
        yield running


@contextmanager
def serving(make: Callable[[int], S]) -> Iterator[S]:
    """Run the sink that ``make`` makes for a port."""
    http = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    http.daemon_threads = True
    running = make(http.server_address[1])
    if running.tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
        # The handshake must not be made by the thread that accepts: a client that refuses it would end that one.
        http.socket = context.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
    http.sink = running  # type: ignore[attr-defined]
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, name="sink", daemon=True)
    thread.start()
    try:
        yield running
    finally:
        running.closing.set()
        http.shutdown()
        http.server_close()
        thread.join(10)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # an answer in two pieces would wait for an acknowledgement

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the client did not like the certificate, or gave up

    def do_POST(self) -> None:
        running: Sink = self.server.sink  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        request = Request(self.command, self.path, dict(self.headers), body)
        running.requests += 1
        running.received.append(request)
        answer = running.answers.pop(0) if running.answers else self._judged(running, request)
        if answer.hang:
            running.closing.wait()
            self.close_connection = True
            return
        content = answer.body.encode()
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_PUT = do_POST  # noqa: N815 - the library's name

    def do_GET(self) -> None:
        self.send_error(405)

    def _judged(self, running: Sink, request: Request) -> Answer:
        answer = running.judge(request)
        if 200 <= answer.status < 300:
            running.accepted.append(request)
        return answer

    def log_message(self, *_args: object) -> None:
        """Tests look at what was received."""


def is_json(request: Request) -> bool:
    """Whether the request says that it brings JSON."""
    return request.headers.get("Content-Type", "").split(";")[0] == "application/json"
