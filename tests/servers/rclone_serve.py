"""rclone as a server of SFTP or WebDAV, for the rclone destination to reach."""

from __future__ import annotations

import base64
import contextlib
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REMOTE = "there"
USER, PASSWORD = "backups", "s3cr3t-of-the-server"

_SETTINGS = {
    "sftp": "type = sftp\nhost = 127.0.0.1\nport = {port}\nuser = {user}\npass = {password}\n",
    "webdav": "type = webdav\nurl = http://127.0.0.1:{port}\nvendor = rclone\nuser = {user}\npass = {password}\n",
}


@dataclass
class RcloneServe:
    """A server that can be killed and started again with the same data."""

    protocol: str
    directory: Path
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        """What it serves."""
        return self.directory / "root"

    def config(self, *, password: str = PASSWORD, port: int = 0) -> str:
        """rclone's configuration of a remote that is this server, or a proxy before it."""
        obscured = subprocess.run(
            [PROGRAM, "obscure", "-"], input=password.encode(), capture_output=True, check=True, env={}
        ).stdout.decode()
        settings = _SETTINGS[self.protocol].format(port=port or self.port, user=USER, password=obscured.strip())
        return f"[{REMOTE}]\n{settings}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
        self.root.mkdir(exist_ok=True)
        log = self.directory / "log"
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(PROGRAM, "serve", self.protocol, str(self.root), f"--addr=127.0.0.1:{self.port}"),
                    *("--vfs-cache-mode=off", "--dir-cache-time=1ms", "--config="),
                ],
                stdout=output,
                stderr=output,
                # The password in an argument list would be found by the tests that look for it there.
                env={
                    "RCLONE_USER": USER,
                    "RCLONE_PASS": PASSWORD,
                    "PATH": "/usr/bin:/bin",
                    "HOME": str(self.directory),
                },
            )
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"rclone did not start:\n{log.read_text()}")
            time.sleep(0.05)

    def lock(self, path: str, seconds: int) -> int:
        """Lock a file of a WebDAV server, which makes it; returns the status of the answer."""
        scope = b'<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>'
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        headers = {"Timeout": f"Second-{seconds}", "Authorization": f"Basic {token}"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("LOCK", f"/{path}", body=scope, headers=headers)
            return connection.getresponse().status

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None


PROGRAM = str(Path(sys.executable).with_name("rclone"))


@contextlib.contextmanager
def rclone_serve(protocol: str, directory: Path) -> Iterator[RcloneServe]:
    """A running server whose data is in ``directory``."""
    server = RcloneServe(protocol, directory)
    server.start()
    try:
        yield server
    finally:
        server.kill()
