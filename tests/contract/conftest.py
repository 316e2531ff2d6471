"""Fixtures of the databases that several tests here use."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from tests.contract.databases import PASSWORD, SCHEMA
from tests.servers.mariadb import MariaDB, database


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
