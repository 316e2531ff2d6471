"""A real PostgreSQL server on a free port of the loopback, in a directory of its own."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

ADMIN = "keeper"
ADMIN_PASSWORD = "Ad:min \\ of \"the\" 'server'"

_ACCOUNTS = ("postgres", "nobody")
_QUIET = ("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1")


class Postgres:
    """Starts in ``with``, and is stopped by its process id and removed at the end of the block.

    ``user`` with ``password`` may do everything, from anywhere on this machine. Everybody needs a password, also at
    the socket. The server refuses to run as root: then it runs as an account without rights.
    """

    host = "127.0.0.1"
    user = ADMIN
    password = ADMIN_PASSWORD

    def __init__(
        self, *, hba: str = "", certificate: tuple[bytes, bytes] | None = None, programs: Path | None = None
    ) -> None:
        """``hba`` goes before the lines of pg_hba.conf; ``certificate`` is its key and its chain, in PEM.

        ``programs`` is the directory of another version than this machine's newest; what it lacks is this machine's.
        """
        self.port = 0
        self._programs = programs
        self._certificate = certificate
        self._hba = hba
        self.process_id = 0
        self._cleanup = contextlib.ExitStack()
        self._account = _account()

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
        """Directory of the server's socket."""
        return self._home

    def parameters(self, database: str = "postgres") -> str:
        """Connection string of the administrator, without the password."""
        quoted = database.replace("\\", "\\\\").replace("'", "\\'")
        return f"host={self.host} port={self.port} user={self.user} dbname='{quoted}'"

    @property
    def environment(self) -> dict[str, str]:
        """What lets a client in as the administrator."""
        return {"PATH": os.environ.get("PATH", os.defpath), "PGPASSWORD": self.password, "PGCLIENTENCODING": "UTF8"}

    def execute(self, sql: str, database: str = "postgres") -> str:
        """Run statements as the administrator; returns what they print, fields with bars between."""
        done = subprocess.run(
            [self._program("psql"), *_QUIET, f"--dbname={self.parameters(database)}"],
            input=sql.encode(),
            env=self.environment,
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"PostgreSQL: {done.stderr.decode('utf-8', 'replace')}")
        return done.stdout.decode("utf-8", "surrogateescape")

    def dump(self, database: str, *arguments: str) -> str:
        """What the server's own dump program prints with these arguments, as the administrator."""
        argv = [self._program("pg_dump"), *arguments, f"--dbname={self.parameters(database)}"]
        return subprocess.run(argv, env=self.environment, capture_output=True, check=True).stdout.decode()

    def kill(self) -> None:
        """End the server at once, with the processes that serve its clients."""
        children = Path(f"/proc/{self.process_id}/task/{self.process_id}/children").read_text()
        for id_ in (self.process_id, *map(int, children.split())):
            with contextlib.suppress(ProcessLookupError):
                os.kill(id_, signal.SIGKILL)

    def stop(self) -> None:
        """End the server and remove its files. More than once is fine."""
        if self.process_id:
            with contextlib.suppress(RuntimeError):  # it may have been killed
                self._run("pg_ctl", "stop", f"--pgdata={self._data}", "--mode=immediate", "--wait")
            self.process_id = 0
        self._cleanup.close()

    @property
    def _data(self) -> Path:
        return self._home / "data"

    def _start(self) -> None:
        # The account must be able to enter every directory above, and the path of a socket must be short.
        self._home = Path(self._cleanup.enter_context(tempfile.TemporaryDirectory(prefix="postgres-")))
        if self._account:
            os.chown(self._home, *self._account)
        self._home.chmod(0o755)
        secret = self._home / "password"
        secret.write_text(ADMIN_PASSWORD + "\n")
        self._run(
            *("initdb", f"--pgdata={self._data}", f"--username={ADMIN}", f"--pwfile={secret}", "--no-sync"),
            *("--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"),
        )
        hba = self._data / "pg_hba.conf"
        hba.write_text(self._hba + hba.read_text())
        if self._certificate:
            for name, content in zip(("server.key", "server.crt"), self._certificate, strict=True):
                path = self._data / name
                path.write_bytes(content)
                path.chmod(0o600)
                if self._account:
                    os.chown(path, *self._account)
        log = self._home / "log"
        for _ in range(5):  # another program may take the port between our look and the server's bind
            self._configure()
            try:
                self._run("pg_ctl", "start", f"--pgdata={self._data}", f"--log={log}", "--wait")
            except RuntimeError:
                continue
            self.process_id = int((self._data / "postmaster.pid").read_text().partition("\n")[0])
            return
        raise RuntimeError(f"PostgreSQL did not start:\n{log.read_text(errors='replace')[-3000:]}")

    def _configure(self) -> None:
        self.port = _free_port()
        settings = {"listen_addresses": self.host, "port": str(self.port), "unix_socket_directories": str(self._home)}
        settings |= {"fsync": "off", "lc_messages": "C", "ssl": "on" if self._certificate else "off"}
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        (self._data / "postgresql.auto.conf").write_text("".join(lines))

    def _program(self, name: str) -> str:
        own = self._programs and self._programs / name
        return str(own) if own and own.exists() else program(name)

    def _run(self, name: str, *arguments: str) -> None:
        user, group = self._account or (None, None)
        with tempfile.TemporaryFile() as errors:  # what starts a server keeps what it inherits: a pipe would not end
            done = subprocess.run(
                [self._program(name), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                cwd="/",
                user=user,
                group=group,
                extra_groups=[] if self._account else None,
                check=False,
            )
            errors.seek(0)
            if done.returncode != 0:
                raise RuntimeError(f"{name}: {errors.read().decode('utf-8', 'replace')}")


@contextlib.contextmanager
def database(server: Postgres, name: str) -> Iterator[str]:
    """An empty database that is dropped at the end."""
    quoted = '"' + name.replace('"', '""') + '"'
    server.execute(f"CREATE DATABASE {quoted} TEMPLATE template0")
    try:
        yield name
    finally:
        server.execute(f"DROP DATABASE IF EXISTS {quoted} WITH (FORCE)")


def program(name: str) -> str:
    """Path of the newest version of one of PostgreSQL's programs; Debian puts none of the server's on PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    path = str(found[-1]) if found else shutil.which(name)
    if path is None:
        raise RuntimeError(f"{name} is not installed: scripts/setup installs PostgreSQL's server and client")
    return path


def _account() -> tuple[int, int] | None:
    """User and group to run the server as; None for ourselves."""
    if os.getuid() != 0:
        return None
    for name in _ACCOUNTS:
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise RuntimeError(f"PostgreSQL does not run as root, and none of these accounts exists: {', '.join(_ACCOUNTS)}")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
