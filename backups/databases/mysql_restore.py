"""Restores SQL text into a MySQL or MariaDB server through the program mysql."""

from __future__ import annotations

import contextlib
import subprocess
from typing import get_args

from pydantic import SecretStr

from backups.commands import Command
from backups.context import Cancel, Context
from backups.databases.mysql_client import Client, Connection, QueryError, Ssl, names_in_sql
from backups.databases.restore_clients import RestoreClients
from backups.databases.url import Form, parse_url, wrong_address
from backups.errors import CommandError, RestoreError

FORM = "mysql://USER@HOST:PORT/DATABASE"
_FORM = Form("MySQL", ("mysql", "mariadb"), ("ssl", "ssl_ca", "socket"), "socket", FORM)

_IMPORT = (
    "--batch",
    "--binary-mode",  # the client's own commands in the text are not run, whatever a backup holds
    "--max-allowed-packet=1G",  # the largest row that a server can have
)


def open_restore(
    url: str, context: Context, *, password: SecretStr | None = None, overwrite: bool = False
) -> MySQLRestore:
    """Start the client that takes SQL text, after looking whether the database is there and empty.

    ``url`` is ``mysql://USER[:PASSWORD]@HOST[:PORT]/[DATABASE][?ssl=verify&ssl_ca=PATH&socket=PATH]``. What it names
    may be percent-encoded, or be a reference such as ``{{resolve:env:NAME}}``; ``password`` counts when it holds none.
    The password reaches the client in a private options file only. Without DATABASE the text must name its own,
    as dumps of several databases do. A database that holds anything is refused unless ``overwrite``.

    Raises UsageError for the URL, SecretError, SourceError when the server can't be used, RestoreError for a database
    that is not empty, and CommandError when the client is missing.
    """
    connection, database = _parse(url, context, password)
    with contextlib.ExitStack() as stack:
        options = stack.enter_context(connection.options(context))
        client = Client(options, context.cancel)
        try:
            client.value("SELECT 1", database)
            held = client.value(_HELD, database) if database else ""
        except QueryError as error:
            raise error.explained(connection) from None
        if held not in ("", "0") and not overwrite:
            raise RestoreError(
                f"database '{database}' of {connection} is not empty: it holds {held} tables, routines and events",
                hint="restore into a new database, or ask for overwriting",
            )
        chosen = [f"--database={database}"] if database else []
        command = Command(client.argv(*_IMPORT, *chosen), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        return MySQLRestore(
            command,
            client=client,
            database=database if held == "0" else "",
            where=f"{connection}/{database}",
            cleanup=stack.pop_all(),
        )


_HELD = (
    "SELECT (SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = DATABASE())"
    " + (SELECT COUNT(*) FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = DATABASE())"
    " + (SELECT COUNT(*) FROM information_schema.EVENTS WHERE EVENT_SCHEMA = DATABASE())"
)
_CHARACTERS = (
    "SELECT DEFAULT_CHARACTER_SET_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA"
    " WHERE SCHEMA_NAME = DATABASE()"
)


class MySQLRestore(RestoreClients):
    """The client of a MySQL server. A database that was empty before is emptied again after a half restore."""

    def __init__(
        self, command: Command, *, client: Client, database: str, where: str, cleanup: contextlib.ExitStack
    ) -> None:
        """``database`` was empty before; an empty name means that nothing may be taken back."""
        super().__init__([command], cancel=client.cancel, cleanup=cleanup)
        self._command = command
        self._client = client
        self._empty = database
        self._where = where

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            self._command.stdin.close()
        try:
            self._command.wait()
        except CommandError as error:
            raise RestoreError(f"restoring into {self._where} failed: {error}", hint=self._aftermath()) from None
        self._empty = ""

    def _aftermath(self) -> str:
        return "the database is empty again" if self._empty else "what it holds now is not whole"

    def _take_back(self) -> None:
        database, self._empty = self._empty, ""
        if not database:
            return
        client = Client(self._client.options, Cancel(), self._client.arguments)  # also when all else must stop
        name = names_in_sql([database])
        try:
            characters, collation = client.rows(_CHARACTERS, database)[0]
            client.rows(f"DROP DATABASE {name}; CREATE DATABASE {name} CHARACTER SET {characters} COLLATE {collation}")
        except (QueryError, CommandError) as error:
            raise RestoreError(
                f"{self._where} holds half a restore, and it could not be emptied: {error}",
                hint=f"DROP DATABASE {name}",
            ) from None


def _parse(url: str, context: Context, password: SecretStr | None) -> tuple[Connection, str]:
    """The server and the database that a URL names. Raises UsageError and SecretError."""
    address = parse_url(url, context, _FORM)
    mode = address.options.get("ssl")
    ssl: Ssl | None = next((known for known in get_args(Ssl) if known == mode), None)
    if mode is not None and ssl is None:
        raise wrong_address(_FORM)
    connection = Connection(
        host=address.host,
        port=address.port,
        socket=address.options.get("socket", ""),
        user=address.user,
        password=address.password or password,
        ssl=ssl,
        ssl_ca=address.options.get("ssl_ca", ""),
    )
    return connection, address.database
