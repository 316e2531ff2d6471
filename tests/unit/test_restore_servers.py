"""Which server takes which copies."""

from __future__ import annotations

from typing import Any

import pytest

from backups.context import Context
from backups.errors import UsageError
from backups.restoring.servers import MySQLServer, PostgreSQLServer
from backups.restoring.target import Target
from backups.restoring.targets import target_of
from tests.jobs import example, job_with, parsed


def target(url: str, context: Context, type_: str, number: int = 0, **changes: Any) -> Target:
    source = parsed(job_with("sources", example("sources", type_, **changes))).sources[number]
    return target_of(url, source, context, password=None, overwrite=False)


def test_dumps_go_into_servers_of_their_kind(context: Context) -> None:
    assert isinstance(target("mysql://u@h/d", context, "mysql"), MySQLServer)
    assert isinstance(target("mariadb://u@h/d", context, "mysql"), MySQLServer)
    for scheme in ("postgresql", "postgres"):
        assert isinstance(target(f"{scheme}://u@h/d", context, "pgsql"), PostgreSQLServer)


@pytest.mark.parametrize(
    ("settings", "archive", "whole_server"),
    [
        ({}, False, False),
        ({"format": "custom"}, True, False),
        ({"dbname": None, "all_databases": True}, False, True),
        ({"globals": True, "format": "custom", "number": 1}, False, True),
    ],
)
def test_the_source_says_how_its_copies_are_loaded(
    settings: dict[str, Any], archive: bool, whole_server: bool, context: Context
) -> None:
    server = target("postgresql://u@h/", context, "pgsql", **settings)
    assert isinstance(server, PostgreSQLServer)
    assert (server.archive, server.whole_server) == (archive, whole_server)


@pytest.mark.parametrize(
    ("url", "type_"),
    [
        ("postgresql://u@h/d", "mysql"),
        ("mysql://u@h/d", "pgsql"),
        ("mysql://u@h/d", "folder"),
        ("postgresql://u@h/d", "folder"),
        ("oracle://u@h/d", "pgsql"),
    ],
)
def test_other_servers_are_refused(url: str, type_: str, context: Context) -> None:
    with pytest.raises(UsageError) as caught:
        target(url, context, type_)
    assert caught.value.hint


@pytest.mark.parametrize(("scheme", "type_"), [("mysql", "mysql"), ("postgresql", "pgsql")])
def test_a_password_on_the_command_line_is_refused(scheme: str, type_: str, context: Context) -> None:
    with pytest.raises(UsageError, match="can be seen") as caught:
        target(f"{scheme}://u:s3cret@h/d", context, type_).check()
    assert f"{scheme}://USER:{{{{resolve:file:PATH}}}}@" in caught.value.hint
    assert "s3cret" not in str(caught.value)
    target(f"{scheme}://u:{{{{resolve:env:X}}}}@h/d", context, type_).check()
