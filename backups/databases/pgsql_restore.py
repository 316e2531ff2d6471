"""Restores a dump into a PostgreSQL server: SQL text through psql, archives through pg_restore and psql.

A database is restored in one transaction whose end is written only when all of the dump arrived, so that nothing half
stays, even when this process is killed. What breaks that is the large objects of a plain dump, which brings a
transaction of its own for them: what was done so far is then taken back afterwards.
"""

from __future__ import annotations

import contextlib
import re
import secrets
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from pydantic import SecretStr

from backups.commands import Command
from backups.context import Cancel, Context
from backups.databases.pgsql_clearing import CLEAR, Held, clear, end_sessions, held
from backups.databases.pgsql_client import PSQL, Client, Connection, QueryError, SslMode
from backups.databases.pgsql_programs import fitting, newest
from backups.databases.pgsql_roles import RoleFilter
from backups.databases.restore_clients import RestoreClients, write_all
from backups.databases.url import Form, parse_url, wrong_address
from backups.errors import CommandError, RestoreError, UsageError

FORM = "postgresql://USER@HOST:PORT/DATABASE"
_FORM = Form("PostgreSQL", ("postgresql", "postgres"), ("sslmode", "sslrootcert", "host"), "host", FORM)

_MAINTENANCE = "postgres"
_FACTS = "SELECT pg_catalog.quote_ident(current_user), pg_catalog.current_setting('server_version_num')::int / 10000"
_ROLES = "SELECT pg_catalog.quote_ident(rolname) FROM pg_catalog.pg_roles"


def open_restore(
    url: str,
    context: Context,
    *,
    password: SecretStr | None = None,
    overwrite: bool = False,
    archive: bool = False,
    whole_server: bool = False,
) -> PostgreSQLRestore:
    """Start the clients that take a dump, after looking whether the database is there and empty.

    ``url`` is ``postgresql://USER[:PASSWORD]@HOST[:PORT]/[DATABASE][?sslmode=…&sslrootcert=PATH&host=DIRECTORY]``,
    read as ``parse_url`` says; ``password`` counts when it holds none. ``archive`` means a dump of the custom format.
    ``whole_server`` means a dump that names its databases itself, or holds roles only: the URL then names none. Roles
    that exist already are left as they are. A database that holds anything is refused unless ``overwrite``, which
    empties it first.

    Raises UsageError for the URL, SecretError, SourceError when the server can't be used, RestoreError for a database
    that is not empty, and CommandError when a client is missing.
    """
    connection, database = _parse(url, context, password)
    if whole_server and database:
        raise UsageError("this copy is of a whole server: name no database", hint="end the address with /")
    if not whole_server and not database:
        raise UsageError("the address of the PostgreSQL server names no database", hint=f"write {FORM}")
    with contextlib.ExitStack() as stack:
        env = stack.enter_context(connection.environment(context))
        client = Client(connection, context.cancel, env)
        try:
            ((user, version),) = client.rows(_FACTS, database or _MAINTENANCE)
            before = held(client, database) if database else None
            roles = [name for (name,) in client.rows(_ROLES, _MAINTENANCE)] if whole_server else []
        except QueryError as error:
            raise error.explained(connection) from None
        if before and before.count and not overwrite:
            raise RestoreError(
                f"database '{database}' of {connection} is not empty: it holds {before.count} objects",
                hint="restore into a new database, or ask for overwriting",
            )
        name = f"backups-restore-{secrets.token_hex(8)}"
        argv = [
            newest("psql").path,
            *PSQL,
            f"--dbname={connection.parameters(database or _MAINTENANCE, application_name=name)}",
        ]
        psql = Command(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=env)
        stack.callback(psql.close)
        if database:
            write_all(psql.stdin, _BEGIN + (CLEAR if before and before.count else "").encode())
        commands = [psql]
        if archive:
            argv = [fitting("pg_restore", int(version)).path, "--single-transaction", "--file=-"]
            commands.insert(0, Command(argv, stdin=subprocess.PIPE, stdout=psql.stdin, env=env))
            psql.stdin.close()  # pg_restore holds it now
        return PostgreSQLRestore(
            commands,
            place=_Place(client, database, before, name),
            end=b"" if archive or not database else _COMMIT,
            roles=RoleFilter(roles, user) if whole_server else None,
            cleanup=stack.pop_all(),
        )


