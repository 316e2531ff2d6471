"""A real MariaDB server on a free port of the loopback, in a directory of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

START_SECONDS = 60
ADMIN = "keeper"
ADMIN_PASSWORD = "Ad#min \"of\" the 'server'"

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"])
_SOCKET_BYTES = 100  # a socket's path may have 107


class MariaDB:
    """Starts in ``with``, and is stopped by its process id and removed at the end of the block.

    ``user`` with ``password`` may do everything, from anywhere on this machine.
    """

    host = "127.0.0.1"
    user = ADMIN
    password = ADMIN_PASSWORD

    def __init__(self, directory: Path, *, options: tuple[str, ...] = ()) -> None:
        """``directory`` is made when it is missing; ``options`` are more arguments for the server."""
        self.directory = directory
        self.port = 0
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def socket(self) -> Path:
        """Path of the server's socket."""
        return self._socket

    @property
    def log(self) -> Path:
        """What the server says about itself."""
        return self.directory / "server.log"

    @property
    def process_id(self) -> int:
        """Process id of the running server."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def execute(self, sql: str, database: str | None = None) -> str:
        """Run statements as the administrator; returns what they print, fields with tabs between, without headings."""
        return self.load(sql.encode(), database)

    def load(self, sql: bytes | Path, database: str | None = None) -> str:
        """Run SQL text, as a dump holds it, or a file of it."""
        content = sql.read_bytes() if isinstance(sql, Path) else sql
        done = subprocess.run(
            [_program("mariadb"), f"--defaults-file={self.admin_options}", "--batch", "--skip-column-names", "--raw"]
            + ([f"--database={database}"] if database else []),
            input=content,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"MariaDB: {done.stderr.decode('utf-8', 'replace')}")
        return done.stdout.decode("utf-8", "surrogateescape")

    def dump(self, *arguments: str) -> bytes:
        """What the server's own dump program prints with these arguments, as the administrator."""
        argv = [_program("mariadb-dump"), f"--defaults-file={self.admin_options}", *arguments]
        return subprocess.run(argv, capture_output=True, check=True).stdout

    def stop(self) -> None:
        """End the server, and remove what is outside of its directory. More than once is fine."""
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        self._cleanup.close()

    @property
    def admin_options(self) -> Path:
        """Options file that lets a client in as the administrator."""
        return self.directory / "admin.cnf"

    def _start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        self._socket = self.directory / "s"
        if len(os.fsencode(self._socket)) > _SOCKET_BYTES:
            short = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="mariadb-")))
            self._socket = short / "s"
        data = self.directory / "data"
        as_user = f"--user={pwd.getpwuid(os.getuid()).pw_name}"
        if not data.exists():
            self._install(data, as_user)
        # One of its own: as it starts, a server removes the temporary tables of any other from theirs.
        temporary = self.directory / "tmp"
        temporary.mkdir(exist_ok=True)
        for _ in range(5):  # another program may take the port between our look and the server's bind
            self.port = _free_port()
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(
                    [
                        *(*self._server(), as_user, f"--datadir={data}", "--skip-log-bin"),
                        *(f"--port={self.port}", f"--bind-address={self.host}", f"--socket={self._socket}"),
                        *(f"--pid-file={self.directory / 'pid'}", f"--tmpdir={temporary}", "--skip-name-resolve"),
                        *self._options,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            if self._ready():
                break
        else:
            raise RuntimeError(f"MariaDB did not start:\n{self.log.read_text(errors='replace')[-3000:]}")
        self._welcome()

    def _server(self) -> list[str]:
        """The server's program, and what only this kind of server takes."""
        return [_program("mariadbd"), "--no-defaults"]

    def _install(self, data: Path, as_user: str) -> None:
        subprocess.run(
            [
                *(_program("mariadb-install-db"), "--no-defaults", as_user, f"--datadir={data}", "--skip-test-db"),
                "--auth-root-authentication-method=normal",
            ],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )

    def _ready(self) -> bool:
        """Wait until the server answers; False when it ended."""
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.poll() is not None:
                return False
            with contextlib.suppress(OSError), socket.create_connection((self.host, self.port), 1) as connection:
                if connection.recv(1):
                    return True
            time.sleep(0.02)  # there is nothing to wait on but the port
        return False

    def _welcome(self) -> None:
        """Make the administrator; the root of a fresh installation has no password and may only come by the socket."""
        escaped = ADMIN_PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
        self.admin_options.write_text(
            f'[client]\nhost={self.host}\nport={self.port}\nprotocol=tcp\nuser={ADMIN}\npassword="{escaped}"\n'
            "default-character-set=utf8mb4\nskip-ssl\n"
        )
        self.admin_options.chmod(0o600)
        quoted = ADMIN_PASSWORD.replace("'", "''")
        subprocess.run(
            [_program("mariadb"), "--no-defaults", "--skip-ssl", f"--socket={self._socket}", "--user=root"],
            input=(
                f"CREATE USER IF NOT EXISTS '{ADMIN}'@'127.0.0.1' IDENTIFIED BY '{quoted}';"
                f"CREATE USER IF NOT EXISTS '{ADMIN}'@'localhost' IDENTIFIED BY '{quoted}';"
                f"GRANT ALL ON *.* TO '{ADMIN}'@'127.0.0.1' WITH GRANT OPTION;"
                f"GRANT ALL ON *.* TO '{ADMIN}'@'localhost' WITH GRANT OPTION"
            ).encode(),
            check=True,
            capture_output=True,
        )


@contextlib.contextmanager
def database(server: MariaDB, name: str) -> Iterator[str]:
    """An empty database that is dropped at the end."""
    quoted = name.replace("`", "``")
    server.execute(f"CREATE DATABASE `{quoted}` CHARACTER SET utf8mb4")
    try:
        yield name
    finally:
        server.execute(f"DROP DATABASE IF EXISTS `{quoted}`")


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise RuntimeError(f"{name} is not installed: scripts/setup installs MariaDB's server and client")
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
