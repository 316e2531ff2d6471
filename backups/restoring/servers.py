"""Servers that a dump is restored into."""

from __future__ import annotations

import contextlib
import urllib.parse

from pydantic import SecretStr

from backups.context import Context
from backups.databases import mysql_restore, pgsql_restore
from backups.databases.restore_clients import RestoreClients
from backups.errors import RestoreError, UsageError
from backups.restoring.decoding import Decoding
from backups.restoring.target import Target, pump
from backups.secrets import REFERENCE
from backups.sources import Source
from backups.sources.pgsql import PostgreSQL
from backups.sources.rds import RDS

_MYSQL = ("mysql", "mariadb")
_POSTGRESQL = ("postgresql", "postgres")


class _Server(Target):
    """A server that a dump goes into, named by an address."""

    product: str

    def __init__(
        self, url: str, context: Context, *, password: SecretStr | None = None, overwrite: bool = False
    ) -> None:
        self._url = url
        self._context = context
        self._password = password
        self._overwrite = overwrite
        self._name = urllib.parse.unquote(urllib.parse.urlsplit(REFERENCE.sub("", url)).path.strip("/"))

    def __str__(self) -> str:
        return f"{self.product} database {self._name}" if self._name else f"the {self.product} server"

    def check(self) -> None:
        """A secret in an argument shows in the list of processes."""
        parts = urllib.parse.urlsplit(REFERENCE.sub("", self._url))
        if parts.password:
            raise UsageError(
                "a password on the command line can be seen by every user of this machine",
                hint="leave it out to be asked for it, or write a reference: "
                f"{parts.scheme}://USER:{{{{resolve:file:PATH}}}}@HOST/DB",
            )

    def _load(self, server: RestoreClients, decoded: Decoding) -> list[str]:
        with contextlib.suppress(BrokenPipeError):  # a client gave up: its end says why
            pump(decoded, server.write)
            warnings = decoded.finish()
            server.finish()
            return warnings
        server.finish()
        raise RestoreError(f"{self}: the client ended before it had read everything")


class MySQLServer(_Server):
    """SQL text, loaded by the program mysql."""

    product = "MySQL"

    def take(self, decoded: Decoding) -> list[str]:
        what = f"database {self._name}" if self._name else "the databases that the dump names"
        self.aftermath = f"{what} may be incomplete now: drop and restore again"
        # A dump of several databases names them itself, and nobody knows what they held before.
        takes_back = bool(self._name) and not self._overwrite
        with mysql_restore.open_restore(
            self._url, self._context, password=self._password, overwrite=self._overwrite
        ) as server:
            self.dirty = not takes_back
            return self._load(server, decoded)


class PostgreSQLServer(_Server):
    """SQL text, loaded by psql, or an archive, loaded by pg_restore."""

    product = "PostgreSQL"
    aftermath = "roles and databases that it made may be incomplete now: drop them and restore again"
    archive: bool = False
    """Whether the copy is an archive."""
    whole_server: bool = False
    """Whether it names its databases itself, or holds roles only."""

    def take(self, decoded: Decoding) -> list[str]:
        with pgsql_restore.open_restore(
            self._url,
            self._context,
            password=self._password,
            overwrite=self._overwrite,
            archive=self.archive,
            whole_server=self.whole_server,
        ) as server:
            # What a whole server's dump made stays; a database is left as it was, or the restore itself complains.
            self.dirty = self.whole_server
            return self._load(server, decoded)


def server_target(
    scheme: str, url: str, source: Source, context: Context, *, password: SecretStr | None, overwrite: bool
) -> Target:
    """The server that an address names. Raises UsageError when it can't take this source's copies."""
    if scheme not in (*_MYSQL, *_POSTGRESQL):
        raise UsageError(
            f"a copy can't be restored into {scheme}://",
            hint=f"restore it to a file and load that, or write {mysql_restore.FORM} or {pgsql_restore.FORM}",
        )
    if isinstance(source, PostgreSQL) and scheme in _POSTGRESQL:
        target = PostgreSQLServer(url, context, password=password, overwrite=overwrite)
        target.archive = source.extension == "dump"
        target.whole_server = source.whole_server
        return target
    if isinstance(source, RDS) and scheme in _POSTGRESQL:
        return PostgreSQLServer(url, context, password=password, overwrite=overwrite)
    if isinstance(source, PostgreSQL) or source.extension != "sql" or scheme in _POSTGRESQL:
        raise UsageError(
            f"source '{source.id}' is of type '{source.type}': no {scheme} server takes it", hint="give --to DIR"
        )
    return MySQLServer(url, context, password=password, overwrite=overwrite)
