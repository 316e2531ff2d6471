"""The model of the source ``pgsql``, what it stands for, and the end of its dump, without a server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backups.context import Context
from backups.databases.pgsql_client import Connection, QueryError, password_line
from backups.databases.pgsql_programs import fitting, newest
from backups.databases.pgsql_roles import RoleFilter
from backups.errors import CommandError, SourceError
from backups.sources import SOURCES
from backups.sources.pgsql import PostgreSQL, PostgreSQLRoles, check_archive, check_text
from tests.jobs import job_with, parsed, problems

CONNECT = {"type": "pgsql", "dbhost": "db", "dbuser": "u", "dbpass": "p"}


def source(**settings: Any) -> PostgreSQL:
    return PostgreSQL.model_validate({**CONNECT, **settings})


def test_it_is_known_by_its_names() -> None:
    assert SOURCES.get("pgsql") is SOURCES.get("postgresql") is PostgreSQL
    assert PostgreSQL.label == "PostgreSQL"


def test_ids_tell_servers_and_databases_apart() -> None:
    ids = {source(dbname="a").id, source(dbname="a", dbport=5433).id, source(dbname="b").id}
    assert len(ids) == 3
    assert source(dbname="a").id == "pgsql-db-a"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either 'dbname' or 'all_databases'"),
        ({"dbname": "a", "all_databases": 1}, "either 'dbname' or 'all_databases'"),
        ({"dbname": "a", "dbhost": ""}, "give 'dbhost' or 'dbsocket'"),
        ({"dbname": "a", "dbport": 0}, "greater than 0"),
        ({"dbname": ""}, "at least 1"),
        ({"dbname": [], "id": "x"}, "at least 1"),
        ({"dbname": ["a"]}, "give an 'id'"),
        ({"all_databases": 1, "globals": 1}, "holds roles and tablespaces already"),
        ({"all_databases": 1, "format": "custom"}, "holds one database"),
        ({"dbname": "a", "sslmode": "prefer", "sslrootcert": "/ca.pem"}, "leaves out"),
        ({"dbname": "a", "sslmode": "maybe"}, "'disable'"),
        ({"dbname": "a", "format": "tar"}, "'plain' or 'custom'"),
    ],
)
def test_what_does_not_fit_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        source(**settings)


def test_one_database_stands_for_itself() -> None:
    one = source(dbname="a")
    assert one.expanded() == (one,)
    assert source(all_databases=1).whole_server


def test_a_list_and_roles_stand_for_a_copy_of_each() -> None:
    parts = source(id="pg", dbname=["a", "b c"], globals=1, format="custom", passphrase="secret").expanded()
    assert parts[1].id.startswith("pg-b-c-")  # what can't stand in an id is told apart by a hash
    assert [part.extension for part in parts] == ["dump", "dump", "sql"]
    assert parts[0].id == "pg-a"
    assert parts[2].id == "pg-globals"
    assert isinstance(parts[2], PostgreSQLRoles)
    assert {part.type for part in parts} == {"pgsql"}
    assert all(part.passphrase and part.expanded() == (part,) for part in parts)


def test_what_stands_for_several_is_never_read_as_one(context: Context) -> None:
    for several in (source(id="pg", dbname=["a"]), source(dbname="a", globals=1)):
        with pytest.raises(ValueError, match="stands for"):
            several.open(context)


def test_the_job_holds_what_the_source_stands_for() -> None:
    data = job_with("sources", {**CONNECT, "id": "pg", "dbname": ["a", "b"], "globals": True})
    job = parsed(data)
    assert [found.id for found in job.sources] == ["pg-a", "pg-b", "pg-globals"]
    assert [found.id for found in job.declared] == ["pg"]
    assert job.source("pg-b").extension == "sql"
    assert job.plain_secrets() == ["encryption.passphrase", "sources[0].dbpass"]


def test_ids_that_meet_are_refused_at_their_place() -> None:
    several = {**CONNECT, "id": "pg", "dbname": ["a", "globals"], "globals": True}
    other = {"type": "folder", "path": "/etc", "id": "pg-a"}
    assert problems(job_with("sources", several, other)) == [
        "sources[0]: would make two copies with the id 'pg-globals'",
        "sources[1].id: sources[0] has the id 'pg-a' as well",
    ]


PLAIN_END = b"--\n-- PostgreSQL database dump complete\n--\n\n"


@pytest.mark.parametrize(
    "tail",
    [
        PLAIN_END,
        b"SELECT 1;\n\n" + PLAIN_END,
        PLAIN_END + b"\\unrestrict MrAqKECtvUvzpmgzCkUz3mdC3jSNLcGI0bTux\n\n",
        b"\\unrestrict x\n\n--\n-- PostgreSQL database cluster dump complete\n--\n\n",
    ],
)
def test_the_end_of_a_whole_dump(tail: bytes) -> None:
    assert check_text(1000, tail) == []


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        PLAIN_END[:-5],
        PLAIN_END + b"more\n",
        PLAIN_END + b"\\unrestrict ",
        b"INSERT 'x" + PLAIN_END[3:],
        b"COPY public.t (a) FROM stdin;\n1\n",
    ],
)
def test_any_other_end_is_an_error(tail: bytes) -> None:
    with pytest.raises(SourceError, match="not whole"):
        check_text(1000, tail)


def test_the_end_of_an_archive() -> None:
    assert check_archive(1000, b"\\.\n\n\n" + bytes(5)) == []
    with pytest.raises(SourceError, match="not whole"):
        check_archive(1000, b"\\.\n\n\n" + bytes(4))
    for check in (check_archive, check_text):
        with pytest.raises(SourceError, match="wrote nothing"):
            check(0, b"")


def test_a_line_of_a_password_file() -> None:
    assert password_line("a:b\\c") == "*:*:*:*:a\\:b\\\\c\n"


def test_connection_strings_hold_any_name_and_no_password() -> None:
    connection = Connection(host="h", port=5, user="it's", sslrootcert="/ca pem", password=source(dbname="a").dbpass)
    found = connection.parameters("x' password='y\\")
    assert "dbname='x\\' password=\\'y\\\\'" in found
    assert "sslmode='verify-full' sslrootcert='/ca pem'" in found
    assert "user='it\\'s'" in found
    assert "password='p'" not in found


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("FATAL:  remaining connection slots are reserved", "too many connections"),
        ("FATAL:  the database system is starting up", "takes no connections now"),
        ('FATAL:  permission denied for database "a"', "may not use this database"),
        ("server closed the connection unexpectedly", "the connection broke"),
        ("FATAL:  Passwort-Authentifizierung fehlgeschlagen", "it refused"),
    ],
)
def test_errors_are_explained(text: str, meaning: str) -> None:
    found = str(QueryError(text).explained("db:5432"))
    assert meaning in found
    assert text in found
    assert "db:5432" in found


def _program(directory: Path, name: str, version: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\necho '{version}'\n")
    (directory / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for major in (9, 13, 15, 18):
        _program(tmp_path / f"{major}" / "bin", "pg_dump", f"pg_dump (PostgreSQL) {major}.4 (Debian {major}.4-1)")
    monkeypatch.setattr("backups.databases.pgsql_programs.DIRECTORIES", (f"{tmp_path}/*/bin",))
    monkeypatch.setenv("PATH", f"{tmp_path}/path:/usr/bin:/bin")
    return tmp_path


@pytest.mark.parametrize(("server", "chosen"), [(13, "13"), (14, "15"), (15, "15"), (18, "18")])
def test_the_program_of_the_servers_version_or_the_next(server: int, chosen: str, programs: Path) -> None:
    assert fitting("pg_dump", server).path == f"{programs}/{chosen}/bin/pg_dump"
    assert newest("pg_dump").major == 18


def test_a_server_newer_than_every_program(programs: Path) -> None:
    assert programs
    with pytest.raises(
        CommandError, match="server is PostgreSQL 19, and the newest pg_dump here is of version 18"
    ) as no:
        fitting("pg_dump", 19)
    assert no.value.hint == "install the package postgresql-client-19"
    for search in (newest, lambda name: fitting(name, 17)):
        with pytest.raises(CommandError, match="pg_restore is not installed"):
            search("pg_restore")


def test_a_program_on_path_comes_first(programs: Path) -> None:
    _program(programs / "path", "pg_dump", "pg_dump (PostgreSQL) 15.9")
    assert fitting("pg_dump", 15).path == f"{programs}/path/pg_dump"
    assert fitting("pg_dump", 13).path == f"{programs}/13/bin/pg_dump"
    _program(programs / "path", "pg_dump", "says nothing")
    assert fitting("pg_dump", 99).path == f"{programs}/path/pg_dump"


def test_debians_chooser_is_not_taken(programs: Path) -> None:
    _program(programs / "share", "pg_wrapper", "pg_dump (PostgreSQL) 18.9")
    (programs / "path").mkdir()
    (programs / "path" / "pg_dump").symlink_to(programs / "share" / "pg_wrapper")
    assert newest("pg_dump").path == f"{programs}/18/bin/pg_dump"


ROLES = (
    b"--\n-- Roles\n--\n\nCREATE ROLE keeper;\nALTER ROLE keeper WITH SUPERUSER PASSWORD 'SCRAM';\n"
    b'CREATE ROLE "odd ""x;";\nALTER ROLE "odd ""x;" WITH LOGIN;\nCREATE ROLE new;\nALTER ROLE keeper SET a TO b;\n'
)
KEPT = b'--\n-- Roles\n--\n\nALTER ROLE "odd ""x;" WITH LOGIN;\nCREATE ROLE new;\nALTER ROLE keeper SET a TO b;\n'
DATABASES = b"\\connect template1\nCREATE ROLE keeper;\nno newline"


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("rest", [b"", DATABASES])
def test_roles_that_exist_are_left_alone(size: int, rest: bytes) -> None:
    roles = RoleFilter(["keeper", '"odd ""x;"'], "keeper")
    data = ROLES + rest
    passed = b"".join(roles.feed(data[start : start + size]) for start in range(0, len(data), size)) + roles.end()
    assert passed == KEPT + rest
