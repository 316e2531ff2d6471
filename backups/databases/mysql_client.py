"""The programs mysql and mysqldump (or MariaDB's), given their password in a private options file and nowhere else."""

from __future__ import annotations

import contextlib
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from backups.commands import version_of
from backups.context import Cancel, Context
from backups.databases.asking import RefusedError, ask
from backups.errors import CommandError, SourceError
from backups.private_file import private_file

CONNECT_SECONDS = 20

Ssl = Literal["disabled", "required", "verify"]

_LONGEST_LINE = 4_000  # these programs read lines of an options file into 4,096 bytes
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b"}
_UNESCAPES = {"n": "\n", "t": "\t", "0": "\0", "\\": "\\"}
# MariaDB's client takes "ssl" for a wish until 11.4, so the questions before a dump look at the connection as well.
# From 11.4 on it verifies certificates unless told otherwise, and then refuses every server without encryption and
# most servers with it (their certificates are their own, or RDS's). Without "ssl" a job means what it always meant.
_SSL: dict[str, dict[Ssl | None, list[str]]] = {
    "MariaDB": {
        None: ["skip-ssl-verify-server-cert"],
        "disabled": ["skip-ssl"],
        "required": ["ssl", "skip-ssl-verify-server-cert"],
        "verify": ["ssl", "ssl-verify-server-cert"],
    },
    "MySQL": {
        None: [],
        "disabled": ["ssl-mode=DISABLED"],
        "required": ["ssl-mode=REQUIRED"],
        "verify": ["ssl-mode=VERIFY_IDENTITY"],
    },
}
# A user's own options file may ask for other forms of output, or to go on after errors.
_PLAIN_ANSWERS = (
    *("--batch", "--skip-column-names"),
    *("--skip-force", "--skip-table", "--skip-vertical", "--skip-html", "--skip-xml"),
)
_MEANINGS = {
    1040: ("it has too many connections", "raise max_connections, or run the job at a quieter time"),
    1044: ("the user may not use this database", "GRANT the user its privileges on it, or correct the name"),
    1045: ("the user or the password is wrong", "correct the credentials in the job file or the secret it names"),
    1049: ("there is no such database", "correct the name, or create the database"),
    1129: ("it blocks this host after too many errors", "run FLUSH HOSTS on the server"),
    1130: ("it refuses connections from this host", "CREATE USER for this host, or for '%'"),
    1698: ("the user or the password is wrong", "correct the credentials in the job file or the secret it names"),
    2002: ("it can't be reached", "is the server running, and do the port and the firewall let this host in?"),
    2003: ("it can't be reached", "is the server running, and do the port and the firewall let this host in?"),
    2005: ("its name is unknown", "correct the host name, or the DNS of this host"),
    2013: ("the connection broke", "is the server overloaded or restarting?"),
    2026: (
        "the encrypted connection failed",
        "check 'ssl', 'ssl_ca' and the certificate of the server; in an options file of your own,"
        " 'skip-ssl-verify-server-cert' takes any certificate, and 'skip-ssl' a server without one",
    ),
}


@dataclass(frozen=True)
class Connection:
    """How to reach a server. With ``defaults``, an options file of the user, the rest is not looked at."""

    host: str = ""
    port: int | None = None
    socket: str = ""
    user: str = ""
    password: SecretStr | None = None
    ssl: Ssl | None = None
    ssl_ca: str = ""
    defaults: str = ""

    def __str__(self) -> str:
        if self.defaults:
            return f"the server of {self.defaults}"
        return self.socket or (f"{self.host}:{self.port}" if self.port else self.host)

    @contextlib.contextmanager
    def options(self, context: Context) -> Iterator[Path]:
        """The file for ``--defaults-file``; one that this made is removed at the end. Raises SourceError."""
        if self.defaults:
            yield _users_own(Path(self.defaults))
            return
        with private_file(context.tmpdir, "options.cnf", self._text(), prefix="mysql-") as path:
            yield path

    def _text(self) -> str:
        password = self.password.get_secret_value() if self.password else ""
        # "localhost" alone means the socket to these programs; a port asks for the network.
        protocol = "tcp" if self.port and not self.socket else ""
        values = {
            "host": self.host,
            "port": str(self.port or ""),
            "socket": self.socket,
            "protocol": protocol,
            "user": self.user,
            "password": password,
            "ssl-ca": self.ssl_ca,
        }
        lines = [f"{name}={quoted(value, name)}" for name, value in values.items() if value]
        mode: Ssl | None = self.ssl or ("verify" if self.ssl_ca else None)
        lines += _SSL[flavour(find("mysql", "mariadb"))][mode]
        return "\n".join(["[client]", *lines, ""])


