"""What Google documents and fake-gcs-server lacks, in front of it: tokens, the state of uploads, compared sums.

fake-gcs-server takes the question how far an upload came for its end, appends what is sent twice, compares no sum,
looks at no token, deletes the live generation whichever is asked for, and answers batches with nothing. So uploads are
collected here as Google's documentation says, and reach it when they are complete; what is stored, listed and read is
its work.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import re
import tempfile
import threading
import urllib.parse
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import IO, Any

import google_crc32c
import requests

UNIT = 256 << 10
LARGE = 1 << 30
"""fake-gcs-server needs several times an object's size as memory: a larger one is only checked and listed here."""
_PASSED = ("content-type", "content-range", "content-length", "location", "etag", "x-goog-generation", "x-goog-hash")


@dataclass
class Upload:
    """One that was begun."""

    name: str
    upstream: str
    content: IO[bytes] = field(default_factory=tempfile.TemporaryFile)
    size: int = 0
    finished: requests.Response | None = None

    def add(self, data: bytes) -> None:
        """Append what came."""
        self.content.seek(self.size)
        self.content.write(data)
        self.size += len(data)

    def crc32c(self) -> str:
        """The sum of everything, as Google writes it."""
        found = google_crc32c.Checksum()
        self.content.seek(0)
        while block := self.content.read(1 << 20):
            found.update(block)
        return base64.b64encode(found.digest()).decode()


class Front:
    """Listens from ``start`` to ``stop``."""

    def __init__(self, upstream: str, token: str) -> None:
        self.upstream = upstream
        self.token = token
        self.uploads: dict[str, Upload] = {}
        self.large: dict[str, dict[str, Any]] = {}
        """Objects that fake-gcs-server does not have, as Google tells of them."""
        self.refused: dict[str, int] = {}
        """Objects that may not be removed, each with the status to say so with."""
        self.removed: set[tuple[str, str]] = set()
        """Generations of objects that were removed by their number: fake-gcs-server keeps them for ever."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_port

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def unfinished(self, prefix: str) -> list[str]:
        """Names of objects whose uploads were neither completed nor cancelled."""
        return [u.name for u in self.uploads.values() if u.name.startswith(prefix) and not u.finished]

    def forget(self, prefix: str) -> None:
        """Drop uploads that were not completed, as Google does after a week."""
        for number in [n for n, u in self.uploads.items() if u.name.startswith(prefix) and not u.finished]:
            del self.uploads[number]

    def start(self) -> None:
        """Listen."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()


