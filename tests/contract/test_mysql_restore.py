"""Restoring SQL text into a real MariaDB."""

from __future__ import annotations

import signal
import time
import uuid
from pathlib import Path

import pytest
from pydantic import SecretStr

from backups.context import Context
from backups.databases.mysql_restore import open_restore
from backups.errors import RestoreError, UsageError
from tests.contract.databases import described, dump, grant, restore, source, url
from tests.contract.streams import children
from tests.servers.mariadb import MariaDB, database


def test_a_database_with_tables_is_refused(mariadb: MariaDB, live: str, context: Context) -> None:
    before = described(mariadb, live)
    with pytest.raises(RestoreError, match="is not empty"):
        restore(mariadb, live, b"DROP TABLE people;", context)
    assert described(mariadb, live) == before


def test_a_database_with_nothing_but_a_routine_is_not_empty(mariadb: MariaDB, context: Context) -> None:
    with database(mariadb, f"routine_{uuid.uuid4().hex[:8]}") as other:
        mariadb.execute("CREATE PROCEDURE p() SELECT 1", other)
        with pytest.raises(RestoreError, match="is not empty"):
            restore(mariadb, other, b"no SQL", context)
        assert "PROCEDURE" in mariadb.execute("SHOW CREATE PROCEDURE p", other)


def test_overwriting_replaces(mariadb: MariaDB, live: str, context: Context) -> None:
    before = described(mariadb, live)
    data, _ = dump(source(mariadb, live), context)
    mariadb.execute("DELETE FROM people", live)
    restore(mariadb, live, data, context, overwrite=True)
    assert described(mariadb, live) == before


def wait_for_tables(server: MariaDB, database: str) -> None:
    """Until the client has run some of what was written to it."""
    end = time.monotonic() + 60
    while not server.execute("SHOW TABLES", database):
        assert time.monotonic() < end


@pytest.mark.parametrize("how", ["wrong SQL", "stopped", "left"])
def test_half_a_restore_is_taken_back(how: str, mariadb: MariaDB, live: str, context: Context) -> None:
    data, _ = dump(source(mariadb, live), context)
    half = data[: len(data) // 2]
    with database(mariadb, f"{live}_half") as other:
        mariadb.execute(f"ALTER DATABASE {other} CHARACTER SET latin1")
        if how == "wrong SQL":
            with pytest.raises(RestoreError, match="syntax") as caught:
                restore(mariadb, other, half + b";\nthis is no SQL;\n", context)
            assert "empty again" in caught.value.hint
        else:
            with open_restore(url(mariadb, other), context, password=SecretStr(mariadb.password)) as target:
                target.write(half)
                wait_for_tables(mariadb, other)
                if how == "stopped":
                    context.cancel.set(signal.SIGTERM)
        assert mariadb.execute("SHOW TABLES", other) == ""
        assert "latin1" in mariadb.execute(f"SHOW CREATE DATABASE {other}")
    assert list(context.tmpdir.iterdir()) == []


def test_the_password_may_be_in_the_url_or_behind_a_reference(
    mariadb: MariaDB, live: str, account: str, context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    password = "p@ss/w:ord?#é{}"
    mariadb.execute(f"SET PASSWORD FOR {account}@'%' = PASSWORD('{password}')")
    grant(mariadb, account, "ALL ON *.*")
    monkeypatch.setenv("DB_PASSWORD", password)
    (tmp_path / "password").write_text(password + "\n")
    for written in (
        "p%40ss%2Fw%3Aord%3F%23%C3%A9%7B%7D",
        "{{resolve:env:DB_PASSWORD}}",
        f"{{{{resolve:file:{tmp_path}/password}}}}",
    ):
        with database(mariadb, f"{live}_url") as other:
            address = f"mysql://{account}:{written}@{mariadb.host}:{mariadb.port}/{other}"
            with open_restore(address, context) as target:
                for child in children():
                    assert password.encode() not in Path(f"/proc/{child}/cmdline").read_bytes()
                target.write(b"CREATE TABLE t (a INT);")
                target.finish()
            assert mariadb.execute("SHOW TABLES", other) == "t\n"
        assert context.secrets.scrub(f"x {password} y") == "x **** y"


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u@h/d",
        "mysql://h/d",
        "mysql://u@/d",
        "mysql://u@h:port/d",
        "mysql://u@h/d?x=1",
        "nothing",
        "mysql://u:s3cret@h/d?ssl=maybe",
    ],
)
def test_a_wrong_address_is_refused_without_showing_it(address: str, context: Context) -> None:
    with pytest.raises(UsageError) as caught:
        open_restore(address, context)
    assert "s3cret" not in str(caught.value)


def test_commands_of_the_client_in_a_backup_are_not_run(
    mariadb: MariaDB, live: str, context: Context, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    with database(mariadb, f"{live}_evil") as other, pytest.raises(RestoreError):
        restore(mariadb, other, f"\\! touch {mark}\nsystem touch {mark}\n".encode(), context)
    assert not mark.exists()
