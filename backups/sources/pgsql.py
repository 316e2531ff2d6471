"""PostgreSQL: databases as SQL text, or as archives for pg_restore."""

from __future__ import annotations

import contextlib
import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, SecretStr, model_validator

from backups.commands import Command, version_of
from backups.config import Flag, derived_id
from backups.context import Context
from backups.databases.pgsql_client import NO_PROMPT, Client, Connection, SslMode
from backups.databases.pgsql_preflight import Findings, Preflight
from backups.databases.pgsql_programs import fitting, newest
from backups.errors import SourceError
from backups.sources.base import Source, SourceStream
from backups.sources.command_stream import CommandStream, EndCheck

MAINTENANCE = "postgres"
"""The database to connect to for what is about a whole server."""

TAIL_BYTES = 512

# Newer versions end with a line that lifts a restriction of psql; its word is chosen at random.
_LAST_LINES = re.compile(
    rb"(?m)^-- PostgreSQL database (cluster )?dump complete\n--\n+(\\unrestrict [A-Za-z0-9]+\n+)?\Z"
)
_LAST_BLOCK = bytes(5)  # an archive ends with a block of length 0: a sign and four bytes
_LOCK_WAIT = "--lock-wait-timeout=1h"  # rather an error than a night behind a migration that never ends

Name = Annotated[str, Field(min_length=1)]


class PostgreSQL(Source):
    """PostgreSQL databases, as SQL text or as archives for `pg_restore`.

    A list of databases makes one copy of each, with the id `ID-NAME`: so each restores by itself, whole or not at all.
    The database's own settings (`ALTER DATABASE … SET`, grants on it) are part of `"format": "custom"` and of
    `all_databases`.
    """

    label: ClassVar[str] = "PostgreSQL"
    identity: ClassVar[tuple[str, ...]] = ("dbhost", "dbport", "dbsocket", "dbname")

    type: Literal["pgsql"] = "pgsql"

    dbhost: str = ""
    """Name of the PostgreSQL host to connect to."""

    dbport: int | None = Field(None, gt=0, lt=65536)
    """Port of the server; 5432 when missing."""

    dbsocket: str = ""
    """Directory of the server's socket, such as `/var/run/postgresql`, instead of `dbhost`."""

    dbname: Name | Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    """Name of the database, or a list of several: each becomes a copy of its own."""

    all_databases: Flag = False
    """Back up every database of the server, its roles and tablespaces, as one copy, instead of `dbname`."""

    globals: Flag = False
    """Make another copy, with the id `ID-globals`, of the server's roles and tablespaces (`pg_dumpall --globals-only`).

    A database restores only where the roles that own its tables exist."""

    role_passwords: Flag = True
    """Whether `globals` and `all_databases` hold the hashed passwords of roles; on Amazon RDS nobody may read them."""

    dbuser: str = Field(min_length=1)
    """User to connect as."""

    dbpass: SecretStr | None = None
    """Password of the user; when missing, as in the user's own `~/.pgpass`."""

    sslmode: SslMode | None = None
    """Encryption of the connection, as libpq names it; `prefer` when missing. `verify-full` checks the certificate."""

    sslrootcert: str = ""
    """Path of the certificates that the server's is checked against; means `"sslmode": "verify-full"`."""

    format: Literal["plain", "custom"] = "plain"
    """`plain` is SQL text for psql; `custom` is an archive from which `pg_restore` takes single tables as well."""

    _program: str = PrivateAttr("")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.dbname is None) != self.all_databases:
            raise ValueError("give either 'dbname' or 'all_databases'")
        if not self.dbhost and not self.dbsocket:
            raise ValueError("give 'dbhost' or 'dbsocket'")
        if isinstance(self.dbname, tuple) and "id" not in self.model_fields_set:
            # A derived one would change with the list, and nobody would count the old copies any more.
            raise ValueError("give an 'id': each database in the list gets a copy of its own, named ID-NAME")
        if self.all_databases and self.globals:
            raise ValueError("'all_databases' holds roles and tablespaces already: leave 'globals' out")
        if self.all_databases and self.format == "custom":
            raise ValueError("'format': 'custom' holds one database: name them in 'dbname' instead of 'all_databases'")
        if self.sslrootcert and self.sslmode not in (None, "verify-ca", "verify-full"):
            raise ValueError(
                f"'sslrootcert' checks the server's certificate, which 'sslmode': '{self.sslmode}' leaves out"
            )
        return self

    def expanded(self) -> tuple[Source, ...]:
        if not isinstance(self.dbname, tuple) and not self.globals:
            return (self,)
        one = {"globals": False}
        sources: list[Source] = []
        if isinstance(self.dbname, tuple):
            sources += [self._part(self, name, {**one, "dbname": name}) for name in self.dbname]
        else:
            sources.append(self.model_copy(update=one))
        if self.globals:
            roles = PostgreSQLRoles.model_construct(**dict(self))
            sources.append(self._part(roles, "globals", {**one, "dbname": self._database, "format": "plain"}))
        return tuple(sources)

    def _part(self, source: Source, name: str, changes: dict[str, object]) -> Source:
        title = f"{self.name} ({name})" if self.name else ""
        return source.model_copy(update={"id": derived_id(self.id, [name]), "name": title, **changes})

    @property
    def extension(self) -> str:
        return "dump" if self.format == "custom" else "sql"

    @property
    def whole_server(self) -> bool:
        """Whether the copy names the databases it restores into itself, or none."""
        return self.all_databases

    @property
    def connection(self) -> Connection:
        """How to reach the server."""
        return Connection(
            host=self.dbhost,
            port=self.dbport,
            socket=self.dbsocket,
            user=self.dbuser,
            password=self.dbpass,
            sslmode=self.sslmode,
            sslrootcert=self.sslrootcert,
        )

    @property
    def _database(self) -> str:
        """The database to connect to."""
        return self.dbname[0] if isinstance(self.dbname, tuple) else self.dbname or MAINTENANCE

    def open(self, context: Context) -> SourceStream:
        if self.expanded() != (self,):
            raise ValueError("open the sources that this one stands for: it would leave all but the first out")
        with contextlib.ExitStack() as stack:
            env = stack.enter_context(self.connection.environment(context))
            found = self._preflight(Client(self.connection, context.cancel, env)).run()
            self._program = fitting(self._program_name, found.version).path
            command = Command([self._program, NO_PROMPT, _LOCK_WAIT, *self._arguments()], env=env)
            check = check_archive if self.format == "custom" else check_text
            return PostgreSQLStream(command, findings=found, check=check, cleanup=stack.pop_all())

    @property
    def _program_name(self) -> str:
        return "pg_dumpall" if self.all_databases else "pg_dump"

    def _preflight(self, client: Client) -> Preflight:
        passwords = self.all_databases and self.role_passwords
        return Preflight(client, self._database, all_databases=self.all_databases, passwords=passwords)

    def _arguments(self) -> list[str]:
        if self.all_databases:
            return self._of_server()
        # The archive is compressed after it, by what the job says.
        kind = ["--format=custom", "--compress=0"] if self.format == "custom" else ["--format=plain"]
        return [*kind, f"--dbname={self.connection.parameters(self._database)}"]

    def _of_server(self, *more: str) -> list[str]:
        """Arguments of pg_dumpall, which takes the database to ask first apart from the rest."""
        kept = [] if self.role_passwords else ["--no-role-passwords"]
        return [*kept, *more, f"--database={self._database}", f"--dbname={self.connection.parameters()}"]

    def tools(self) -> dict[str, str]:
        program = self._program or newest(self._program_name).path
        return {self._program_name: version_of([program, "--version"])}


