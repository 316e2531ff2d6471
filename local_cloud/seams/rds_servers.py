"""Database servers that stand for RDS instances: real ones, each on a data directory of its own.

MariaDB stands for MySQL, MariaDB and Aurora MySQL, PostgreSQL for PostgreSQL and Aurora PostgreSQL.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from local_cloud.processes import Sandboxed
from local_cloud.sandbox import descendants
from local_cloud.settings import LOOPBACK

START_SECONDS = 120.0
_POLL_SECONDS = 0.05
_SMALL_LOG = "--innodb-log-file-size=8M"  # it is copied with every snapshot and restore
_ATTEMPTS = 5
_PLACES = ("/usr/sbin", "/usr/local/sbin", "/sbin")
_LEFT_BEHIND = ("postmaster.pid", "pid", "s")  # of a running server, in a copy of its directory


class ServerError(RuntimeError):
    """A server program is missing, or did not start."""


@dataclass(frozen=True)
class Login:
    """Who may do everything on a new server, and its first database."""

    user: str
    password: str
    database: str


class Server(ABC):
    """One server process on a data directory, which outlives it."""

    def __init__(self, data: Path, log: Path) -> None:
        self.data = data
        self.port = 0
        self._log = log
        self._process: Sandboxed | None = None

    def start(self, login: Login | None) -> None:
        """Start on the data directory and wait until it answers; ``login`` is for one that must be made first.

        Raises ServerError with the end of its log.
        """
        fresh = not self.data.exists()
        if fresh and login is None:
            raise ServerError(f"{self.data} does not exist")
        if fresh and login is not None:
            self._install(login)
        for _ in range(_ATTEMPTS):  # another program may take the port between our look and the server's bind
            self.port = _free_port()
            self._process = self._run(login if fresh else None)
            if self._answers():
                break
        else:
            raise ServerError(f"no server started: {self._log.read_text(errors='replace')[-2000:]}")
        if fresh and login is not None:
            self._welcome(login)

    def stop(self) -> None:
        """End it at once, as a machine that is switched off. More than once is fine."""
        if self._process is not None:
            self._process.kill()

    def copy(self, target: Path) -> None:
        """Copy the data directory as it is at one moment: what a crash at that moment would leave."""
        with self._frozen():
            copy_directory(self.data, target)

    @contextlib.contextmanager
    def _frozen(self) -> Iterator[None]:
        process = self._process
        if process is None or process.status is not None:
            yield
            return
        stopped: set[int] = set()
        try:
            # Whoever is stopped starts no more, so that this comes to an end.
            while new := set(descendants(process.pid)) - stopped:
                for pid in new:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGSTOP)
                stopped |= new
            for pid in stopped:
                _wait_until_stopped(pid)
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    def _answers(self) -> bool:
        """Wait until it does; False when it ended."""
        assert self._process is not None
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self._process.status is not None:
                return False
            if self._is_ready():
                return True
            time.sleep(_POLL_SECONDS)
        self.stop()
        return False

    @abstractmethod
    def _install(self, login: Login) -> None:
        """Make the data directory."""

    @abstractmethod
    def _run(self, login: Login | None) -> Sandboxed:
        """Start the server's process."""

    @abstractmethod
    def _is_ready(self) -> bool:
        """Whether it takes connections."""

    @abstractmethod
    def _welcome(self, login: Login) -> None:
        """Make the first database of a new server that runs."""


class MariaDBServer(Server):
    """MariaDB."""

    def _install(self, login: Login) -> None:
        _call(
            *("mariadb-install-db", "--no-defaults", f"--user={_own_name()}", f"--datadir={self.data}"),
            *("--skip-test-db", "--auth-root-authentication-method=normal"),
        )
        user, password = _quoted(login.user), _quoted(login.password)
        database = login.database.replace("`", "``")
        self._first.write_text(
            f"GRANT ALL ON *.* TO {user}@'%' IDENTIFIED BY {password} WITH GRANT OPTION;\n"
            f"CREATE DATABASE IF NOT EXISTS `{database}`;\n"
        )

    @property
    def _first(self) -> Path:
        return self.data.with_name(f"{self.data.name}.sql")

    def _run(self, login: Login | None) -> Sandboxed:
        first = [f"--init-file={self._first}"] if login else []
        # Its socket stands in the data directory under a short name, since its whole path may be too long for one.
        options = [f"--port={self.port}", f"--bind-address={LOOPBACK}", "--socket=s", "--pid-file=pid"]
        # As it starts, a server removes the temporary tables of any other whose directory for them it shares.
        temporary = self.data.with_name(f"{self.data.name}.tmp")
        temporary.mkdir(exist_ok=True)
        options.append(f"--tmpdir={temporary}")
        argv = [_program("mariadbd"), "--no-defaults", f"--user={_own_name()}", f"--datadir={self.data}"]
        return _sandboxed([*argv, *options, "--skip-log-bin", "--skip-name-resolve", _SMALL_LOG, *first], self._log)

    def _is_ready(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port), 1) as connection:
            return bool(connection.recv(1))
        return False

    def _welcome(self, login: Login) -> None:  # noqa: ARG002
        self._first.unlink()  # it holds the password, and was read before the first connection


