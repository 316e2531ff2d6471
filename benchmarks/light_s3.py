"""A small S3 server that keeps objects in files and needs next to no processor: what is left is the clients' part.

``python -m benchmarks.light_s3 DIRECTORY PORT_FILE``. A body goes from the socket to a file, and back, inside the
kernel. An object that came in parts is the list of their files. Signatures and checksums are not looked at, nothing
is flushed to the disk, and all is forgotten with the process: it is no judge of anything but speed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree
from xml.sax.saxutils import escape

_PIECE = 1 << 20
_HEAD = 64 << 10
_START_SECONDS = 30.0
_XML = '<?xml version="1.0" encoding="UTF-8"?><{0} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{1}</{0}>'


class Store:
    """Objects by bucket and key, each a list of files; parts of an upload by its id."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.objects: dict[str, list[Path]] = {}
        self.parts: dict[str, dict[int, Path]] = {}
        self.lock = threading.Lock()

    def new_file(self) -> Path:
        """Where a body goes."""
        return self.directory / uuid.uuid4().hex

    def keep(self, where: str, files: list[Path]) -> None:
        """These files are the object now."""
        with self.lock:
            old = self.objects.get(where, [])
            self.objects[where] = files
        _unlink(old)

    def opened(self, where: str, stack: contextlib.ExitStack) -> list[BinaryIO] | None:
        """The object's files, whatever becomes of it meanwhile; None without it."""
        with self.lock:
            files = self.objects.get(where)
            return None if files is None else [stack.enter_context(file.open("rb")) for file in files]

    def remove(self, where: str) -> None:
        """The object is gone."""
        with self.lock:
            old = self.objects.pop(where, [])
        _unlink(old)

    def begin(self) -> str:
        """A new upload's id."""
        upload = uuid.uuid4().hex
        self.parts[upload] = {}
        return upload

    def complete(self, where: str, upload: str, numbers: list[int]) -> None:
        """The upload's parts are the object now. Raises KeyError for a part that did not come."""
        parts = self.parts[upload]
        self.keep(where, [parts[number] for number in numbers])
        del self.parts[upload]

    def abort(self, upload: str) -> None:
        """Forget an upload."""
        _unlink(list(self.parts.pop(upload, {}).values()))

    def listed(self, bucket: str, prefix: str, after: str) -> list[tuple[str, int]]:
        """Keys in order, with sizes."""
        with self.lock:
            found = {where[len(bucket) + 2 :]: files for where, files in self.objects.items() if _in(bucket, where)}
        return [(key, size_of(found[key])) for key in sorted(found) if key.startswith(prefix) and key > after]


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    rbufsize = _HEAD
    store: Store

    def do_PUT(self) -> None:
        """A bucket, a part, or an object in one request."""
        where, query = self._where()
        file = self.store.new_file()
        self._take(file)
        if "partNumber" in query:
            self.store.parts[query["uploadId"]][int(query["partNumber"])] = file
        elif where.strip("/").partition("/")[2]:
            self.store.keep(where, [file])
        else:
            file.unlink()
        self._answer(headers={"ETag": f'"{uuid.uuid4().hex}-1"'})

    def do_POST(self) -> None:
        """The begin and the end of an upload in parts."""
        where, query = self._where()
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        bucket, _, key = where.lstrip("/").partition("/")
        names = f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key>"
        if "uploads" in query:
            text = _XML.format("InitiateMultipartUploadResult", f"{names}<UploadId>{self.store.begin()}</UploadId>")
            self._answer(text, headers={"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "FULL_OBJECT"})
        else:
            numbers = [int(e.text or "") for e in ElementTree.fromstring(body).iter() if e.tag.endswith("PartNumber")]
            self.store.complete(where, query["uploadId"], numbers)
            self._answer(_XML.format("CompleteMultipartUploadResult", f'{names}<ETag>"{uuid.uuid4().hex}-1"</ETag>'))

    def do_HEAD(self) -> None:
        """Whether an object is there, and its size."""
        where, _ = self._where()
        files = self.store.objects.get(where)
        if files is None and where.strip("/").partition("/")[2]:
            self._answer(status=404)
        else:
            self._answer(headers={"Content-Length": str(size_of(files or [])), "ETag": '"0-1"'})

    def do_GET(self) -> None:
        """An object, all of it or a range, or a list."""
        where, query = self._where()
        if "list-type" in query:
            self._list(where, query)
            return
        with contextlib.ExitStack() as stack:
            files = self.store.opened(where, stack)
            if files is None:
                self._answer(_XML.format("Error", "<Code>NoSuchKey</Code>"), status=404)
                return
            sizes = [os.fstat(file.fileno()).st_size for file in files]
            start, _, last = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
            begin, end = int(start), min(int(last or sum(sizes) - 1), sum(sizes) - 1) + 1
            part = {"Content-Range": f"bytes {begin}-{end - 1}/{sum(sizes)}"} if "Range" in self.headers else {}
            about = {"Content-Length": str(end - begin), "ETag": '"0-1"', **part}
            self._answer(status=206 if part else 200, headers=about)
            for file, length in zip(files, sizes, strict=True):
                if begin < length and end > 0:
                    self._give(file, max(begin, 0), min(end, length))
                begin, end = begin - length, end - length

    def do_DELETE(self) -> None:
        """An object, or an upload in parts."""
        where, query = self._where()
        if "uploadId" in query:
            self.store.abort(query["uploadId"])
        else:
            self.store.remove(where)
        self._answer(status=204)

    def _list(self, where: str, query: dict[str, str]) -> None:
        """Everything in one page."""
        found = self.store.listed(where.strip("/"), query.get("prefix", ""), query.get("start-after", ""))
        items = "".join(
            f"<Contents><Key>{urllib.parse.quote(key)}</Key><Size>{size}</Size></Contents>" for key, size in found
        )
        about = f"<KeyCount>{len(found)}</KeyCount><IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>"
        self._answer(_XML.format("ListBucketResult", about + items))

    def _where(self) -> tuple[str, dict[str, str]]:
        path, _, query = self.path.partition("?")
        return urllib.parse.unquote(path), dict(urllib.parse.parse_qsl(query, keep_blank_values=True))

    def _take(self, path: Path) -> None:
        """The request's body into a file."""
        left = int(self.headers.get("Content-Length", "0"))
        end, begin = os.pipe()
        fcntl.fcntl(begin, fcntl.F_SETPIPE_SZ, _PIECE)
        try:
            with path.open("wb", buffering=0) as file:
                if left:
                    left -= file.write(self.rfile.read1(min(left, _HEAD)))  # came with the head
                while left and (taken := os.splice(self.connection.fileno(), begin, min(left, _PIECE))):
                    left -= taken
                    while taken:
                        taken -= os.splice(end, file.fileno(), taken)
        finally:
            os.close(end)
            os.close(begin)
        if left:
            path.unlink()
            raise ConnectionError("the body broke off")

    def _give(self, file: BinaryIO, begin: int, end: int) -> None:
        """A file's bytes."""
        while begin < end:
            begin += os.sendfile(self.connection.fileno(), file.fileno(), begin, min(_PIECE, end - begin))

    def _answer(self, body: str = "", *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = body.encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


def size_of(files: list[Path]) -> int:
    """Bytes of an object."""
    return sum(file.stat().st_size for file in files)


def _in(bucket: str, where: str) -> bool:
    return where.startswith(f"/{bucket}/")


def _unlink(files: list[Path]) -> None:
    for file in files:
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def light_s3(directory: Path) -> Iterator[str]:
    """The address of a running server that keeps its objects in ``directory``; every bucket is there."""
    port = directory.with_suffix(".port")
    port.unlink(missing_ok=True)
    server = subprocess.Popen([sys.executable, "-m", "benchmarks.light_s3", str(directory), str(port)])
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not (port.exists() and port.read_text().endswith("\n")):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the light S3 server did not start")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port.read_text().strip()}"
    finally:
        server.kill()
        server.wait()


def main() -> None:
    """Serve until killed; the port goes into the file once it is open."""
    Handler.store = Store(Path(sys.argv[1]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    Path(sys.argv[2]).write_text(f"{server.server_port}\n")
    server.serve_forever()


if __name__ == "__main__":
    main()
