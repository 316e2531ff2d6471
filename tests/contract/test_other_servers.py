"""Databases on servers of other releases: Oracle's MySQL, and PostgreSQL older and newer than this machine's.

They come from Debian sid, trixie and bullseye, by the mirror that apt is configured with; PostgreSQL 14 and 16 from
other registries. Only the clients of 14 are in none: its server is read by those of the next release.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.context import Context
from backups.databases import pgsql_programs
from backups.errors import CommandError, SourceError
from tests.contract import databases as mysql
from tests.contract import postgres_databases as pgsql
from tests.servers import debian
from tests.servers.debian import unpacked_or_left_out
from tests.servers.mariadb import database
from tests.servers.operations_page import statements
from tests.servers.oracle_mysql import PACKAGES, OracleMySQL
from tests.servers.postgres import Postgres
from tests.servers.postgres import database as postgres_database
from tests.servers.postgres_releases import postgresql_14, postgresql_16

pytestmark = pytest.mark.xdist_group("debian sid")


@pytest.fixture(scope="module")
def sid() -> Path:
    return unpacked_or_left_out("sid", *PACKAGES, "postgresql")


@pytest.fixture(scope="module")
def oracle(sid: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OracleMySQL]:
    with OracleMySQL(tmp_path_factory.mktemp("mysql"), sid) as server:
        yield server


@pytest.fixture
def live(oracle: OracleMySQL) -> Iterator[str]:
    with database(oracle, "live") as made:
        oracle.execute(mysql.SCHEMA.replace("AS (LENGTH(name)) STORED", ""), made)
        yield made


@contextlib.contextmanager
def programs_of(release: Path) -> Iterator[Path]:
    """PostgreSQL's programs of a release, where the account that runs the server may enter."""
    with contextlib.ExitStack() as stack:
        if not all(directory.stat().st_mode & stat.S_IXOTH for directory in (release, *release.parents)):
            open_to_all = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="release-")))
            open_to_all.chmod(0o755)
            release = Path(shutil.copytree(release, open_to_all / release.name, symlinks=True))
            release.chmod(0o755)
        (found,) = release.rglob("bin/initdb")
        yield found.parent


@pytest.fixture(scope="module")
def programs(sid: Path) -> Iterator[Path]:
    """The newer PostgreSQL's."""
    with programs_of(sid) as found:
        yield found


@pytest.fixture(scope="module")
def older_programs() -> Iterator[Path]:
    """Those of PostgreSQL 13, the oldest whose servers are backed up."""
    with programs_of(unpacked_or_left_out("bullseye", "postgresql")) as found:
        yield found


@pytest.fixture(scope="module")
def image_programs() -> Iterator[Path]:
    """Those of the release that the worker's image is made of."""
    with programs_of(unpacked_or_left_out("trixie", "postgresql")) as found:
        yield found


@pytest.fixture(scope="module")
def sixteen_programs() -> Iterator[Path]:
    with programs_of(postgresql_16()) as found:
        yield found


@pytest.fixture(scope="module")
def fourteen() -> Iterator[Postgres]:
    with programs_of(postgresql_14()) as programs, Postgres(programs=programs) as server:
        yield server


@pytest.fixture(scope="module")
def sixteen(sixteen_programs: Path) -> Iterator[Postgres]:
    with Postgres(programs=sixteen_programs) as server:
        yield server


@pytest.fixture(scope="module")
def image(image_programs: Path) -> Iterator[Postgres]:
    with Postgres(programs=image_programs) as server:
        yield server


@pytest.fixture(scope="module")
def newer(programs: Path) -> Iterator[Postgres]:
    with Postgres(programs=programs) as server:
        yield server


@pytest.fixture(scope="module")
def older(older_programs: Path) -> Iterator[Postgres]:
    with Postgres(programs=older_programs) as server:
        yield server


@pytest.fixture
def ledger(newer: Postgres) -> Iterator[str]:
    with postgres_database(newer, "ledger") as made:
        newer.execute(pgsql.SCHEMA, made)
        yield made