class PostgreSQLServer(Server):
    """PostgreSQL, which refuses to run as root: then as an account without rights."""

    def _install(self, login: Login) -> None:
        secret = self.data.with_name(f"{self.data.name}.password")
        secret.write_text(login.password + "\n")
        if account := _account():
            os.chown(secret, account.pw_uid, account.pw_gid)
            self.data.mkdir(mode=0o700)
            os.chown(self.data, account.pw_uid, account.pw_gid)
        try:
            _call(
                *_as_account(_program("initdb")),
                *(f"--pgdata={self.data}", f"--username={login.user}", f"--pwfile={secret}"),
                *("--no-sync", "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"),
            )
        finally:
            secret.unlink()

    def _run(self, login: Login | None) -> Sandboxed:  # noqa: ARG002
        options = {"listen_addresses": LOOPBACK, "port": str(self.port), "unix_socket_directories": ""}
        settings = [f"--{name}={value}" for name, value in options.items()]
        return _sandboxed([*_as_account(_program("postgres")), "-D", str(self.data), *settings], self._log)

    def _is_ready(self) -> bool:
        argv = [_program("pg_isready"), "--quiet", f"--host={LOOPBACK}", f"--port={self.port}"]
        return subprocess.run(argv, check=False, stdin=subprocess.DEVNULL).returncode == 0

    def _welcome(self, login: Login) -> None:
        if login.database == "postgres":
            return
        _call(
            *(_program("createdb"), f"--host={LOOPBACK}", f"--port={self.port}", f"--username={login.user}"),
            *("--no-password", "--", login.database),
            environment={"PGPASSWORD": login.password},
        )


def server_for(engine: str) -> type[Server] | None:
    """What stands for an engine of RDS; None when nothing here can."""
    if engine in ("mysql", "mariadb", "aurora-mysql"):
        return MariaDBServer
    return PostgreSQLServer if engine in ("postgres", "aurora-postgresql") else None


def copy_directory(source: Path, target: Path) -> None:
    """Copy a data directory with its owners, without what only a running server has."""
    _call("cp", "--archive", "--reflink=auto", str(source), str(target))
    for name in _LEFT_BEHIND:
        (target / name).unlink(missing_ok=True)


def _wait_until_stopped(pid: int) -> None:
    """A thread that is just writing stops when its call returns."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while not all(_state(thread) in "TtZX" for thread in Path(f"/proc/{pid}/task").iterdir()):
            time.sleep(0.001)


def _state(thread: Path) -> str:
    return (thread / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]


def _sandboxed(argv: list[str], log: Path) -> Sandboxed:
    return Sandboxed(argv, environment={"PATH": _path(), "LC_ALL": "C"}, directory=Path("/"), output=log)


def _call(*argv: str, environment: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        [_program(argv[0]), *argv[1:]],
        env={"PATH": _path(), "LC_ALL": "C", **(environment or {})},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode != 0:
        raise ServerError(f"{argv[0]}: {done.stderr.decode('utf-8', 'replace')}")


def _path() -> str:
    return os.pathsep.join([os.environ.get("PATH", os.defpath), *_PLACES])


def _program(name: str) -> str:
    """Its path; of PostgreSQL's, which Debian does not put on PATH, the newest. Raises ServerError."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]))
    path = str(found[-1]) if found else shutil.which(name, path=_path())
    if path is None:
        raise ServerError(f"{name} is not installed: scripts/setup installs MariaDB's and PostgreSQL's servers")
    return path


def _account() -> pwd.struct_passwd | None:
    """Whom PostgreSQL runs as; None for ourselves."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ServerError("PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody'")


def _as_account(program: str) -> list[str]:
    account = _account()
    if account is None:
        return [program]
    return ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups", program]


def _own_name() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "''") + "'"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        return int(listener.getsockname()[1])
