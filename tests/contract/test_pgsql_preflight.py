"""What is found before a dump starts, by asking a real PostgreSQL."""

from __future__ import annotations

from typing import Any

import pytest

from backups.context import Context
from backups.databases.pgsql_preflight import read_grants
from backups.errors import SourceError
from backups.sources.pgsql import PostgreSQL
from tests.contract.postgres_databases import LARGE_OBJECT, PASSWORD, dump, source
from tests.servers.postgres import Postgres


def limited(server: Postgres, database: str | None, role: str, **settings: Any) -> PostgreSQL:
    return source(server, database, dbuser=role, dbpass=PASSWORD, **settings)


@pytest.mark.parametrize(
    ("setup", "message", "remedy"),
    [
        ("", "may not read", "GRANT pg_read_all_data TO {}"),
        ("GRANT SELECT ON ALL TABLES IN SCHEMA public TO {0}", "may not read", "GRANT pg_read_all_data TO {}"),
        (
            "GRANT pg_read_all_data TO {0}; ALTER TABLE log ENABLE ROW LEVEL SECURITY",
            "row level security hides rows of public.log",
            "ALTER ROLE {} BYPASSRLS",
        ),
        (f"GRANT pg_read_all_data TO {{0}}; {LARGE_OBJECT}", "may not read the large objects", "GRANT SELECT ON LARGE"),
    ],
)
def test_what_the_user_may_not_read_is_named(  # noqa: PLR0917
    setup: str, message: str, remedy: str, postgres: Postgres, ledger: str, role: str, context: Context
) -> None:
    postgres.execute(setup.format(role), ledger)
    with pytest.raises(SourceError, match=message) as caught:
        limited(postgres, ledger, role).open(context)
    assert remedy.format(role) in caught.value.hint
    assert ledger in caught.value.message
    assert list(context.tmpdir.iterdir()) == []
    postgres.execute(caught.value.hint, ledger)  # the remedy is one that can be pasted
    data, warnings = dump(limited(postgres, ledger, role), context)
    assert b"COPY public.people" in data
    assert warnings == []


def test_the_grants_for_servers_without_a_role_that_reads_all(
    postgres: Postgres, ledger: str, role: str, context: Context
) -> None:
    schemas = ["public", '"odd ""schema"" x"']
    postgres.execute(";".join(read_grants(role, 13, schemas)), ledger)
    assert b"COPY public.people" in dump(limited(postgres, ledger, role), context)[0]


def test_an_owner_needs_nothing_more(postgres: Postgres, ledger: str, role: str, context: Context) -> None:
    postgres.execute(f"SET ROLE {role}; {LARGE_OBJECT}", ledger)
    postgres.execute(f"GRANT pg_read_all_data TO {role}; ALTER TABLE log OWNER TO {role}", ledger)
    postgres.execute("ALTER TABLE log ENABLE ROW LEVEL SECURITY", ledger)
    assert b"COPY public.log" in dump(limited(postgres, ledger, role), context)[0]


def test_a_database_that_is_closed_to_the_user(postgres: Postgres, ledger: str, role: str, context: Context) -> None:
    postgres.execute(f"REVOKE CONNECT ON DATABASE {ledger} FROM PUBLIC")
    with pytest.raises(SourceError, match="may not use this database"):
        limited(postgres, ledger, role).open(context)
    with pytest.raises(SourceError, match=f"no connection is allowed to {ledger}") as caught:
        limited(postgres, None, role, all_databases=True, role_passwords=False).open(context)
    assert f"GRANT CONNECT ON DATABASE {ledger} TO {role}" in caught.value.hint


def test_passwords_of_roles_need_the_right_to_read_them(
    postgres: Postgres, ledger: str, role: str, context: Context
) -> None:
    (_, roles) = limited(postgres, ledger, role, globals=True).expanded()
    with pytest.raises(SourceError, match="passwords of roles can't be read") as caught:
        roles.open(context)
    assert "role_passwords" in caught.value.hint
    postgres.execute(caught.value.hint.partition(";")[0], ledger)
    assert b"SCRAM-SHA-256" in dump(roles, context)[0]
    postgres.execute(f"REVOKE SELECT ON pg_authid FROM {role}", ledger)
    (_, without) = limited(postgres, ledger, role, globals=True, role_passwords=False).expanded()
    assert f"CREATE ROLE {role};".encode() in dump(without, context)[0]


def test_every_database_is_looked_at(postgres: Postgres, ledger: str, role: str, context: Context) -> None:
    with pytest.raises(SourceError, match=r"database '\w+': the user may not read") as caught:
        limited(postgres, None, role, all_databases=True, role_passwords=False).open(context)
    postgres.execute(caught.value.hint)
    data, _ = dump(limited(postgres, None, role, all_databases=True, role_passwords=False), context)
    assert f"CREATE DATABASE {ledger} ".encode() in data