def quoted(value: str, name: str) -> str:
    """A value of an options file that survives whatever it holds. Raises SourceError when none could."""
    text = '"' + "".join(_ESCAPES.get(character, character) for character in value) + '"'
    if "\0" in value:
        raise SourceError(f"the MySQL {name} holds a zero byte, which no client can send", hint="choose another one")
    if len(text.encode("utf-8", "surrogateescape")) > _LONGEST_LINE - len(name):
        raise SourceError(f"the MySQL {name} is longer than the client can read", hint="choose a shorter one")
    return text


def _users_own(path: Path) -> Path:
    """The user's options file, as it is. Raises SourceError when the client would not read it."""
    try:
        with path.open("rb"):
            mode = path.stat().st_mode
    except OSError as error:
        raise SourceError(f"MySQL options file {path}: {error.strerror}", hint="'defaults' names it") from None
    if not stat.S_ISREG(mode):
        raise SourceError(f"MySQL options file {path} is no file", hint="'defaults' names it")
    if mode & stat.S_IWOTH:
        raise SourceError(
            f"MySQL options file {path} can be written by everybody, so the client ignores it",
            hint=f"chmod 600 {path}",
        )
    return path.absolute()


def find(*names: str) -> str:
    """The first of these programs that is on PATH. Raises CommandError when none is."""
    for name in names:
        if shutil.which(name):
            return name
    raise CommandError(
        f"{names[0]} is not installed",
        status=127,
        hint="install the package mariadb-client or mysql-client, or correct PATH",
    )


def flavour(program: str) -> Literal["MariaDB", "MySQL"]:
    """Whose program it is: their options differ."""
    return "MariaDB" if "mariadb" in version_of([program, "--version"]).lower() else "MySQL"


class QueryError(Exception):
    """The client or the server refused. ``code`` is the server's error number, 0 when unknown."""

    def __init__(self, text: str, status: int | None) -> None:
        super().__init__(text)
        found = re.search(r"ERROR (\d+)", text)
        self.code = int(found[1]) if found else 0
        self.status = status

    def explained(self, server: object) -> SourceError:
        """The same in plain words, with what to do about it."""
        meaning, hint = _MEANINGS.get(self.code, ("the query failed", ""))
        return SourceError(f"MySQL server {server}: {meaning}: {self}", hint=hint)


@dataclass(frozen=True)
class Client:
    """Asks a server questions through the program mysql."""

    options: Path
    cancel: Cancel
    arguments: tuple[str, ...] = ()
    """More options that say where to connect."""

    def argv(self, *more: str) -> list[str]:
        """The command; the options file must come first."""
        return [
            find("mysql", "mariadb"),
            f"--defaults-file={self.options}",
            *self.arguments,
            f"--connect-timeout={CONNECT_SECONDS}",
            "--default-character-set=utf8mb4",
            *more,
        ]

    def rows(self, sql: str, database: str = "") -> list[list[str]]:
        """Rows of one or more statements. Raises QueryError, CommandError without the program, StoppedError."""
        chosen = [f"--database={database}"] if database else []
        try:
            output = ask(self.argv(*_PLAIN_ANSWERS, *chosen), sql, self.cancel)
        except RefusedError as error:
            raise QueryError(str(error), error.status) from None
        lines = output.split("\n")[:-1]
        return [[_unescaped(field) for field in line.split("\t")] for line in lines]

    def value(self, sql: str, database: str = "") -> str:
        """The first field of the first row; empty without one."""
        found = self.rows(sql, database)
        return found[0][0] if found else ""


def _unescaped(field: str) -> str:
    return re.sub(r"\\(.)", lambda match: _UNESCAPES.get(match[1], match[0]), field)


def names_in_sql(names: Sequence[str]) -> str:
    """Identifiers as SQL text: quoted, with commas between."""
    return ", ".join("`" + name.replace("`", "``") + "`" for name in names)