_BEGIN = b"SET client_min_messages = warning;\nBEGIN;\n"
_COMMIT = b"\nCOMMIT;\n"


@dataclass(frozen=True)
class _Place:
    """What is restored into, and how it was before."""

    client: Client
    database: str
    """Empty for a whole server."""
    before: Held | None
    session: str
    """How the server knows the sessions of this restore."""

    def __str__(self) -> str:
        return f"{self.client.connection}/{self.database}"

    def settle(self) -> tuple[bool, str]:
        """Take back what a failed restore did. Whether nothing of it is left, and in words."""
        if self.before is None:
            return False, "roles and databases that it made are still there"
        client = Client(self.client.connection, Cancel(), self.client.env)  # also when all else must stop
        try:
            end_sessions(client, self.database, self.session)
            now = held(client, self.database)
            if now == self.before:
                return True, "the database is as it was before"
            if self.before.count:
                return False, "what the database holds now is not whole"
            clear(client, self.database)
        except (QueryError, CommandError) as error:
            return False, f"the database could not be put in order: {error}"
        return True, "the database is empty again"


class PostgreSQLRestore(RestoreClients):
    """psql, and before it pg_restore for an archive."""

    def __init__(
        self,
        commands: Sequence[Command],
        *,
        place: _Place,
        end: bytes,
        roles: RoleFilter | None,
        cleanup: contextlib.ExitStack,
    ) -> None:
        """``end`` is written after the dump."""
        super().__init__(commands, cancel=place.client.cancel, cleanup=cleanup)
        self._place = place
        self._end = end
        self._roles = roles
        self._held_back = b""
        self._settled = False

    def write(self, block: bytes) -> None:
        """Pass a block on. The last one waits for ``finish``: without it no archive is complete."""
        block = self._roles.feed(block) if self._roles else block
        if block:
            ready, self._held_back = self._held_back, block
            super().write(ready)

    def finish(self) -> None:
        stdin = self._commands[0].stdin
        rest = self._roles.end() if self._roles else b""
        with contextlib.suppress(OSError):
            super().write(self._held_back + rest + self._end)
            stdin.close()
        try:
            for command in reversed(self._commands):  # when psql refuses, that explains the end of pg_restore
                command.wait()
        except CommandError as error:
            self.end()
            _, aftermath = self._settle()
            missing = re.search(r'role "[^"\n]*" does not exist', error.message)
            first = "make the roles first, or restore the copy that 'globals' makes of them; " if missing else ""
            raise RestoreError(f"restoring into {self._place} failed: {error}", hint=first + aftermath) from None
        self._settled = True

    def _take_back(self) -> None:
        clean, aftermath = self._settle()
        if not clean and self._place.database:  # of a whole server nobody expects it
            raise RestoreError(f"restoring into {self._place} did not end: {aftermath}")

    def _settle(self) -> tuple[bool, str]:
        """Once only: what is there when the caller goes on is the caller's."""
        if self._settled:
            return True, ""
        self._settled = True
        return self._place.settle()


def _parse(url: str, context: Context, password: SecretStr | None) -> tuple[Connection, str]:
    """The server and the database that a URL names. Raises UsageError and SecretError."""
    address = parse_url(url, context, _FORM)
    given = address.options.get("sslmode")
    sslmode: SslMode | None = next((mode for mode in get_args(SslMode) if mode == given), None)
    if given is not None and sslmode is None:
        raise wrong_address(_FORM)
    connection = Connection(
        host=address.host,
        port=address.port,
        socket=address.options.get("host", ""),
        user=address.user,
        password=address.password or password,
        sslmode=sslmode,
        sslrootcert=address.options.get("sslrootcert", ""),
    )
    return connection, address.database
