"""What every source promises, shown with its real program. A new type joins by a fixture ``NAME_case``."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from backups.context import Context
from backups.databases import pgsql_programs
from backups.databases.pgsql_programs import newest
from backups.errors import BackupsError, CommandError
from backups.sources import Source
from backups.sources.folder import Folder
from backups.sources.mysql import MySQL
from backups.sources.pgsql import PostgreSQL
from tests.contract.streams import children, read_rest, read_whole
from tests.servers.fake_path import FakePath
from tests.servers.mariadb import MariaDB
from tests.servers.postgres import Postgres

PASSWORD = "pl#nted 'pass\\word\""
ENVIRONMENT_SECRET = "pl4nted-environment-secret"
LARGE = 8 << 20  # more than all the buffers on the way, so that the child stands still while nobody reads
TYPES = ["folder", "mysql", "pgsql"]


@dataclass(frozen=True)
class Case:
    """One source with enough data to be stopped in the middle."""

    source: Source
    programs: tuple[str, ...]
    """Names under which its program may be found; the first is the one that is used here."""
    others: tuple[str, ...] = ()
    """Programs that it needs beside that one."""


@pytest.fixture
def folder_case(tmp_path: Path) -> Case:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "large").write_bytes(os.urandom(LARGE))
    return Case(Folder(path=str(folder)), ("tar",))


@pytest.fixture(scope="session")
def large_database(mariadb: MariaDB) -> str:
    name, quoted = "contract", PASSWORD.replace("\\", "\\\\").replace("'", "''")
    mariadb.execute(
        f"CREATE DATABASE {name}; USE {name};"
        "CREATE TABLE large (id INT PRIMARY KEY, content LONGBLOB) ENGINE=InnoDB;"
        f"INSERT INTO large SELECT seq, RANDOM_BYTES(1024) FROM seq_1_to_{LARGE >> 10};"
        "ANALYZE TABLE large;"
        f"CREATE USER contract@'%' IDENTIFIED BY '{quoted}'; GRANT ALL ON {name}.* TO contract@'%';"
        "GRANT SELECT ON mysql.proc TO contract@'%'"
    )
    return name


@pytest.fixture
def mysql_case(mariadb: MariaDB, large_database: str) -> Case:
    source = MySQL(
        dbhost=mariadb.host,
        dbport=mariadb.port,
        dbname=large_database,
        dbuser="contract",
        dbpass=SecretStr(PASSWORD),
    )
    return Case(source, ("mysqldump", "mariadb-dump"), ("mysql",))


@pytest.fixture(scope="session")
def large_postgres_database(postgres: Postgres) -> str:
    name, quoted = "contract", PASSWORD.replace("'", "''")
    postgres.execute(f"CREATE DATABASE {name}; CREATE ROLE contract LOGIN PASSWORD '{quoted}'")
    postgres.execute(
        f"CREATE TABLE large AS SELECT n, repeat(md5(n::text), 32) FROM generate_series(1, {LARGE >> 10}) n;"
        "GRANT pg_read_all_data TO contract",
        name,
    )
    return name


@pytest.fixture
def pgsql_case(postgres: Postgres, large_postgres_database: str, monkeypatch: pytest.MonkeyPatch) -> Case:
    # The programs must come from PATH, where tests take them away and put others in front.
    programs = Path(newest("pg_dump").path).parent
    monkeypatch.setattr(pgsql_programs, "DIRECTORIES", ())
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    source = PostgreSQL(
        dbhost=postgres.host,
        dbport=postgres.port,
        dbname=large_postgres_database,
        dbuser="contract",
        dbpass=SecretStr(PASSWORD),
    )
    return Case(source, ("pg_dump",), ("psql",))


@pytest.fixture(params=TYPES)
def case(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Case:
    monkeypatch.setenv("PLANTED", ENVIRONMENT_SECRET)
    found: Case = request.getfixturevalue(f"{request.param}_case")
    return found


def left_in(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


def test_streams_whole(case: Case, context: Context) -> None:
    with case.source.open(context) as stream:
        data, warnings = read_whole(stream)
        assert stream.size_bound is not None
        assert LARGE < len(data) <= stream.size_bound
    assert warnings == []
    assert left_in(context.tmpdir) == []


def test_tools_name_the_program_and_its_version(case: Case) -> None:
    tools = case.source.tools()
    assert list(tools) == [case.programs[0]]
    assert any(character.isdigit() for character in tools[case.programs[0]])


def test_a_child_killed_in_the_middle_is_an_error(case: Case, context: Context) -> None:
    before = children()
    with case.source.open(context) as stream:
        assert os.read(stream.fileno(), 1 << 16)
        (child,) = set(children()) - set(before)
        os.kill(child, signal.SIGKILL)
        rest = read_rest(stream)
        assert len(rest) < LARGE
        with pytest.raises(CommandError, match="SIGKILL") as caught:
            stream.finish(len(rest) + (1 << 16), rest[-stream.tail_bytes :])
    assert caught.value.status == -signal.SIGKILL
    assert left_in(context.tmpdir) == []


def test_kill_ends_the_stream_and_finish_tells(case: Case, context: Context) -> None:
    before = children()
    with case.source.open(context) as stream:
        os.read(stream.fileno(), 1 << 16)
        stream.kill()
        stream.kill()
        rest = read_rest(stream)
        with pytest.raises(BackupsError):
            stream.finish(len(rest) + (1 << 16), rest[-stream.tail_bytes :])
    assert set(children()) == set(before)
    assert left_in(context.tmpdir) == []


def test_leaving_early_ends_children_and_removes_files(case: Case, context: Context) -> None:
    before = children()
    with case.source.open(context) as stream:
        os.read(stream.fileno(), 1 << 16)
        assert set(children()) != set(before)
    assert set(children()) == set(before)
    assert left_in(context.tmpdir) == []
    stream.close()


@pytest.mark.parametrize("status", [1, 2, 127])
def test_a_bad_status_after_the_last_byte_is_an_error(
    case: Case, context: Context, fake_path: FakePath, status: int
) -> None:
    fake_path.ends_with(case.programs[0], status)
    with case.source.open(context) as stream:
        data = read_rest(stream)
        assert len(data) > LARGE
        with pytest.raises(BackupsError, match=f"status {status}"):
            stream.finish(len(data), data[-stream.tail_bytes :])


def test_a_child_that_writes_nothing_is_an_error(case: Case, context: Context, fake_path: FakePath) -> None:
    fake_path.put(case.programs[0], "exit 0")
    with case.source.open(context) as stream, pytest.raises(BackupsError):
        read_whole(stream)


def test_a_stream_cut_short_with_a_good_status_is_an_error(case: Case, context: Context, fake_path: FakePath) -> None:
    fake_path.put(case.programs[0], '"$REAL" "$@" | head -c 3000000')
    with case.source.open(context) as stream, pytest.raises(BackupsError):
        read_whole(stream)


def test_much_noise_on_stderr_neither_blocks_nor_fails(case: Case, context: Context, fake_path: FakePath) -> None:
    fake_path.noisy(case.programs[0])
    with case.source.open(context) as stream:
        data, warnings = read_whole(stream)
    assert len(data) > LARGE
    assert warnings == []


def test_a_missing_program_says_what_to_install(case: Case, context: Context, fake_path: FakePath) -> None:
    fake_path.only(*case.others)
    with pytest.raises(CommandError, match=f"{case.programs[0]} is not installed") as caught:
        case.source.open(context)
    assert "install" in caught.value.hint
    assert left_in(context.tmpdir) == []


def test_secrets_are_in_no_argv_and_no_environment(case: Case, context: Context) -> None:
    planted = [PASSWORD.encode(), ENVIRONMENT_SECRET.encode()]
    before = children()
    with case.source.open(context) as stream:
        os.read(stream.fileno(), 1 << 16)
        started = set(children()) - set(before)
        assert started
        for child in started:
            seen = Path(f"/proc/{child}/cmdline").read_bytes() + Path(f"/proc/{child}/environ").read_bytes()
            assert len(seen) > 10
            assert not [secret for secret in planted if secret in seen]
        for path in left_in(context.tmpdir):
            assert path.stat().st_mode & 0o077 == 0
    assert left_in(context.tmpdir) == []


def test_secrets_are_in_no_error(case: Case, context: Context, fake_path: FakePath) -> None:
    fake_path.put(case.programs[0], "env >&2; cat /proc/$$/cmdline >&2; exit 3")
    with case.source.open(context) as stream, pytest.raises(CommandError) as caught:
        read_whole(stream)
    text = f"{caught.value!r} {caught.value} {caught.value.hint}"
    assert PASSWORD not in text
    assert ENVIRONMENT_SECRET not in text
