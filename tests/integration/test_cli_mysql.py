"""``backups restore`` into a real server, and what it leaves there when it fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.damage import bit_flipped
from tests.servers.command_line import CommandLine
from tests.servers.mariadb import MariaDB, database

ROWS = 20_000


@pytest.fixture
def shop(backups: CommandLine, mariadb: MariaDB) -> Iterator[CommandLine]:
    """A stored database, and the password of the server in a file."""
    with database(mariadb, "shop cli") as name:
        mariadb.execute(
            "CREATE TABLE goods (id INT PRIMARY KEY, name TEXT) ENGINE=InnoDB;"
            f"INSERT INTO goods SELECT seq, CONCAT('müsli ', SHA2(RAND(), 512)) FROM seq_1_to_{ROWS};"
            "CREATE VIEW few AS SELECT * FROM goods WHERE id < 3",
            name,
        )
        source = {
            "id": "shop",
            "type": "mysql",
            "dbhost": mariadb.host,
            "dbport": mariadb.port,
            "dbname": name,
            "dbuser": mariadb.user,
            "dbpass": mariadb.password,
        }
        backups.write_job(sources=[source])
        ended = backups("run", backups.job)
        assert ended.code == 0, ended.err
        assert mariadb.password not in ended.out + ended.err
        (backups.directory / "password").write_text(mariadb.password)
        yield backups


def address(backups: CommandLine, mariadb: MariaDB, name: str) -> str:
    """The database with a reference to its password."""
    password = backups.directory / "password"
    return f"mysql://{mariadb.user}:{{{{resolve:file:{password}}}}}@{mariadb.host}:{mariadb.port}/{name}"


def tables(mariadb: MariaDB, name: str) -> list[str]:
    return mariadb.execute("SHOW TABLES", name).split()


def test_into_an_empty_database(shop: CommandLine, mariadb: MariaDB) -> None:
    with database(mariadb, "back_cli") as name:
        ended = shop("restore", shop.job, "shop", "--to", address(shop, mariadb, name))
        assert ended.code == 0, ended.err
        assert tables(mariadb, name) == ["few", "goods"]
        sums = [mariadb.execute("CHECKSUM TABLE goods", each).split("\t")[-1] for each in ("shop cli", name)]
        assert sums[0] == sums[1]
        assert mariadb.password not in ended.out + ended.err


def test_database_with_tables_is_refused_unless_asked_for(shop: CommandLine, mariadb: MariaDB) -> None:
    with database(mariadb, "full_cli") as name:
        mariadb.execute("CREATE TABLE mine (x INT)", name)
        ended = shop("restore", shop.job, "shop", "--to", address(shop, mariadb, name))
        assert ended.code == 1
        assert "is not empty" in ended.err
        assert tables(mariadb, name) == ["mine"]
        assert shop("restore", shop.job, "shop", "--to", address(shop, mariadb, name), "--overwrite").code == 0
        assert tables(mariadb, name) == ["few", "goods", "mine"]


def test_damaged_copy_leaves_the_database_empty_and_the_next_destination_takes_over(
    shop: CommandLine, mariadb: MariaDB
) -> None:
    [copy] = shop.one.rglob("*.gpg")
    bit_flipped(copy)
    with database(mariadb, "back_cli2") as name:
        target = address(shop, mariadb, name)
        ended = shop("restore", shop.job, "shop", "--to", target, "--from", "one")
        assert ended.code == 1
        assert tables(mariadb, name) == []
        ended = shop("restore", shop.job, "shop", "--to", target)
        assert ended.code == 0, ended.err
        assert "from two" in ended.err
        assert tables(mariadb, name) == ["few", "goods"]


def test_damaged_copy_into_a_database_with_tables_says_that_it_is_not_whole(
    shop: CommandLine, mariadb: MariaDB
) -> None:
    for destination in (shop.one, shop.two):
        [copy] = destination.rglob("*.gpg")
        bit_flipped(copy)
    with database(mariadb, "full_cli2") as name:
        mariadb.execute("CREATE TABLE mine (x INT)", name)
        ended = shop("restore", shop.job, "shop", "--to", address(shop, mariadb, name), "--overwrite")
        assert ended.code == 1
        assert f"database {name} may be incomplete now" in ended.err


def test_server_that_refuses_is_told(shop: CommandLine, mariadb: MariaDB) -> None:
    ended = shop("restore", shop.job, "shop", "--to", address(shop, mariadb, "no_such_database"))
    assert ended.code == 1
    assert "there is no such database" in ended.err
    (shop.directory / "password").write_text("wrong-planted")
    ended = shop("restore", shop.job, "shop", "--to", address(shop, mariadb, "mysql"))
    assert ended.code == 1
    assert "wrong-planted" not in ended.err


def test_password_on_the_command_line_is_refused_and_not_shown(shop: CommandLine) -> None:
    ended = shop("restore", shop.job, "shop", "--to", "mysql://root:planted-pw@127.0.0.1/x")
    assert ended.code == 2
    assert "can be seen by every user" in ended.err
    assert "planted-pw" not in ended.err


def test_into_a_directory_and_a_file(shop: CommandLine) -> None:
    (shop.directory / "dumps").mkdir()
    (shop.directory / "dumps" / "other").write_text("stays")
    for target, place in (("dumps", "dumps/shop.sql"), ("dump.sql", "dump.sql")):
        assert shop("restore", shop.job, "shop", "--to", target).code == 0
        text = (shop.directory / Path(place)).read_text()
        assert text.rstrip().splitlines()[-1].startswith("-- Dump completed")
    assert shop("restore", shop.job, "shop", "--to", "dumps").code == 2, "it is there already"
