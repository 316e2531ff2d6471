"""The source ``mysql`` against a real MariaDB: dumps are whole, of one moment, and come back the same."""

from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

import pytest

from backups.context import Context
from backups.errors import CommandError
from tests.contract.databases import described, dump, restore, source
from tests.contract.streams import read_rest
from tests.servers.mariadb import MariaDB, database


def test_a_database_comes_back_the_same(mariadb: MariaDB, live: str, context: Context) -> None:
    data, warnings = dump(source(mariadb, live), context)
    assert warnings == []
    with database(mariadb, f"{live}_restored") as other:
        restore(mariadb, other, data, context)
        assert described(mariadb, other) == described(mariadb, live)
        mariadb.execute("CALL grow(1)", other)
        assert "trigger; 🦔" in mariadb.execute("SELECT what FROM log", other)
    assert list(context.tmpdir.iterdir()) == []


def test_several_databases_come_back_under_their_names(mariadb: MariaDB, live: str, context: Context) -> None:
    with database(mariadb, f"-{live}") as odd:
        mariadb.execute("CREATE TABLE t (a INT); INSERT INTO t VALUES (7)", odd)
        before = described(mariadb, live)
        data, _ = dump(source(mariadb, [live, odd]), context)
        mariadb.execute(f"DROP DATABASE {live}; DROP DATABASE `{odd}`")
        restore(mariadb, "", data, context)
        assert described(mariadb, live) == before
        assert mariadb.execute("SELECT a FROM t", odd) == "7\n"


@pytest.mark.parametrize("odd", ["-x", "--help", "with space", "q`uote'd\"", "ü☃", "a.b"])
def test_any_name_can_be_a_database(odd: str, mariadb: MariaDB, context: Context) -> None:
    with database(mariadb, odd):
        mariadb.execute("CREATE TABLE t (a INT); INSERT INTO t VALUES (7)", odd)
        data, _ = dump(source(mariadb, odd), context)
    assert b"INSERT INTO `t` VALUES" in data
    assert b"CREATE DATABASE" not in data


def test_a_whole_server_comes_back(mariadb: MariaDB, live: str, context: Context, tmp_path: Path) -> None:
    data, _ = dump(source(mariadb, all_databases="1"), context)
    with MariaDB(tmp_path / "other") as other:
        restore(other, "", data, context)
        assert described(other, live) == described(mariadb, live)


def test_noevents_leaves_only_events_out(mariadb: MariaDB, live: str, context: Context) -> None:
    data, _ = dump(source(mariadb, live, noevents="1"), context)
    assert b"EVENT `nightly`" not in data
    assert b"PROCEDURE `grow`" in data
    assert b"TRIGGER noted" in data


def test_the_dump_is_of_one_moment(mariadb: MariaDB, context: Context) -> None:
    with database(mariadb, f"moment_{uuid.uuid4().hex[:8]}") as live:
        mariadb.execute(
            "CREATE TABLE a (id INT PRIMARY KEY, content LONGBLOB);"
            "INSERT INTO a SELECT seq, RANDOM_BYTES(1024) FROM seq_1_to_8192;"
            "CREATE TABLE z (id INT PRIMARY KEY); INSERT INTO z VALUES (1)",
            live,
        )
        with source(mariadb, live).open(context) as stream:
            first = os.read(stream.fileno(), 1 << 16)  # the dump stands still in the middle of a
            mariadb.execute("INSERT INTO z VALUES (2)", live)
            data = first + read_rest(stream)
            stream.finish(len(data), data[-stream.tail_bytes :])
    assert b"INSERT INTO `z` VALUES\n(1);" in data


def test_directives_reach_the_dump_and_old_ones_may_connect(mariadb: MariaDB, live: str, context: Context) -> None:
    old = source(
        mariadb, live, dbport=None, options=f"--port {mariadb.port} --ignore-table='{live}.log' --skip-extended-insert"
    )
    data, _ = dump(old, context)
    assert b"CREATE TABLE `log`" not in data
    assert data.count(b"INSERT INTO `people`") == 3


def test_no_data_at_all_is_still_whole(mariadb: MariaDB, context: Context) -> None:
    with database(mariadb, f"empty_{uuid.uuid4().hex[:8]}") as live:
        data, warnings = dump(source(mariadb, live), context)
    assert b"-- Dump completed" in data
    assert warnings == []


@pytest.mark.parametrize("directives", ["--skip-dump-date", ["--skip-dump-date"]])
def test_a_last_line_without_a_date_is_good(directives: object, mariadb: MariaDB, live: str, context: Context) -> None:
    data, _ = dump(source(mariadb, live, directives=directives), context)
    assert data.endswith(b"-- Dump completed\n")


def test_a_server_that_goes_away_in_the_middle_is_an_error(context: Context, tmp_path: Path) -> None:
    with MariaDB(tmp_path / "server") as server:
        server.execute(
            "CREATE DATABASE d; USE d; CREATE TABLE d.a (content LONGBLOB);"
            "INSERT INTO d.a SELECT RANDOM_BYTES(1024) FROM seq_1_to_16384"
        )
        with source(server, "d").open(context) as stream:
            os.read(stream.fileno(), 1 << 16)
            os.kill(server.process_id, signal.SIGKILL)
            rest = read_rest(stream)
            with pytest.raises(CommandError, match=r"Lost connection|gone away|unexpected eof"):
                stream.finish(len(rest) + (1 << 16), rest[-stream.tail_bytes :])
