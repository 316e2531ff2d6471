"""PostgreSQL's client programs, given their password in a private file and nowhere else."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import SecretStr

from backups.context import Cancel, Context
from backups.databases.asking import RefusedError, ask
from backups.databases.pgsql_errors import explained
from backups.databases.pgsql_programs import newest
from backups.errors import SourceError
from backups.private_file import private_file

CONNECT_SECONDS = 20
QUIET_SECONDS = 60
"""After this time of silence the system asks whether the server is still there."""

SslMode = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]

NO_PROMPT = "--no-password"
PSQL = (NO_PROMPT, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1")

_BREAKS = "\n\r\0"


@dataclass(frozen=True)
class Connection:
    """How to reach a server. Without a password the user's own ``.pgpass`` is asked."""

    host: str = ""
    port: int | None = None
    socket: str = ""
    """Directory of the server's socket, instead of the host."""
    user: str = ""
    password: SecretStr | None = None
    sslmode: SslMode | None = None
    sslrootcert: str = ""

    def __str__(self) -> str:
        place = self.socket or self.host
        return f"{place}:{self.port}" if self.port else place

    def parameters(self, database: str = "", **more: str) -> str:
        """The connection string of libpq: it takes any name, where a plain one with ``=`` would be misread."""
        values = {
            "host": self.socket or self.host,
            "port": str(self.port or ""),
            "user": self.user,
            "dbname": database,
            "sslmode": self.sslmode or ("verify-full" if self.sslrootcert else ""),
            "sslrootcert": self.sslrootcert,
            "connect_timeout": str(CONNECT_SECONDS),
            "keepalives_idle": str(QUIET_SECONDS),
            "keepalives_interval": "10",
            "keepalives_count": "6",
            "application_name": "backups",
            **more,
        }
        return " ".join(f"{name}={_quoted(value)}" for name, value in values.items() if value)

    @contextlib.contextmanager
    def environment(self, context: Context) -> Iterator[dict[str, str]]:
        """What a child's environment needs: where its password is. The file is removed at the end.

        Raises SourceError for a password that no such file can hold.
        """
        password = self.password.get_secret_value() if self.password else ""
        if not password:
            yield {}
            return
        with private_file(context.tmpdir, "pgpass", password_line(password), prefix="pgsql-") as path:
            yield {"PGPASSFILE": str(path)}


def password_line(password: str) -> str:
    """The line of a password file, for any server. Raises SourceError for a password that it can't hold."""
    if any(character in password for character in _BREAKS):
        raise SourceError(
            "the PostgreSQL password holds a line break or a zero byte, which no password file can hold",
            hint="choose another one",
        )
    escaped = password.replace("\\", "\\\\").replace(":", "\\:")
    return f"*:*:*:*:{escaped}\n"


def _quoted(value: str) -> str:
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


class QueryError(Exception):
    """The client or the server refused; the text is theirs."""

    def explained(self, server: object) -> SourceError:
        """The same in plain words, with what to do about it."""
        return explained(server, str(self))


@dataclass(frozen=True)
class Client:
    """Asks a server questions through the program psql."""

    connection: Connection
    cancel: Cancel
    env: Mapping[str, str] = field(default_factory=dict)

    def rows(self, sql: str, database: str) -> list[list[str]]:
        """Rows of a statement. Raises QueryError, CommandError without the program, StoppedError."""
        parameters = self.connection.parameters(database, client_encoding="UTF8")
        argv = [newest("psql").path, *PSQL, "--csv", "--tuples-only", f"--dbname={parameters}"]
        try:
            output = ask(argv, sql, self.cancel, env=self.env)
        except RefusedError as error:
            raise QueryError(str(error)) from None
        return list(csv.reader(io.StringIO(output, newline="")))

    def value(self, sql: str, database: str) -> str:
        """The first field of the first row; empty without one."""
        found = self.rows(sql, database)
        return found[0][0] if found else ""