class PostgreSQLRoles(PostgreSQL):
    """The roles and tablespaces of a server; made from a source with ``globals``."""

    @property
    def whole_server(self) -> bool:
        return True

    @property
    def _program_name(self) -> str:
        return "pg_dumpall"

    def _preflight(self, client: Client) -> Preflight:
        return Preflight(client, self._database, tables=False, passwords=self.role_passwords)

    def _arguments(self) -> list[str]:
        return self._of_server("--globals-only")


class PostgreSQLStream(CommandStream):
    """The dump, whole when the program ended well and the end is as it must be."""

    def __init__(self, command: Command, *, findings: Findings, check: EndCheck, cleanup: contextlib.ExitStack) -> None:
        """``cleanup`` removes the password file, which pg_dumpall reads for each database."""
        super().__init__(command, check=check, tail_bytes=TAIL_BYTES, size_bound=findings.size_bound)
        self._cleanup = cleanup

    def finish(self, size: int, tail: bytes) -> list[str]:
        warnings = super().finish(size, tail)
        # What was left out, such as subscriptions, is said there, with exit status 0.
        said = re.findall(r"^pg_dump(?:all)?: warning: (.+)", self._command.stderr_tail, re.MULTILINE)
        return warnings + said

    def close(self) -> None:
        super().close()
        self._cleanup.close()


def check_text(size: int, tail: bytes) -> list[str]:
    """Look at how SQL text ended that had status 0. Raises SourceError when it is not whole."""
    if size == 0:
        raise SourceError("pg_dump wrote nothing", hint="run it by hand to see why")
    if not _LAST_LINES.search(tail):
        raise SourceError(
            "pg_dump ended without its last line '-- PostgreSQL database dump complete', so the dump is not whole",
            hint="look at the server's log",
        )
    return []


def check_archive(size: int, tail: bytes) -> list[str]:
    """Look at how an archive ended that had status 0. Raises SourceError when it is not whole.

    An archive has no last line; but whatever it holds, it ends with the five zero bytes of an empty block.
    """
    if size == 0:
        raise SourceError("pg_dump wrote nothing", hint="run it by hand to see why")
    if not tail.endswith(_LAST_BLOCK):
        raise SourceError(
            "pg_dump ended without the empty block at the end of an archive, so the dump is not whole",
            hint="look at the server's log",
        )
    return []
