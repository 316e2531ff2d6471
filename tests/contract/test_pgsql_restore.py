"""Restoring dumps into a real PostgreSQL."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from pydantic import SecretStr

from backups.context import Context
from backups.databases.pgsql_restore import open_restore
from backups.errors import RestoreError, UsageError
from tests.contract.postgres_databases import LARGE_OBJECT, described, dump, restore, source, url
from tests.contract.streams import children
from tests.servers.postgres import Postgres, database

TABLES = "SELECT count(*) FROM pg_class c WHERE relnamespace = 'public'::regnamespace"


@pytest.mark.parametrize(
    "held",
    [
        "CREATE TABLE t ()",
        "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE SCHEMA s",
        "CREATE TYPE t AS ENUM ('a')",
        LARGE_OBJECT,
    ],
)
def test_a_database_that_holds_anything_is_refused(held: str, postgres: Postgres, context: Context) -> None:
    with database(postgres, f"held_{uuid.uuid4().hex[:8]}") as other:
        postgres.execute(held, other)
        with pytest.raises(RestoreError, match="is not empty"):
            restore(postgres, other, b"no SQL", context)
        assert list(context.tmpdir.iterdir()) == []


@pytest.mark.parametrize("form", ["plain", "custom"])
@pytest.mark.parametrize("more", ["", LARGE_OBJECT])
def test_overwriting_replaces_all(form: str, more: str, postgres: Postgres, ledger: str, context: Context) -> None:
    postgres.execute(more, ledger)
    before = described(postgres, ledger)
    data, _ = dump(source(postgres, ledger, format=form), context)
    postgres.execute(
        "DELETE FROM people; CREATE TABLE newer (); CREATE SCHEMA newer; CREATE VIEW v AS TABLE log", ledger
    )
    restore(postgres, ledger, data, context, overwrite=True, archive=form == "custom")
    assert described(postgres, ledger) == before


@pytest.mark.parametrize("form", ["plain", "custom"])
def test_overwriting_that_fails_changes_nothing(form: str, postgres: Postgres, ledger: str, context: Context) -> None:
    data, _ = dump(source(postgres, ledger, format=form), context)
    before = described(postgres, ledger)
    half = data[: len(data) * 9 // 10]
    wrong = half if form == "custom" else half.rpartition(b";\n")[0] + b";\nthis is no SQL;\n"
    with pytest.raises(RestoreError, match=r"syntax error|end of file") as caught:
        restore(postgres, ledger, wrong, context, overwrite=True, archive=form == "custom")
    assert "as it was before" in caught.value.hint
    assert described(postgres, ledger) == before


@pytest.mark.parametrize("how", ["wrong SQL", "stopped", "left"])
@pytest.mark.parametrize("more", ["", LARGE_OBJECT])
def test_half_a_restore_is_taken_back(how: str, more: str, postgres: Postgres, ledger: str, context: Context) -> None:
    postgres.execute(more, ledger)
    data, _ = dump(source(postgres, ledger), context)
    cut = data.index(b"ADD CONSTRAINT people_pkey")  # after the data, with the transaction of large objects
    half = data[:cut].rpartition(b";\n")[0] + b";\n"
    with database(postgres, f"{ledger}_half") as other:
        if how == "wrong SQL":
            with pytest.raises(RestoreError, match="syntax error") as caught:
                restore(postgres, other, half + b"this is no SQL;\n", context)
            assert ("empty again" if more else "as it was before") in caught.value.hint
        else:
            with open_restore(url(postgres, other), context, password=SecretStr(postgres.password)) as target:
                target.write(half)
                target.write(b"SELECT pg_sleep(600);\n")
                target.write(b"\n")
                wait_for(postgres, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%'", "2")
                if how == "stopped":
                    context.cancel.set(signal.SIGTERM)
        assert postgres.execute(TABLES, other) == "0\n"
        assert postgres.execute("SELECT count(*) FROM pg_largeobject_metadata", other) == "0\n"
    assert list(context.tmpdir.iterdir()) == []


def wait_for(server: Postgres, sql: str, answer: str) -> None:
    end = time.monotonic() + 60
    while server.execute(sql).strip() != answer:
        assert time.monotonic() < end


def test_a_restore_whose_process_is_killed_leaves_nothing(
    postgres: Postgres, ledger: str, context: Context, tmp_path: Path
) -> None:
    data, _ = dump(source(postgres, ledger), context)
    (tmp_path / "half.sql").write_bytes(
        data[: data.index(b"ADD CONSTRAINT people_pkey")].rpartition(b";\n")[0] + b";\n"
    )
    (tmp_path / "password").write_text(postgres.password)
    script = (
        "import sys, time; from pathlib import Path; from backups.context import Context;"
        "from backups.databases.pgsql_restore import open_restore; d = Path(sys.argv[2]);"
        "target = open_restore(sys.argv[1], Context(tmpdir=d));"
        "target.write((d / 'half.sql').read_bytes()); target.write(b'SELECT 1;'); print('half', flush=True);"
        "time.sleep(600)"
    )
    with database(postgres, f"{ledger}_killed") as other:
        reference = f"{{{{resolve:file:{tmp_path}/password}}}}"
        address = f"postgresql://{postgres.user}:{reference}@{postgres.host}:{postgres.port}/{other}"
        argv = [sys.executable, "-c", script, address, str(tmp_path)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"half\n"
            process.kill()
        wait_for(postgres, f"SELECT count(*) FROM pg_stat_activity WHERE datname = '{other}'", "0")
        assert postgres.execute(TABLES, other) == "0\n"


def test_owners_that_do_not_exist_are_named(postgres: Postgres, ledger: str, context: Context) -> None:
    data, _ = dump(source(postgres, ledger), context)
    data = data.replace(f"OWNER TO {postgres.user}".encode(), b"OWNER TO somebody_else")
    with database(postgres, f"{ledger}_owner") as other:
        with pytest.raises(RestoreError, match='role "somebody_else" does not exist') as caught:
            restore(postgres, other, data, context)
        assert "globals" in caught.value.hint
        assert postgres.execute(TABLES, other) == "0\n"


def test_roles_come_back_beside_those_that_exist(postgres: Postgres, role: str, context: Context) -> None:
    odd = f"{role} \"odd;'"
    quoted = '"' + odd.replace('"', '""') + '"'
    postgres.execute(f"CREATE ROLE {quoted} LOGIN PASSWORD 'x'; GRANT {quoted} TO {role}")
    (_, roles) = source(postgres, "postgres", globals=True).expanded()
    data, _ = dump(roles, context)
    postgres.execute(f"DROP ROLE {quoted}; ALTER ROLE {role} NOLOGIN")
    restore(postgres, "", data, context, whole_server=True)
    member = f"SELECT pg_has_role('{role}', rolname, 'MEMBER') FROM pg_roles WHERE rolname LIKE '{role} %'"
    assert postgres.execute(member) == "t\n"
    assert postgres.execute(f"SELECT rolcanlogin FROM pg_roles WHERE rolname = '{role}'") == "t\n"
    postgres.execute(f"DROP ROLE {quoted}")


def test_a_whole_server_never_replaces_a_database(postgres: Postgres, ledger: str, context: Context) -> None:
    before = described(postgres, ledger)
    data, _ = dump(source(postgres, all_databases=True), context)
    with pytest.raises(RestoreError, match=r'database "\w+" already exists') as caught:
        restore(postgres, "", data, context, whole_server=True)
    assert "still there" in caught.value.hint
    assert described(postgres, ledger) == before


def test_the_password_may_be_in_the_url_or_behind_a_reference(
    postgres: Postgres, role: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "p@ss/w:ord?#é{}\\"
    postgres.execute(f"ALTER ROLE {role} SUPERUSER PASSWORD '{password}'")
    monkeypatch.setenv("DB_PASSWORD", password)
    for written in ("p%40ss%2Fw%3Aord%3F%23%C3%A9%7B%7D%5C", "{{resolve:env:DB_PASSWORD}}"):
        with database(postgres, f"{role}_url") as other:
            address = f"postgresql://{role}:{written}@{postgres.host}:{postgres.port}/{other}?sslmode=disable"
            with open_restore(address, context) as target:
                started = children()
                assert started
                for child in started:
                    seen = Path(f"/proc/{child}/cmdline").read_bytes() + Path(f"/proc/{child}/environ").read_bytes()
                    assert password.encode() not in seen
                target.write(b"CREATE TABLE t (a INT);")
                target.finish()
            assert postgres.execute(TABLES, other) == "1\n"
        assert context.secrets.scrub(f"x {password} y") == "x **** y"


@pytest.mark.parametrize(
    ("address", "whole_server"),
    [
        ("mysql://u@h/d", False),
        ("postgresql://h/d", False),
        ("postgresql://u@h:port/d", False),
        ("postgresql://u@h/d?x=1", False),
        ("postgresql://u:s3cret@h/d?sslmode=maybe", False),
        ("postgresql://u@h/", False),
        ("postgresql://u@h/d", True),
        ("postgresql://u@/d", False),
    ],
)
def test_a_wrong_address_is_refused_without_showing_it(address: str, whole_server: bool, context: Context) -> None:
    with pytest.raises(UsageError) as caught:
        open_restore(address, context, whole_server=whole_server)
    assert "s3cret" not in str(caught.value)


def test_a_large_dump_goes_through_in_small_pieces(postgres: Postgres, context: Context) -> None:
    with database(postgres, f"large_{uuid.uuid4().hex[:8]}") as live, database(postgres, f"{live}_2") as other:
        postgres.execute("CREATE TABLE t AS SELECT n, repeat(md5(n::text), 32) FROM generate_series(1, 4096) n", live)
        data, _ = dump(source(postgres, live, format="custom"), context)
        with open_restore(url(postgres, other), context, password=SecretStr(postgres.password), archive=True) as target:
            for start in range(0, len(data), 4097):
                target.write(data[start : start + 4097])
            target.finish()
        assert postgres.execute("SELECT count(*) FROM t", other) == "4096\n"
