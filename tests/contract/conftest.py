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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """rclone's second server meets each test of the contract once, with the last of its values.

    Every step there is a process; the other values go through the same code with the first server.
    """
    functions = [item for item in items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    last: dict[tuple[object, str], int] = {}
    for item in functions:
        for name, index in item.callspec.indices.items():
            last[item.function, name] = max(index, last.get((item.function, name), 0))
    out = {
        item
        for item in functions
        if "rclone-webdav" in item.callspec.params.values()
        and any(
            index < last[item.function, name]
            for name, index in item.callspec.indices.items()
            if item.callspec.params[name] != "rclone-webdav"
        )
    }
    if out:
        config.hook.pytest_deselected(items=[*out])
        items[:] = [item for item in items if item not in out]


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
