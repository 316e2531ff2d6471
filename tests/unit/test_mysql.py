"""The model of the source ``mysql``, its command and the end of its dump, without a server."""

from __future__ import annotations

from typing import Any

import pytest

from backups.config import ConfigModel
from backups.databases.mysql_client import QueryError, quoted
from backups.errors import SourceError
from backups.sources import SOURCES
from backups.sources.mysql import MySQL, check_end

CONNECT = {"type": "mysql", "dbhost": "db", "dbuser": "u", "dbpass": "p"}


def source(**settings: Any) -> MySQL:
    return MySQL.model_validate({**CONNECT, "dbname": "live", **settings})


def test_it_is_known_by_its_name() -> None:
    assert SOURCES.get("mysql") is MySQL
    assert issubclass(MySQL, ConfigModel)


def test_ids_tell_servers_and_databases_apart() -> None:
    ids = {
        source().id,
        source(dbport=3307).id,
        source(dbhost="other").id,
        source(dbname="two").id,
        source(dbname=["live", "two"]).id,
    }
    assert len(ids) == 5
    assert source().id == "mysql-db-live"


@pytest.mark.parametrize(("dbname", "databases"), [("live", ("live",)), (["a", "b"], ("a", "b"))])
def test_one_database_or_several(dbname: object, databases: tuple[str, ...]) -> None:
    assert source(dbname=dbname).databases == databases


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dbname": ()}, "required: dbname"),
        ({"all_databases": True}, "either 'dbname' or 'all_databases'"),
        ({"dbhost": ""}, "required: dbhost"),
        ({"dbhost": "", "dbuser": ""}, "required: dbhost, dbuser"),
        ({"dbport": 0}, "greater than 0"),
        ({"dbname": ""}, "at least 1"),
        ({"directives": "--password=s3cret"}, "use 'dbpass'"),
        ({"options": "-r /tmp/x"}, "would not go into the backup"),
        ({"ssl": "required", "ssl_ca": "/ca.pem"}, "leaves out"),
        ({"ssl": "maybe"}, "'disabled'"),
    ],
)
def test_what_does_not_fit_is_refused_without_secrets(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        source(**settings)
    assert "s3cret" not in str(caught.value)


def test_an_options_file_replaces_the_connection() -> None:
    found = MySQL.model_validate({"type": "mysql", "dbname": "live", "defaults": "/etc/backup.cnf"})
    assert str(found.connection) == "the server of /etc/backup.cnf"


@pytest.mark.parametrize("flag", ["0", 0, False, ""])
def test_a_flag_of_zero_is_off(flag: object) -> None:
    assert source(noevents=flag).noevents is False


@pytest.mark.parametrize("last", [b"-- Dump completed\n", b"-- Dump completed on 2026-11-23  6:12:01\n"])
def test_the_last_line_of_a_whole_dump(last: bytes) -> None:
    assert check_end(1000, b"/*!40111 SET SQL_NOTES=1 */;\n\n" + last) == []


@pytest.mark.parametrize(
    "tail",
    [
        b"",
        b"INSERT INTO `t` VALUES (1",
        b"-- Dump completed\nmore",
        b"INSERT INTO `t` VALUES ('-- Dump completed",
        b"INSERT -- Dump completed\n",
    ],
)
def test_any_other_end_is_an_error(tail: bytes) -> None:
    with pytest.raises(SourceError, match="not whole"):
        check_end(1000, tail)


def test_an_empty_dump_is_an_error() -> None:
    with pytest.raises(SourceError, match="wrote nothing"):
        check_end(0, b"")


def test_values_of_an_options_file_are_quoted() -> None:
    assert quoted('a#b"c\\d\n', "password") == '"a#b\\"c\\\\d\\n"'


@pytest.mark.parametrize(("text", "code"), [("ERROR 1045 (28000): Access denied", 1045), ("mysql: broken", 0)])
def test_errors_are_explained_with_their_number(text: str, code: int) -> None:
    error = QueryError(text, 1)
    assert error.code == code
    assert text in str(error.explained("db:3306"))
    assert "db:3306" in str(error.explained("db:3306"))
