"""Fixtures of the databases that several tests here use."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.contract import postgres_databases
from tests.contract.databases import PASSWORD, SCHEMA
from tests.servers.mariadb import MariaDB, database
from tests.servers.postgres import Postgres
from tests.servers.postgres import database as postgres_database


@pytest.fixture
def live(mariadb: MariaDB) -> Iterator[str]:
    """A database with one of everything."""
    with database(mariadb, f"live_{uuid.uuid4().hex[:8]}") as made:
        mariadb.execute(SCHEMA, made)
        yield made


@pytest.fixture
def account(mariadb: MariaDB) -> Iterator[str]:
    """An account without privileges, with the password PASSWORD."""
    made = f"u_{uuid.uuid4().hex[:8]}"
    mariadb.execute(f"CREATE USER {made}@'%' IDENTIFIED BY '{PASSWORD}'")
    yield made
    mariadb.execute(f"DROP USER {made}@'%'")


@pytest.fixture
def ledger(postgres: Postgres) -> Iterator[str]:
    """A PostgreSQL database with one of everything."""
    with postgres_database(postgres, f"ledger_{uuid.uuid4().hex[:8]}") as made:
        postgres.execute(postgres_databases.SCHEMA, made)
        yield made


@pytest.fixture
def role(postgres: Postgres) -> Iterator[str]:
    """A PostgreSQL user without privileges, with the password PASSWORD."""
    made = f"u_{uuid.uuid4().hex[:8]}"
    postgres.execute(f"CREATE ROLE {made} LOGIN PASSWORD '{postgres_databases.PASSWORD}'")
    yield made
    for name in postgres.execute("SELECT datname FROM pg_database WHERE datallowconn").splitlines():
        postgres.execute(f"DROP OWNED BY {made}", name)
    postgres.execute(f"DROP ROLE {made}")
