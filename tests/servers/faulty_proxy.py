"""A proxy on loopback that hurts chosen connections: cuts, stalls, slows, corrupts or answers them itself.

It knows just enough of HTTP to see each request's first line; anything else passes as a plain TCP stream.
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

FOREVER = 1 << 30
_CHUNK = 64 << 10
_REQUEST = re.compile(rb"[A-Z]+ [^\r\n]+ HTTP/1\.[01]\r\n")


@dataclass
class Fault:
    """What to do to the next ``times`` connections whose first line matches ``pattern``."""

    pattern: str
    times: int = 1
    status: int = 0
    """Answer with this status instead of asking the server."""
    body: str = ""
    """What to answer with."""
    cut_request: int | None = None
    """Cut the connection after so many bytes of the request's body."""
    cut_answer: int | None = None
    """Cut the connection after so many bytes of the answer; 0 loses it although the server has done the work."""
    corrupt: int | None = None
    """Flip a bit of this byte of the request's body."""
    stall: bool = False
    """Take the request and never answer."""
    pace: float = 0.0
    """Seconds to wait before each 64 KiB of the request."""
    hits: int = 0
    stalled: threading.Event = field(default_factory=threading.Event)
    """Set when a connection was stalled."""


class FaultyProxy:
    """Runs from ``start`` to ``stop``; a fault may be added at any time."""

    def __init__(self, target_port: int) -> None:
        self._target = ("127.0.0.1", target_port)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._sockets: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.seen: list[str] = []
        """The first line of every request so far."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def add(self, fault: Fault) -> Fault:
        """Hurt connections from now on."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def heal(self) -> None:
        """Hurt none any more."""
        with self._lock:
            self._faults.clear()

    def start(self) -> None:
        """Listen; after ``stop`` on the same port again."""
        self._stopping = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener, self._stopping), daemon=True).start()

    def stop(self) -> None:
        """Refuse new connections and cut those that are open."""
        self._stopping.set()
        with self._lock:
            sockets = [*self._sockets]
        if self._listener:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which close alone does not
            self._listener.close()
        for one in sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket, stopping: threading.Event) -> None:
        while not stopping.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client, stopping), daemon=True).start()

    def _serve(self, client: socket.socket, stopping: threading.Event) -> None:
        with self._tracked(client), contextlib.suppress(OSError):
            head, rest = _head(client)
            line = head.split(b"\r\n", 1)[0].decode("latin-1")
            with self._lock:
                self.seen.append(line)
                fault = next((f for f in self._faults if f.hits < f.times and re.search(f.pattern, line)), Fault(""))
                fault.hits += 1
            if fault.stall:
                fault.stalled.set()
                stopping.wait()
            elif fault.status:
                _answer(client, fault)
            else:
                self._forward(client, head, rest, fault)

    def _forward(self, client: socket.socket, head: bytes, rest: bytes, fault: Fault) -> None:
        with self._tracked(socket.create_connection(self._target)) as server:
            server.sendall(head)
            cut = threading.Event()
            up = threading.Thread(target=_pump_request, args=(client, server, rest, fault, cut), daemon=True)
            up.start()
            left = FOREVER if fault.cut_answer is None else fault.cut_answer
            while (data := server.recv(_CHUNK)) and not cut.is_set():
                client.sendall(data[:left])
                left -= len(data)
                if left <= 0:
                    _reset(client)
                    break
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            up.join()

    @contextlib.contextmanager
    def _tracked(self, one: socket.socket) -> Iterator[socket.socket]:
        with self._lock:
            self._sockets.add(one)
        try:
            with one:
                yield one
        finally:
            with self._lock:
                self._sockets.discard(one)


def _head(client: socket.socket) -> tuple[bytes, bytes]:
    """The request's head, asking for one request per connection, and what came after it."""
    data = client.recv(_CHUNK)
    if not _REQUEST.match(data):
        return data, b""
    while b"\r\n\r\n" not in data and (more := client.recv(_CHUNK)):
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close", b"", b""]), rest


def _pump_request(
    client: socket.socket, server: socket.socket, data: bytes, fault: Fault, cut: threading.Event
) -> None:
    """Carry the request's body, with the fault in it; ``cut`` says that no answer is to come through."""
    passed = 0
    with contextlib.suppress(OSError):
        data = data or client.recv(_CHUNK)
        while data:
            if fault.pace:
                threading.Event().wait(fault.pace)
            if fault.cut_request is not None and passed + len(data) >= fault.cut_request:
                server.sendall(data[: fault.cut_request - passed])
                cut.set()
                _reset(client)
                server.shutdown(socket.SHUT_RDWR)
                break
            if fault.corrupt is not None and passed <= fault.corrupt < passed + len(data):
                at = fault.corrupt - passed
                data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            server.sendall(data)
            passed += len(data)
            data = client.recv(_CHUNK)


def _answer(client: socket.socket, fault: Fault) -> None:
    body = fault.body.encode()
    head = f"HTTP/1.1 {fault.status} Fault\r\nContent-Length: {len(body)}\r\nContent-Type: application/xml\r\n"
    client.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
    client.shutdown(socket.SHUT_WR)
    client.settimeout(5)
    while client.recv(_CHUNK):  # else the reset would overtake the answer
        pass


def _reset(client: socket.socket) -> None:
    """Make the closing of the connection a cut, not an end."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.shutdown(socket.SHUT_RD)


@contextlib.contextmanager
def faulty_proxy(target_port: int) -> Iterator[FaultyProxy]:
    """A running proxy before a port of this machine."""
    proxy = FaultyProxy(target_port)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()