def _handler(front: Front) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - a class that knows its front
    class Handler(BaseHTTPRequestHandler):
        """One request."""

        protocol_version = "HTTP/1.1"

        def _handle(self) -> None:
            try:
                self._answer()
            except (requests.RequestException, OSError):
                self.close_connection = True

        do_GET = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815 - what the base class calls

        def _answer(self) -> None:
            wanted = int(self.headers.get("Content-Length") or 0)
            body = b""
            while len(body) < wanted and (more := self.rfile.read1(wanted - len(body))):
                body += more
            parts = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(parts.query))
            if self.headers.get("Authorization") != f"Bearer {front.token}":
                self._say(401, "Invalid Credentials")
            elif upload := query.get("upload_id"):
                self._upload(upload, body, wanted)
            elif query.get("uploadType") == "resumable":
                self._begin(body, query.get("name") or json.loads(body)["name"])
            elif parts.path.startswith("/batch/"):
                self._batch(body)
            elif self.command == "DELETE" and self._is_another(parts.path, query.get("ifGenerationMatch")):
                self._say(412, "At least one of the pre-conditions you specified did not hold.")
            elif query.get("versions", "").lower() == "true":  # Google takes "True" too, and its client sends that
                found = self._ask(front.upstream + self.path.replace("versions=True", "versions=true"), body).json()
                left = [o for o in found.get("items", []) if (o["name"], o["generation"]) not in front.removed]
                self._tell({**found, "items": left})
            elif front.large and self.command == "GET" and parts.path.endswith("/o"):
                self._list(self._ask(front.upstream + self.path, body), query.get("prefix", ""))
            elif self.command == "GET" and query.get("alt") == "media":
                self._stream(self._ask(front.upstream + self.path, body, stream=True))
            else:
                self._pass(self._ask(front.upstream + self.path, body))

        def _ask(
            self, url: str, body: bytes | IO[bytes], headers: dict[str, str] | None = None, *, stream: bool = False
        ) -> requests.Response:
            passed = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection", "x-goog-hash")}
            given = {**passed, **(headers or {})}
            return requests.request(self.command, url, data=body, headers=given, timeout=600, stream=stream)

        def _is_another(self, path: str, generation: str | None) -> bool:
            return (
                generation is not None
                and requests.get(front.upstream + path, timeout=60).json().get("generation", generation) != generation
            )

        def _batch(self, body: bytes) -> None:
            """Each request in it by itself; fake-gcs-server answers none of this client's."""
            answers = []
            for address in re.findall(rb"DELETE (\S+) HTTP/1\.1", body):
                path = address.decode()
                path = path[path.index("/storage/") :]
                name = urllib.parse.unquote(path.partition("?")[0].rpartition("/")[2])
                status = front.refused.get(name, 0)
                error = json.dumps({"error": {"code": status, "message": f"Object '{name}' is under active hold."}})
                if not status:
                    status, error = self._delete(path, name), ""
                answers.append(
                    "--part\r\nContent-Type: application/http\r\n\r\n"
                    f"HTTP/1.1 {status} \r\nContent-Type: application/json\r\n\r\n{error}\r\n"
                )
            content = ("".join(answers) + "--part--\r\n").encode()
            self._write(200, {"Content-Type": 'multipart/mixed; boundary="part"'}, content)

        def _delete(self, path: str, name: str) -> int:
            """The status. A generation goes for good, and the object only with its live one."""
            generation = dict(urllib.parse.parse_qsl(path.partition("?")[2])).get("generation", "")
            bare = front.upstream + path.partition("?")[0]
            if generation:
                front.removed.add((name, generation))
                if requests.get(bare, timeout=60).json().get("generation") != generation:
                    return 204
            return requests.delete(bare, timeout=60).status_code

        def _begin(self, body: bytes, name: str) -> None:
            answer = self._ask(front.upstream + self.path, body)
            if not answer.ok:
                self._pass(answer)
                return
            upload = uuid.uuid4().hex
            front.uploads[upload] = Upload(name, answer.headers["Location"])
            where = f"http://{self.headers['Host']}{self.path}&upload_id={upload}"
            self._write(200, {"Location": where}, b"")

        def _upload(self, number: str, body: bytes, wanted: int) -> None:
            upload = front.uploads.get(number)
            if upload is None:
                self._say(404, "Not Found")
                return
            if self.command == "DELETE":
                del front.uploads[number]
                self._say(499, "Client Closed Request")
                return
            if upload.finished:
                self._pass(upload.finished)
                return
            match = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", self.headers["Content-Range"])
            assert match
            have = upload.size
            if match[1] is not None:
                if int(match[1]) > have:
                    self._say(503, "There is a gap")
                    return
                upload.add(body[have - int(match[1]) :])  # what it has is ignored when it comes again
            if len(body) < wanted:  # cut: what came is kept in whole units
                upload.size = max(have, upload.size // UNIT * UNIT)
            if match[2] != "*" and upload.size == int(match[2]):
                self._finish(number, upload)
            else:
                done = {"Range": f"bytes=0-{upload.size - 1}"} if upload.size else {}
                self._write(308, done, b"")

        def _finish(self, number: str, upload: Upload) -> None:
            given = re.search("crc32c=(.*)", self.headers.get("X-Goog-Hash", ""))
            upload.content.truncate(upload.size)
            found = upload.crc32c()
            if given and given[1] != found:
                del front.uploads[number]
                self._say(400, f"Provided CRC32C {given[1]} doesn't match calculated CRC32C {found}.")
                return
            if upload.size > LARGE:
                now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                told = {"name": upload.name, "size": str(upload.size), "crc32c": found, "generation": "1"}
                front.large[upload.name] = {**told, "timeCreated": now}
                upload.content.close()
                self._tell(front.large[upload.name])
                return
            span = f"bytes 0-{upload.size - 1}/{upload.size}" if upload.size else "bytes */0"
            upload.content.seek(0)
            sent = {"Content-Range": span, "Content-Length": str(upload.size)}
            upload.finished = self._ask(upload.upstream, upload.content if upload.size else b"", sent)
            upload.content.close()
            self._pass(upload.finished)

        def _pass(self, answer: requests.Response) -> None:
            headers = {
                k: v for k, v in answer.headers.items() if k.lower() in _PASSED and k.lower() != "content-length"
            }
            self._write(answer.status_code, headers, answer.content)

        def _list(self, answer: requests.Response, prefix: str) -> None:
            items = answer.json().get("items", []) + [o for o in front.large.values() if o["name"].startswith(prefix)]
            self._tell({**answer.json(), "items": sorted(items, key=lambda one: str(one["name"]))})

        def _tell(self, content: dict[str, Any]) -> None:
            self._write(200, {"Content-Type": "application/json"}, json.dumps(content).encode())

        def _stream(self, answer: requests.Response) -> None:
            """An object's bytes, which end in the middle when the server dies."""
            with answer:
                self.send_response(answer.status_code)
                for name, value in answer.headers.items():
                    if name.lower() in _PASSED:
                        self.send_header(name, value)
                self.end_headers()
                for block in answer.iter_content(1 << 16):
                    self.wfile.write(block)

        def _say(self, status: int, message: str) -> None:
            content = json.dumps({"error": {"code": status, "message": message}}).encode()
            self._write(status, {"Content-Type": "application/json"}, content)

        def _write(self, status: int, headers: dict[str, str], content: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            if self.close_connection:
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing: a test's output is no log."""

    return Handler
