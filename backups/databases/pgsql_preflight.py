"""Questions to a PostgreSQL server before a dump: which version is it, and may the user read everything?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from backups.databases.pgsql_client import Client, QueryError
from backups.errors import SourceError

SIZE_FACTOR = 4  # hex doubles bytes, numbers are longer as text, and the server compresses long values
SIZE_EXTRA = 16 << 20
READ_ALL_DATA = 14
"""The version from which on a role of this name reads every table of a server."""

_SHOWN = 5
_FACTS = """
SELECT pg_catalog.current_setting('server_version_num')::int / 10000, pg_catalog.quote_ident(current_user),
    pg_catalog.has_table_privilege('pg_catalog.pg_authid', 'SELECT')
"""
_DATABASES = """
SELECT d.datname, pg_catalog.quote_ident(d.datname), pg_catalog.has_database_privilege(d.oid, 'CONNECT')
FROM pg_catalog.pg_database d WHERE d.datallowconn AND d.datconnlimit <> -2 ORDER BY 1
"""
_SIZE = "SELECT pg_catalog.pg_database_size(pg_catalog.current_database())"
# A dump reads tables and sequences, but of an extension's only those that the extension names.
_UNREADABLE = """
WITH held AS (
    SELECT c.oid AS id, n.oid AS schema, pg_catalog.quote_ident(n.nspname) AS schema_name,
        pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) AS name, c.relkind AS kind
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND (
        NOT EXISTS (
            SELECT FROM pg_catalog.pg_depend d
            WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid AND d.deptype = 'e'
        ) OR EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE c.oid = ANY (e.extconfig))
    )
)
SELECT 'privilege', name, schema_name FROM held
WHERE NOT pg_catalog.has_schema_privilege(schema, 'USAGE') OR NOT pg_catalog.has_table_privilege(id, 'SELECT')
UNION ALL
SELECT 'policy', name, schema_name FROM held WHERE kind <> 'S' AND pg_catalog.row_security_active(id)
UNION ALL
SELECT 'large object', l.oid::text, '' FROM pg_catalog.pg_largeobject_metadata l
WHERE pg_catalog.current_setting('lo_compat_privileges') = 'off' AND NOT pg_catalog.pg_has_role(l.lomowner, 'USAGE')
    AND NOT EXISTS (
        SELECT FROM pg_catalog.aclexplode(l.lomacl) a WHERE a.privilege_type = 'SELECT'
            AND (a.grantee = 0 OR pg_catalog.pg_has_role(a.grantee, 'USAGE'))
    )
ORDER BY 1, 2
"""


@dataclass(frozen=True)
class Findings:
    """What is known before the dump starts."""

    version: int
    """Major version of the server."""
    size_bound: int
    """Estimate of the bytes of the dump, on the high side."""


@dataclass(frozen=True)
class Preflight:
    """Looks for whatever would make a dump fail late."""

    client: Client
    database: str
    """The database to connect to, and to dump unless all are."""
    tables: bool = True
    """Whether tables are dumped."""
    all_databases: bool = False
    """Whether those of every database are."""
    passwords: bool = False
    """Whether the passwords of roles are dumped."""

    def run(self) -> Findings:
        """Raises SourceError in plain words, CommandError when the client is missing, StoppedError."""
        try:
            return self._run()
        except QueryError as error:
            raise error.explained(self.client.connection) from None

    def _run(self) -> Findings:
        ((version, user, sees_passwords),) = self.client.rows(_FACTS, self.database)
        if self.passwords and sees_passwords != "t":
            raise self._refusal(
                "the roles",
                ["the passwords of roles can't be read"],
                [f"GRANT SELECT ON pg_catalog.pg_authid TO {user}", "or set 'role_passwords' to false"],
            )
        databases = self._every_database(user) if self.all_databases else [self.database]
        size = SIZE_EXTRA
        for database in databases if self.tables else ():
            self._readable(database, int(version), user)
            size += SIZE_FACTOR * int(self.client.value(_SIZE, database))
        return Findings(int(version), size)

    def _every_database(self, user: str) -> list[str]:
        rows = self.client.rows(_DATABASES, self.database)
        closed = [name for _, name, allowed in rows if allowed != "t"]
        if closed:
            raise self._refusal(
                "all databases",
                [f"no connection is allowed to {_list(closed)}"],
                [f"GRANT CONNECT ON DATABASE {', '.join(closed)} TO {user}"],
            )
        return [database for database, _, _ in rows]

    def _readable(self, database: str, version: int, user: str) -> None:
        found: dict[str, list[str]] = {}
        schemas: dict[str, None] = {}
        for kind, name, schema in self.client.rows(_UNREADABLE, database):
            found.setdefault(kind, []).append(name)
            if kind == "privilege":
                schemas[schema] = None
        if not found:
            return
        problems, remedies = [], []
        if tables := found.get("privilege"):
            problems.append(f"the user may not read {_list(tables)}")
            remedies += read_grants(user, version, schemas)
        if objects := found.get("large object"):
            problems.append(f"the user may not read the large objects {_list(objects)}")
            remedies.append(large_object_grant(user))
        if hidden := found.get("policy"):
            problems.append(f"row level security hides rows of {_list(hidden)}")
            remedies.append(f"ALTER ROLE {user} BYPASSRLS")
        raise self._refusal(f"database '{database}'", problems, remedies)

    def _refusal(self, where: str, problems: Iterable[str], remedies: Iterable[str]) -> SourceError:
        return SourceError(
            f"PostgreSQL server {self.client.connection}, {where}: {'; '.join(problems)}", hint="; ".join(remedies)
        )


def read_grants(user: str, version: int, schemas: Iterable[str]) -> list[str]:
    """The statements that let a user read every table; ``schemas`` are those that it can't read now."""
    if version >= READ_ALL_DATA:
        return [f"GRANT pg_read_all_data TO {user}"]
    names = ", ".join(schemas)
    return [
        f"GRANT USAGE ON SCHEMA {names} TO {user}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA {names} TO {user}",
        f"GRANT SELECT ON ALL SEQUENCES IN SCHEMA {names} TO {user}",
    ]


def large_object_grant(user: str) -> str:
    """The statement that lets a user read the large objects of a database; for new ones it must be run again."""
    quoted = "'" + user.replace("'", "''") + "'"
    grant = f"EXECUTE format('GRANT SELECT ON LARGE OBJECT %s TO %s', o, {quoted})"
    loop = f"FOR o IN SELECT oid FROM pg_largeobject_metadata LOOP {grant}; END LOOP"  # noqa: S608 - for a person
    return f"DO $$ DECLARE o oid; BEGIN {loop}; END $$"


def _list(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
