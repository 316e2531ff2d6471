"""Questions to a server before a dump: may the user read everything? What can't the dump keep consistent?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from backups.databases.mysql_client import Client, QueryError, names_in_sql
from backups.databases.mysql_directives import Directives
from backups.databases.mysql_grants import Grants
from backups.errors import SourceError

SIZE_FACTOR = 4  # hex doubles bytes, and numbers are longer as text
SIZE_EXTRA = 16 << 20

_SHOWN = 10
_SYSTEM = "('information_schema', 'performance_schema', 'sys', 'mysql')"


@dataclass(frozen=True)
class Findings:
    """What is known before the dump starts."""

    warnings: tuple[str, ...]
    size_bound: int
    """Estimate of the bytes of the dump, on the high side."""


@dataclass(frozen=True)
class Preflight:
    """Looks for whatever would make a dump fail late, or leave something out in silence."""

    client: Client
    server: str
    """How errors call the server."""
    databases: Sequence[str]
    """Names of the databases; empty for all of the server."""
    directives: Directives
    events: bool
    encrypted: bool
    """Whether the connection must be."""
    program: Literal["MariaDB", "MySQL"]
    """Whose the dump's program is."""

    def run(self) -> Findings:
        """Raises SourceError in plain words, CommandError when the client is missing, StoppedError."""
        try:
            return self._run()
        except QueryError as error:
            raise error.explained(self.server) from None

    def _run(self) -> Findings:
        (version, user), *_ = self.client.rows("SELECT VERSION(), CURRENT_USER()")
        if self.encrypted and not self.client.rows("SHOW STATUS LIKE 'Ssl_cipher'")[0][1]:
            raise SourceError(
                f"MySQL server {self.server}: it does not encrypt connections",
                hint="switch TLS on at the server, or leave 'ssl' out",
            )
        if self.program == "MariaDB" and "mariadb" not in version.lower():
            self._refuse_generated_columns()
        account = _Account(self.client, version, user)
        warnings: list[str] = []
        size = SIZE_EXTRA
        for database in self.databases or [""]:
            where = f"database '{database}'" if database else "all databases"
            missing = [] if database else account.missing_everywhere()
            missing += self._missing(account, database)
            if missing:
                raise SourceError(
                    f"MySQL server {self.server}, {where}: the user's privileges do not suffice: "
                    + "; ".join(what for what, _ in missing),
                    hint="; ".join(dict.fromkeys(grant for _, grant in missing)),
                )
            warnings += self._warnings(account, database, where)
            size += self._size(database)
        return Findings(tuple(warnings), size)

    def _refuse_generated_columns(self) -> None:
        """MariaDB's program writes values for generated columns, and MySQL refuses to load such a dump."""
        if not self.client.rows(
            "SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_SCHEMA = 'information_schema'"
            " AND COLUMN_NAME = 'GENERATION_EXPRESSION' LIMIT 1"
        ):
            return  # older than these columns
        for database in self.databases or [""]:
            found = self.client.rows(
                "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME FROM information_schema.COLUMNS"  # noqa: S608
                f" WHERE GENERATION_EXPRESSION <> '' AND {_within('TABLE_SCHEMA', database)} ORDER BY 1, 2",
                database,
            )
            tables = [f"{schema}.{table}" for schema, table in found]
            tables = [table for table in tables if f"--ignore-table={table}" not in self.directives.arguments]
            if tables:
                more = f" and {len(tables) - _SHOWN} more" if len(tables) > _SHOWN else ""
                raise SourceError(
                    f"MySQL server {self.server}: MariaDB's mysqldump writes values for generated columns, and MySQL "
                    f"would refuse to load them: {', '.join(tables[:_SHOWN])}{more}",
                    hint="install MySQL's own mysqldump and mysql, before MariaDB's on PATH; or leave the tables out: "
                    f"'directives': '--ignore-table={tables[0]}'",
                )

    def _missing(self, account: _Account, database: str) -> list[tuple[str, str]]:
        """What the dump would leave out or stumble over, each with the statement that helps."""
        missing = []
        on = f"{names_in_sql([database])}.*" if database else "*.*"
        if "triggers" not in self.directives.off and not account.may("TRIGGER", database):
            missing.append(("triggers would be left out", account.grant("TRIGGER", on)))
        if self.events and "events" not in self.directives.off and not account.may("EVENT", database):
            missing.append(("events can't be read", account.grant("EVENT", on)))
        if "routines" not in self.directives.off and not self._routines_readable(account, database):
            missing.append(("stored procedures and functions would be left out", account.grant(*account.routines)))
        if not account.may("SHOW VIEW", database) and self._count("VIEWS", "TABLE_SCHEMA", database):
            missing.append(("views can't be read", account.grant("SHOW VIEW", on)))
        return missing

    def _routines_readable(self, account: _Account, database: str) -> bool:
        """Whether all routines are listed for this user, with their text.

        A dump leaves out in silence what is not listed, and fails at what is listed without its text.
        """
        if account.reads_routines():
            return True
        unreadable = " AND ROUTINE_BODY <> 'EXTERNAL' AND ROUTINE_DEFINITION IS NULL"
        return account.may("EXECUTE", database) and not self._count("ROUTINES", "ROUTINE_SCHEMA", database, unreadable)

    def _count(self, table: str, schema: str, database: str, condition: str = "") -> int:
        return int(
            self.client.value(
                f"SELECT COUNT(*) FROM information_schema.{table} WHERE {_within(schema, database)}{condition}",  # noqa: S608
                database,
            )
        )

    def _warnings(self, account: _Account, database: str, where: str) -> list[str]:
        warnings = []
        if database and not account.may("SELECT", database):
            warnings.append(f"{where}: the user may read single tables only; tables that it can't see are left out")
        if self.directives.locks:
            return warnings
        tables = self.client.rows(
            "SELECT t.TABLE_SCHEMA, t.TABLE_NAME, t.ENGINE FROM information_schema.TABLES t"  # noqa: S608
            " JOIN information_schema.ENGINES e ON e.ENGINE = t.ENGINE"
            f" WHERE t.TABLE_TYPE = 'BASE TABLE' AND COALESCE(e.TRANSACTIONS, 'NO') <> 'YES'"
            f" AND {_within('t.TABLE_SCHEMA', database)} ORDER BY 1, 2",
            database,
        )
        if tables:
            names = ", ".join(
                f"{table if database else f'{schema}.{table}'} ({engine})" for schema, table, engine in tables[:_SHOWN]
            )
            more = f" and {len(tables) - _SHOWN} more" if len(tables) > _SHOWN else ""
            warnings.append(
                f"{where}: not of one moment with the rest, since their engine has no transactions: {names}{more}"
            )
        return warnings

    def _size(self, database: str) -> int:
        size = self.client.value(
            "SELECT COALESCE(SUM(DATA_LENGTH), 0) FROM information_schema.TABLES"  # noqa: S608
            f" WHERE {_within('TABLE_SCHEMA', database)}",
            database,
        )
        return SIZE_FACTOR * int(float(size))


