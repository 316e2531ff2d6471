"""Fixtures of the destinations and databases that several tests here use."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.context import Context
from backups.destinations import Destination
from backups.destinations.rclone import remote as rclone_remote
from tests.contract import postgres_databases
from tests.contract.databases import PASSWORD, SCHEMA
from tests.contract.objects import PART
from tests.contract.places import PLACES, Place
from tests.servers.mariadb import MariaDB, database
from tests.servers.postgres import Postgres
from tests.servers.postgres import database as postgres_database

_FEWER = {"rclone-webdav": (-1,), "rclone-sftp": (0, -1), "s3-md5": (-1,)}
"""Which of a test's values these kinds meet: each step of rclone is a process, and S3 differs in its sums alone."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Some kinds meet each test of the contract with its last values only, or with its first and last."""
    functions = [item for item in items if isinstance(item, pytest.Function) and hasattr(item, "callspec")]
    last: dict[tuple[object, str], int] = {}
    for item in functions:
        for name, index in item.callspec.indices.items():
            last[item.function, name] = max(index, last.get((item.function, name), 0))

    def is_one_of_the_few(item: pytest.Function) -> bool:
        for kind, places in _FEWER.items():
            if kind in item.callspec.params.values():
                return all(
                    index in [place % (last[item.function, name] + 1) for place in places]
                    for name, index in item.callspec.indices.items()
                    if item.callspec.params[name] != kind
                )
        return True

    out = {item for item in functions if not is_one_of_the_few(item)}
    if out:
        config.hook.pytest_deselected(items=[*out])
        items[:] = [item for item in items if item not in out]


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest parts that S3 takes, and such chunks for Google, so that little data makes several; no pauses."""
    monkeypatch.setattr("backups.destinations.s3.parts.SMALLEST", PART)
    monkeypatch.setattr("backups.destinations.gs.upload.CHUNK", PART)
    monkeypatch.setattr("backups.destinations.s3.connect.ATTEMPTS", 1)
    monkeypatch.setattr("backups.destinations.s3.multipart._ABORT_WAIT", 3600)  # what is waited for surely comes
    monkeypatch.setattr("backups.destinations.retrying.PAUSES", (0.01, 0.01))
    monkeypatch.setattr("backups.destinations.samba.link.PAUSES", (0.01, 0.2, 0.2))
    monkeypatch.setitem(
        rclone_remote._ENVIRONMENT, "RCLONE_LOW_LEVEL_RETRIES", "4"
    )  # a few, since several at once lock a folder


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place of each kind."""
    return PLACES[request.param].shared(request, tmp_path)


@pytest.fixture
def destination(place: Place, context: Context) -> Iterator[Destination]:
    """That place, opened."""
    with place.config().connect(context) as opened:
        yield opened


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
