"""MySQL and MariaDB: databases as SQL text."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator

from backups.commands import Command, version_of
from backups.config import Flag, MissingFieldsError
from backups.context import Context
from backups.databases.mysql_client import Client, Connection, Ssl, find, flavour
from backups.databases.mysql_directives import Directives, parse
from backups.databases.mysql_preflight import Findings, Preflight
from backups.errors import SourceError
from backups.sources.base import Source, SourceStream
from backups.sources.command_stream import CommandStream

LAST_LINE = b"-- Dump completed"
TAIL_BYTES = 256

Name = Annotated[str, Field(min_length=1)]


class MySQL(Source):
    """MySQL or MariaDB databases, as SQL text."""

    label: ClassVar[str] = "MySQL"
    identity: ClassVar[tuple[str, ...]] = ("dbhost", "dbport", "dbsocket", "dbname")
    aliases: ClassVar[dict[str, str]] = {"options": "directives"}

    type: Literal["mysql"] = "mysql"

    dbhost: str = ""
    """Name of the MySQL host to connect to."""

    dbport: int | None = Field(None, gt=0, lt=65536)
    """Port of the server; 3306 when missing."""

    dbsocket: str = ""
    """Path of the server's socket, instead of `dbhost`."""

    dbname: Name | tuple[Name, ...] = ()
    """Name of the database, or a list of several."""

    all_databases: Flag = False
    """Back up every database of the server, instead of `dbname`."""

    dbuser: str = ""
    """User to connect as."""

    dbpass: SecretStr | None = None
    """Password of the user."""

    ssl: Ssl | None = None
    """Encryption of the connection: `verify` checks the server's certificate too; the client's default when missing."""

    ssl_ca: str = ""
    """Path of the certificates that the server's is checked against; means `ssl: verify`."""

    defaults: str = ""
    """Path of a MySQL options file to connect with, instead of the fields above; it is only read."""

    directives: str | tuple[str, ...] = ()
    """More options for mysqldump: a string as a shell would split it, or a list."""

    noevents: Flag = False
    """Leave events out of the dump."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        missing = [] if self.dbname or self.all_databases else ["dbname"]
        if not self.defaults:  # an options file may say where the server is and who asks
            missing += [] if self.dbhost or self.dbsocket else ["dbhost"]
            missing += [] if self.dbuser else ["dbuser"]
        if missing:
            raise MissingFieldsError(*missing)
        if self.dbname and self.all_databases:
            raise ValueError("give either 'dbname' or 'all_databases'")
        if self.ssl_ca and self.ssl not in (None, "verify"):
            raise ValueError(f"'ssl_ca' checks the server's certificate, which 'ssl': '{self.ssl}' leaves out")
        return self

    @field_validator("directives", mode="after")
    @classmethod
    def _possible(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        parse(value)
        return value

    @property
    def extension(self) -> str:
        return "sql"

    @property
    def databases(self) -> tuple[str, ...]:
        """Names of the databases; empty for all of the server."""
        return (self.dbname,) if isinstance(self.dbname, str) else self.dbname

    @property
    def connection(self) -> Connection:
        """How to reach the server."""
        return Connection(
            host=self.dbhost,
            port=self.dbport,
            socket=self.dbsocket,
            user=self.dbuser,
            password=self.dbpass,
            ssl=self.ssl,
            ssl_ca=self.ssl_ca,
            defaults=self.defaults,
        )

    def open(self, context: Context) -> SourceStream:
        connection = self.connection
        directives = parse(self.directives)
        with contextlib.ExitStack() as stack:
            options = stack.enter_context(connection.options(context))
            program = _dump_program()
            findings = Preflight(
                client=Client(options, context.cancel, directives.connection),
                server=str(connection),
                databases=self.databases,
                directives=directives,
                events=not self.noevents,
                encrypted=not self.defaults and (self.ssl in ("required", "verify") or bool(self.ssl_ca)),
                program=flavour(program),
            ).run()
            return MySQLStream(
                Command(self._argv(program, options, directives)),
                findings=findings,
                cleanup=stack.pop_all(),
            )

    def _argv(self, program: str, options: Path, directives: Directives) -> list[str]:
        """The dump's command; the options file must come first, and what the job file adds has the last word."""
        argv = [program, f"--defaults-file={options}", "--quick", "--routines", "--triggers", "--hex-blob"]
        argv += ["--default-character-set=utf8mb4", "--max-allowed-packet=1G"]
        argv += ["--skip-compact", "--comments"]  # else an options file could take the last line away
        argv += ["--no-tablespaces"]  # nothing but NDB needs them, and they need the privilege PROCESS
        argv += ["--skip-events" if self.noevents else "--events"]
        argv += [] if directives.locks else ["--single-transaction"]
        if flavour(program) == "MySQL":
            # Servers without these features refuse the queries, and a dump with GTIDs restores only where it came from.
            argv += ["--loose-column-statistics=0", "--loose-set-gtid-purged=OFF"]
        argv += directives.arguments
        if self.all_databases:
            return [*argv, "--all-databases"]
        # Without --databases the dump names no database, so that it restores into any.
        return [*argv, *(["--databases"] if len(self.databases) > 1 else []), "--", *self.databases]

    def tools(self) -> dict[str, str]:
        program = _dump_program()
        return {program: version_of([program, "--version"])}


class MySQLStream(CommandStream):
    """The dump's text, whole when the program ended well and the last line says so."""

    def __init__(self, command: Command, *, findings: Findings, cleanup: contextlib.ExitStack) -> None:
        """``cleanup`` removes the options file, which the dump reads at its start and when it reconnects."""
        super().__init__(
            command,
            check=check_end,
            tail_bytes=TAIL_BYTES,
            size_bound=findings.size_bound,
            warnings=findings.warnings,
        )
        self._cleanup = cleanup

    def close(self) -> None:
        super().close()
        self._cleanup.close()


def _dump_program() -> str:
    return find("mysqldump", "mariadb-dump")


def check_end(size: int, tail: bytes) -> list[str]:
    """Look at how a dump ended that had status 0. Raises SourceError when it is not whole."""
    if size == 0:
        raise SourceError("mysqldump wrote nothing", hint="run it by hand to see why")
    last = tail.rstrip().rpartition(b"\n")[2]
    if not last.startswith(LAST_LINE):
        raise SourceError(
            f"mysqldump ended without its last line '{LAST_LINE.decode()}', so the dump is not whole",
            hint="look at the server's log; options that leave out comments have the same effect",
        )
    return []
