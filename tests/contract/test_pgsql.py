"""The source ``pgsql`` against a real PostgreSQL: dumps are whole, of one moment, and come back the same."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import pytest

from backups.context import Context
from backups.databases.pgsql_programs import newest
from backups.errors import CommandError, SourceError
from tests.contract.postgres_databases import LARGE_OBJECT, described, dump, restore, source
from tests.contract.streams import children, read_rest
from tests.servers.fake_path import FakePath
from tests.servers.postgres import Postgres, database


@pytest.mark.parametrize("form", ["plain", "custom"])
@pytest.mark.parametrize("more", ["", LARGE_OBJECT])
def test_a_database_comes_back_the_same(
    form: str, more: str, postgres: Postgres, ledger: str, context: Context
) -> None:
    postgres.execute(more, ledger)
    data, warnings = dump(source(postgres, ledger, format=form), context)
    assert warnings == []
    assert data.startswith(b"PGDMP") == (form == "custom")
    with database(postgres, f"{ledger}_restored") as other:
        restore(postgres, other, data, context, archive=form == "custom")
        assert described(postgres, other) == described(postgres, ledger)
        postgres.execute("INSERT INTO people (name) VALUES ('new')", other)
        assert "trigger; 🦔" in postgres.execute("SELECT what FROM log", other)


def test_a_list_makes_a_copy_of_each_and_one_of_the_roles(postgres: Postgres, ledger: str, context: Context) -> None:
    with database(postgres, f"-{ledger}=x y") as odd:
        postgres.execute("CREATE TABLE t AS SELECT 7 AS a", odd)
        first, second, roles = source(postgres, [ledger, odd], id="pg", name="Pay", globals="1").expanded()
        assert [first.id, roles.id] == [f"pg-{ledger}", "pg-globals"]
        assert first.title == f"Pay ({ledger})"
        assert b"CREATE TABLE public.people" in dump(first, context)[0]
        assert b"CREATE TABLE public.t" in dump(second, context)[0]
        data, _ = dump(roles, context)
    assert b"CREATE ROLE keeper;" in data
    assert b"SCRAM-SHA-256" in data
    assert b"CREATE DATABASE" not in data
    assert list(roles.tools()) == ["pg_dumpall"]


@pytest.mark.parametrize("odd", ["-x", "--help", "with space", "quote'd\"", "ü☃", "a=b", "postgresql://x", "back\\s"])
def test_any_name_can_be_a_database(odd: str, postgres: Postgres, context: Context) -> None:
    with database(postgres, odd):
        postgres.execute("CREATE TABLE t AS SELECT 7 AS a", odd)
        data, _ = dump(source(postgres, odd), context)
    assert b"COPY public.t (a) FROM stdin;\n7\n" in data
    assert b"CREATE DATABASE" not in data


def test_a_whole_server_comes_back_with_its_roles(postgres: Postgres, ledger: str, context: Context) -> None:
    postgres.execute(f"CREATE ROLE {ledger}_owner LOGIN PASSWORD 'x'")
    postgres.execute(f"ALTER TABLE people OWNER TO {ledger}_owner", ledger)
    postgres.execute(f"ALTER DATABASE {ledger} SET work_mem = '7MB'")
    try:
        data, warnings = dump(source(postgres, all_databases="1"), context)
        assert warnings == []
        with Postgres() as other:
            other.execute(f"ALTER ROLE {other.user} PASSWORD 'an other one'")
            other.password = "an other one"
            restore(other, "", data, context, whole_server=True)
            assert described(other, ledger) == described(postgres, ledger)
            assert other.execute("SHOW work_mem", ledger) == "7MB\n"
    finally:
        postgres.execute(f"REASSIGN OWNED BY {ledger}_owner TO {postgres.user}; DROP ROLE {ledger}_owner", ledger)


def test_roles_without_passwords(postgres: Postgres, context: Context) -> None:
    (_, roles) = source(postgres, "postgres", globals=True, role_passwords="0").expanded()
    data, _ = dump(roles, context)
    assert b"CREATE ROLE keeper;" in data
    assert b"SCRAM" not in data


def test_the_dump_is_of_one_moment(postgres: Postgres, context: Context) -> None:
    with database(postgres, f"moment_{uuid.uuid4().hex[:8]}") as live:
        postgres.execute(
            "CREATE TABLE a AS SELECT repeat(md5(n::text), 32) FROM generate_series(1, 8192) n;"
            "CREATE TABLE z AS SELECT 1 AS id",
            live,
        )
        with source(postgres, live).open(context) as stream:
            first = os.read(stream.fileno(), 1 << 16)  # the dump stands still in the middle of a
            postgres.execute("INSERT INTO z VALUES (2)", live)
            data = first + read_rest(stream)
            stream.finish(len(data), data[-stream.tail_bytes :])
    assert b"COPY public.z (id) FROM stdin;\n1\n\\.\n" in data


@pytest.mark.parametrize("form", ["plain", "custom"])
def test_no_data_at_all_is_still_whole(form: str, postgres: Postgres, context: Context) -> None:
    with database(postgres, f"empty_{uuid.uuid4().hex[:8]}") as live:
        data, warnings = dump(source(postgres, live, format=form), context)
    assert data
    assert warnings == []


def test_an_archive_that_is_cut_short_is_an_error(
    postgres: Postgres, ledger: str, context: Context, fake_path: FakePath
) -> None:
    whole, _ = dump(source(postgres, ledger, format="custom"), context)
    for size in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        fake_path.put("pg_dump", f'{newest("pg_dump").path} "$@" | head -c {size}')
        with pytest.raises(SourceError, match=r"wrote nothing|not whole"):
            dump(source(postgres, ledger, format="custom"), context)
        (fake_path.directory / "pg_dump").unlink()


def test_what_the_dump_leaves_out_is_in_the_report(
    postgres: Postgres, ledger: str, context: Context, fake_path: FakePath
) -> None:
    said = "pg_dump: warning: subscriptions not dumped because current user is not a superuser"
    fake_path.put("pg_dump", f'{newest("pg_dump").path} "$@"; echo "{said}" >&2')
    _, warnings = dump(source(postgres, ledger), context)
    assert warnings == ["subscriptions not dumped because current user is not a superuser"]


def test_the_server_decides_the_version_of_the_client(
    postgres: Postgres, ledger: str, context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = newest("pg_dump").path
    for major in (14, 99):
        directory = tmp_path / str(major) / "bin"
        directory.mkdir(parents=True)
        script = f'#!/bin/sh\n[ "$1" = --version ] && echo "pg_dump (PostgreSQL) {major}.1" || exec {real} "$@"\n'
        (directory / "pg_dump").write_text(script)
        (directory / "pg_dump").chmod(0o755)
        (directory / "psql").symlink_to(newest("psql").path)
    monkeypatch.setenv("PATH", f"{tmp_path}/14/bin:/usr/bin:/bin")
    monkeypatch.setattr(
        "backups.databases.pgsql_programs.DIRECTORIES", (f"{tmp_path}/*/bin", "/usr/lib/postgresql/*/bin")
    )
    used = source(postgres, ledger)
    dump(used, context)
    assert "99" not in used.tools()["pg_dump"]
    assert "14" not in used.tools()["pg_dump"].split(".")[0]
    monkeypatch.setattr("backups.databases.pgsql_programs.DIRECTORIES", (f"{tmp_path}/14/bin",))
    with pytest.raises(CommandError, match=r"the newest pg_dump here is of version 14") as caught:
        source(postgres, ledger).open(context)
    assert "postgresql-client-" in caught.value.hint
    assert list(context.tmpdir.iterdir()) == []


def test_a_server_that_goes_away_in_the_middle_is_an_error(context: Context) -> None:
    with Postgres() as server:
        server.execute("CREATE TABLE a AS SELECT repeat(md5(n::text), 32) FROM generate_series(1, 16384) n")
        with source(server, "postgres").open(context) as stream:
            os.read(stream.fileno(), 1 << 16)
            server.kill()
            rest = read_rest(stream)
            with pytest.raises(CommandError, match=r"server closed the connection|connection to server was lost"):
                stream.finish(len(rest) + (1 << 16), rest[-stream.tail_bytes :])


@pytest.mark.parametrize("how", ["left", "one of its connections ends"])
def test_a_dump_of_the_whole_server_that_breaks_off(how: str, postgres: Postgres, context: Context) -> None:
    before = children()
    with database(postgres, f"broken_{uuid.uuid4().hex[:8]}") as live:
        postgres.execute("CREATE TABLE a AS SELECT repeat(md5(n::text), 32) FROM generate_series(1, 16384) n", live)
        with source(postgres, all_databases=True).open(context) as stream:
            first = b""
            while b"COPY public.a (" not in first:
                first += os.read(stream.fileno(), 1 << 16)
            assert len(set(children()) - set(before)) > 1  # pg_dumpall and the pg_dump of this database
            if how == "left":
                stream.close()
            else:
                postgres.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{live}'")
                rest = read_rest(stream)
                with pytest.raises(CommandError, match="pg_dump failed on database"):
                    stream.finish(len(first + rest), rest[-stream.tail_bytes :])
    assert set(children()) == set(before)
    assert list(context.tmpdir.iterdir()) == []
