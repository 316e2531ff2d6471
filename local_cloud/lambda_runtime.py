"""One Lambda execution environment: awslambdaric in a sandboxed process, served by its own Runtime API.

It handles one invocation at a time, as on AWS; the pool in ``seams/lambda_service.py`` starts as many as are needed.
"""

from __future__ import annotations

import json
import queue
import threading
import time
import uuid
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from local_cloud.processes import Sandboxed
from local_cloud.settings import LOOPBACK

INIT_SECONDS = 60.0
"""For imports. AWS allows 10 and then restarts them within the function's timeout; this machine may be slower."""


@dataclass(frozen=True)
class Outcome:
    """How an invocation ended."""

    body: object
    failed: bool
    log: str
    reusable: bool = True
    """Whether the environment can take another invocation."""


@dataclass(frozen=True)
class _Request:
    identifier: str
    body: bytes
    deadline: float
    arn: str


class Environment:
    """A running interpreter that waits for invocations."""

    def __init__(self, argv: list[str], variables: Mapping[str, str], bundle: Path, output: Path) -> None:
        self._requests: queue.Queue[_Request] = queue.Queue()
        self._answer: Future[tuple[bool, bytes]] = Future()
        self._ready = threading.Event()
        self._init_error: bytes | None = None
        self._api = _RuntimeApi(self)
        self._output = output
        address = f"{LOOPBACK}:{self._api.server_port}"
        self._process = Sandboxed(
            argv,
            environment={**variables, "AWS_LAMBDA_RUNTIME_API": address, "LAMBDA_TASK_ROOT": str(bundle)},
            directory=bundle,
            output=output,
        )
        self._read = 0
        threading.Thread(target=self._api.serve_forever, daemon=True).start()
        threading.Thread(target=self._watch, daemon=True).start()

    @property
    def alive(self) -> bool:
        return self._process.status is None

    def invoke(self, identifier: str, event: object, *, timeout: float, arn: str) -> Outcome:
        """Run the handler for at most ``timeout`` seconds, after the imports of a first invocation."""
        answer: Future[tuple[bool, bytes]] = Future()
        self._answer = answer
        if not self.alive:
            self.ended()
        if not self._ready.wait(INIT_SECONDS):
            return self._end(identifier, "Sandbox.Timedout", f"Init timed out after {INIT_SECONDS:.2f} seconds")
        if self._init_error is not None:
            self.close()
            return Outcome(json.loads(self._init_error), True, self._log(), reusable=False)
        self._requests.put(_Request(identifier, json.dumps(event).encode(), time.time() + timeout, arn))
        try:
            failed, body = answer.result(timeout)
        except FutureTimeout:
            return self._end(identifier, "Sandbox.Timedout", f"Task timed out after {timeout:.2f} seconds")
        if not self.alive:
            self.close()
        return Outcome(json.loads(body or b"null"), failed, self._log(), reusable=self.alive)

    def _end(self, identifier: str, kind: str, message: str) -> Outcome:
        self.close()
        text = f"RequestId: {identifier} Error: {message}"
        return Outcome({"errorType": kind, "errorMessage": text}, True, f"{self._log()}{text}\n", reusable=False)

    def next_request(self) -> _Request | None:
        """For the Runtime API: the next invocation, or None when the process is gone."""
        self._ready.set()
        while self.alive:
            try:
                return self._requests.get(timeout=1)
            except queue.Empty:
                continue
        return None

    def answer(self, *, failed: bool, body: bytes) -> None:
        """For the Runtime API: the handler's result, or its error."""
        if not self._answer.done():
            self._answer.set_result((failed, body))

    def init_failed(self, body: bytes) -> None:
        """For the Runtime API: the handler's module could not be imported."""
        self._init_error = body
        self._ready.set()

    def ended(self) -> None:
        """The process is gone: whatever it was doing failed."""
        error = {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"Error: Runtime exited with error: exit status {self._process.status}",
        }
        self.answer(failed=True, body=json.dumps(error).encode())
        self._ready.set()

    def _watch(self) -> None:
        self._process.wait()
        self.ended()

    def _log(self) -> str:
        # A file, since everything printed before the answer is in it already when the answer arrives.
        with self._output.open("rb") as output:
            output.seek(self._read)
            text = output.read()
        self._read += len(text)
        return text.decode(errors="replace")

    def close(self) -> None:
        """Kill the process and end its API."""
        self._process.kill()
        self._api.shutdown()
        self._api.server_close()


class _RuntimeApi(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, environment: Environment) -> None:
        super().__init__((LOOPBACK, 0), _Handler)
        self.environment = environment


class _Handler(BaseHTTPRequestHandler):
    """``/2018-06-01/runtime/``: invocation/next, invocation/ID/response, invocation/ID/error, init/error."""

    protocol_version = "HTTP/1.1"
    server: _RuntimeApi

    def log_message(self, format: str, *args: object) -> None:
        """Each invocation is in the function's own log already."""

    def do_GET(self) -> None:
        request = self.server.environment.next_request()
        if request is None:
            self.close_connection = True
            return
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request.identifier,
            "Lambda-Runtime-Deadline-Ms": str(int(request.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": request.arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Sampled=0",
            "Content-Type": "application/json",
        }
        self._reply(200, headers, request.body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/init/error"):
            self.server.environment.init_failed(body)
        else:
            self.server.environment.answer(failed=self.path.endswith("/error"), body=body)
        self._reply(202, {"Content-Type": "application/json"}, b"{}")

    def _reply(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
