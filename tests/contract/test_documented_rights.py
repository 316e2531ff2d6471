"""The statements of docs/operations.md give a user what a whole dump takes, and no right to change anything."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backups.context import Context
from tests.contract import databases as mysql
from tests.contract import postgres_databases as pgsql
from tests.servers.mariadb import MariaDB, database
from tests.servers.operations_page import statements
from tests.servers.postgres import Postgres
from tests.servers.postgres import database as postgres_database

NAME, USER = "livecompany", "backups"
"""As the page calls them."""


@pytest.fixture
def company(mariadb: MariaDB) -> Iterator[str]:
    with database(mariadb, NAME) as made:
        mariadb.execute(mysql.SCHEMA, made)
        mariadb.execute(statements("MySQL", 0, mysql.PASSWORD))
        yield made
        mariadb.execute(f"DROP USER {USER}@'%'")


def test_what_the_page_grants_in_mariadb_suffices(mariadb: MariaDB, company: str, context: Context) -> None:
    limited = mysql.source(mariadb, company, dbuser=USER, dbpass=mysql.PASSWORD)
    data, warnings = mysql.dump(limited, context)
    assert warnings == []
    with database(mariadb, f"{NAME}_restored") as other:
        mysql.restore(mariadb, other, data, context)
        assert mysql.described(mariadb, other) == mysql.described(mariadb, company)


def test_and_everywhere_for_all_databases(mariadb: MariaDB, company: str, context: Context) -> None:
    mariadb.execute(statements("MySQL", 0, mysql.PASSWORD).partition(";")[2].replace(f"{company}.*", "*.*"))
    limited = mysql.source(mariadb, all_databases=True, dbuser=USER, dbpass=mysql.PASSWORD)
    assert f"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `{company}`".encode() in mysql.dump(limited, context)[0]


def test_what_the_page_grants_in_postgresql_suffices(postgres: Postgres, context: Context) -> None:
    with postgres_database(postgres, NAME) as made, postgres_database(postgres, f"{NAME}_restored") as other:
        postgres.execute(pgsql.SCHEMA, made)
        postgres.execute(statements("PostgreSQL", 0, pgsql.PASSWORD), made)
        try:
            limited = pgsql.source(postgres, made, dbuser=USER, dbpass=pgsql.PASSWORD)
            data, warnings = pgsql.dump(limited, context)
            assert warnings == []
            pgsql.restore(postgres, other, data, context)
            assert pgsql.described(postgres, other) == pgsql.described(postgres, made)
            with pytest.raises(RuntimeError, match="permission denied"):
                postgres.execute(f"SET ROLE {USER}; DELETE FROM people", made)
        finally:
            postgres.execute(f"DROP OWNED BY {USER}; DROP ROLE {USER}", made)