@pytest.mark.parametrize("client", ["MariaDB's", "MySQL's own"])
def test_a_mysql_database_comes_back_the_same(
    client: str, oracle: OracleMySQL, live: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    if client == "MySQL's own":
        monkeypatch.setenv("PATH", f"{oracle.clients}{os.pathsep}{os.environ['PATH']}")
    one = mysql.source(oracle, live)
    (version,) = one.tools().values()
    assert ("MariaDB" in version) == (client == "MariaDB's"), version
    assert "MariaDB" not in oracle.execute("SELECT VERSION(), @@version_comment")
    data, warnings = mysql.dump(one, context)
    assert warnings == []
    with database(oracle, "live_restored") as other:
        mysql.restore(oracle, other, data, context)
        assert mysql.described(oracle, other) == mysql.described(oracle, live)
        oracle.execute("CALL grow(1)", other)
        assert "trigger; 🦔" in oracle.execute("SELECT what FROM log", other)


def test_generated_columns_come_back_by_mysql_s_own_client_and_are_refused_by_mariadb_s(
    oracle: OracleMySQL, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MariaDB's would write values for them, which MySQL refuses when the dump is loaded."""
    with database(oracle, "made") as made, database(oracle, "made_restored") as other:
        oracle.execute("CREATE TABLE t (a INT, b INT AS (a * 2) STORED); INSERT INTO t (a) VALUES (7)", made)
        oracle.execute("CREATE TABLE u (a INT)", made)
        with pytest.raises(SourceError, match=r"would refuse to load them: made\.t ") as caught:
            mysql.dump(mysql.source(oracle, made), context)
        assert "MySQL's own mysqldump" in caught.value.hint
        ignored = mysql.source(oracle, made, directives="--ignore-table=made.t")
        assert b"CREATE TABLE `u`" in mysql.dump(ignored, context)[0]
        monkeypatch.setenv("PATH", f"{oracle.clients}{os.pathsep}{os.environ['PATH']}")
        mysql.restore(oracle, other, mysql.dump(mysql.source(oracle, made), context)[0], context)
        assert oracle.execute("SELECT a, b FROM t", other) == "7\t14\n"


def test_mysql_s_own_privilege_for_routines_is_asked_for(oracle: OracleMySQL, live: str, context: Context) -> None:
    oracle.execute(f"CREATE USER reader@'%' IDENTIFIED BY '{mysql.PASSWORD}'")
    mysql.grant(oracle, "reader", f"SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, EXECUTE ON {live}.*")
    limited = mysql.source(oracle, live, dbuser="reader", dbpass=mysql.PASSWORD)
    with pytest.raises(SourceError, match="stored procedures and functions would be left out") as caught:
        mysql.dump(limited, context)
    oracle.execute(caught.value.hint)
    assert "SHOW_ROUTINE" in caught.value.hint
    assert b"CREATE PROCEDURE" in re.sub(rb"DEFINER=\S+ |/\*!\d+ |\*/", b"", mysql.dump(limited, context)[0])


def test_what_the_operations_page_grants_in_mysql_suffices(
    oracle: OracleMySQL, live: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    oracle.execute(statements("MySQL", 1, mysql.PASSWORD).replace("livecompany", live))
    for more in ("", f"{oracle.clients}{os.pathsep}"):  # MariaDB's program, then MySQL's own
        monkeypatch.setenv("PATH", f"{more}{os.environ['PATH']}")
        data, warnings = mysql.dump(mysql.source(oracle, live, dbuser="backups", dbpass=mysql.PASSWORD), context)
        assert warnings == []
        with database(oracle, "granted_restored") as other:
            mysql.restore(oracle, other, data, context)
            assert mysql.described(oracle, other) == mysql.described(oracle, live)
    oracle.execute("DROP USER backups@'%'")


def test_a_wrong_password_is_named_by_mysql_too(oracle: OracleMySQL, live: str, context: Context) -> None:
    with pytest.raises(SourceError, match="the user or the password is wrong") as caught:
        mysql.dump(mysql.source(oracle, live, dbpass="plantéd wrong one"), context)
    assert "plantéd" not in str(caught.value)


def test_a_postgresql_server_newer_than_every_client_is_refused_plainly(
    newer: Postgres, ledger: str, context: Context
) -> None:
    server = int(newer.execute("SHOW server_version_num")) // 10_000
    client = pgsql_programs.newest("pg_dump").major
    assert client is not None and client < server
    expected = f"the server is PostgreSQL {server}, and the newest pg_dump here is of version {client}"
    with pytest.raises(CommandError, match=expected) as caught:
        pgsql.dump(pgsql.source(newer, ledger), context)
    assert caught.value.hint == f"install the package postgresql-client-{server}"
    assert list(context.tmpdir.iterdir()) == []


@pytest.fixture
def clients(
    programs: Path,
    older_programs: Path,
    sixteen_programs: Path,
    image_programs: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beside this machine's clients stand older and newer ones, as in the worker's image."""
    more = map(str, (programs, older_programs, sixteen_programs, image_programs))
    monkeypatch.setattr(pgsql_programs, "DIRECTORIES", (*pgsql_programs.DIRECTORIES, *more))


@pytest.mark.usefixtures("clients")
@pytest.mark.parametrize("form", ["plain", "custom"])
@pytest.mark.parametrize("which", ["older", "postgres", "sixteen", "image", "newer"])
def test_each_server_is_read_by_the_client_of_its_version(
    which: str, form: str, request: pytest.FixtureRequest, context: Context
) -> None:
    server: Postgres = request.getfixturevalue(which)
    version = int(server.execute("SHOW server_version_num")) // 10_000
    expected = {"older": (13,), "postgres": range(14, 18), "sixteen": (16,), "image": (17,), "newer": range(18, 99)}
    assert version in expected[which]
    with postgres_database(server, "versions") as made, postgres_database(server, "versions_restored") as other:
        server.execute(pgsql.SCHEMA, made)
        one = pgsql.source(server, made, format=form)
        data, warnings = pgsql.dump(one, context)
        assert warnings == []
        assert re.search(rf"\(PostgreSQL\) {version}\b", one.tools()["pg_dump"])
        assert (f"-- Dumped by pg_dump version {version}." if form == "plain" else "PGDMP").encode() in data
        pgsql.restore(server, other, data, context, archive=form == "custom")
        assert pgsql.described(server, other) == pgsql.described(server, made)


@pytest.mark.usefixtures("clients")
def test_the_roles_of_each_server_too(older: Postgres, newer: Postgres, context: Context) -> None:
    for server in (older, newer):
        version = int(server.execute("SHOW server_version_num")) // 10_000
        (roles,) = [
            one for one in pgsql.source(server, "postgres", id="x", globals=True).expanded() if "globals" in one.id
        ]
        data, _ = pgsql.dump(roles, context)
        assert f"CREATE ROLE {server.user}".encode() in data
        assert re.search(rf"\(PostgreSQL\) {version}\b", roles.tools()["pg_dumpall"])


@pytest.mark.parametrize("which", ["older", "fourteen"])
def test_without_its_own_client_the_next_newer_one_reads_it(
    which: str, request: pytest.FixtureRequest, context: Context
) -> None:
    server: Postgres = request.getfixturevalue(which)
    assert int(server.execute("SHOW server_version_num")) // 10_000 == {"older": 13, "fourteen": 14}[which]
    own = pgsql_programs.newest("pg_dump").major
    with postgres_database(server, "next") as made, postgres_database(server, "next_restored") as other:
        server.execute(pgsql.SCHEMA, made)
        one = pgsql.source(server, made)
        data, _ = pgsql.dump(one, context)
        assert f"({own}." in one.tools()["pg_dump"] or f") {own}." in one.tools()["pg_dump"]
        pgsql.restore(server, other, data, context)
        assert pgsql.described(server, other) == pgsql.described(server, made)


def test_what_the_operations_page_grants_before_postgresql_14_suffices(older: Postgres, context: Context) -> None:
    granted = statements("PostgreSQL", 1, pgsql.PASSWORD)
    elsewhere = granted.partition(";")[2].replace("SCHEMA public", 'SCHEMA "odd ""schema"" x"')
    with postgres_database(older, "granted") as made:
        older.execute(pgsql.SCHEMA, made)
        older.execute(f"{granted}; {elsewhere}", made)
        older.execute("CREATE TABLE made_later (id serial)", made)
        data, warnings = pgsql.dump(pgsql.source(older, made, dbuser="backups", dbpass=pgsql.PASSWORD), context)
        assert warnings == []
        assert b"COPY public.made_later" in data and b"COPY public.people" in data
        older.execute("DROP OWNED BY backups; DROP ROLE backups", made)


def test_where_the_mirror_is_out_of_reach_the_reason_is_told_and_in_ci_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(debian, "CACHE", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no apt-get
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"needs postgresql of Debian sid, by apt's own mirror: .*apt-get"):
        unpacked_or_left_out("sid", "postgresql")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(FileNotFoundError):
        unpacked_or_left_out("sid", "postgresql")