class _Account:
    """The account that the dump runs as."""

    def __init__(self, client: Client, version: str, user: str) -> None:
        self._client = client
        name, _, host = user.rpartition("@")
        self._name = "@".join("'" + part.replace("'", "''") + "'" for part in (name, host))
        self._dictionary = "mariadb" not in version.lower() and int(re.match(r"\d*", version)[0] or 0) >= 8  # type: ignore[index]
        lines = client.rows("SHOW GRANTS")
        if self._dictionary and (role := client.value("SELECT CURRENT_ROLE()")) != "NONE":
            lines = client.rows(f"SHOW GRANTS FOR CURRENT_USER() USING {role}")
        self._grants = Grants.read(line[0] for line in lines)
        self.routines = ("SHOW_ROUTINE", "*.*") if self._dictionary else ("SELECT", "mysql.proc")
        """Privilege that shows the text of every routine, and on what."""

    def may(self, privilege: str, database: str) -> bool:
        """Whether it has a privilege on the whole of a database, or with an empty name on all of them."""
        return self._grants.on(privilege, database) if database else self._grants.everywhere(privilege)

    def missing_everywhere(self) -> list[tuple[str, str]]:
        if self._grants.everywhere("SELECT"):
            return []
        return [("databases would be left out", self.grant("SELECT", "*.*"))]

    def reads_routines(self) -> bool:
        """Whether it may read the text of every routine."""
        if self._dictionary:
            return self._grants.everywhere("SHOW_ROUTINE") or self._grants.everywhere("SELECT")
        try:
            self._client.rows("SELECT 1 FROM mysql.proc LIMIT 0")
        except QueryError as error:
            if error.code != _DENIED:
                raise
            return False
        return True

    def grant(self, privilege: str, on: str) -> str:
        """The statement that gives it a privilege."""
        return f"GRANT {privilege} ON {on} TO {self._name}"


_DENIED = 1142


def _within(column: str, database: str) -> str:
    return f"{column} = DATABASE()" if database else f"{column} NOT IN {_SYSTEM}"
