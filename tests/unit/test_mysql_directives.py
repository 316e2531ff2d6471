"""Options that job files add to mysqldump."""

from __future__ import annotations

import pytest

from backups.databases.mysql_directives import parse


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        ("", ()),
        ("--ignore-table=a.b  -f", ("--ignore-table=a.b", "-f")),
        ("--where='id > 5' --hex-blob", ("--where=id > 5", "--hex-blob")),
        (["--where=id > 5", "it's"], ("--where=id > 5", "it's")),
    ],
)
def test_text_is_split_as_a_shell_would(given: str | list[str], arguments: tuple[str, ...]) -> None:
    assert parse(given).arguments == arguments


@pytest.mark.parametrize(
    "given",
    [
        "--result-file=/tmp/x",
        "--result_file /tmp/x",
        "--result",
        "-r/tmp/x",
        "-fr /tmp/x",
        "--tab=/tmp",
        "-T /tmp",
        "--password=x",
        "--pass=x",
        "-px",
        "-Cp",
        "--compact",
        "--loose-compact",
        "--skip-comments",
        "--skip-comm",
        "--disable-comments",
        "--comments=0",
        "--comments=OFF",
        "--xml",
        "-X",
        "--help",
        "-?",
        "--version",
        "-V",
        "--print-defaults",
        "--defaults-file=/x",
        "--defaults-extra-file=/x",
        "--no-defaults",
        "--login-path=x",
        "--",
        "--where='open",
    ],
)
def test_what_a_backup_can_not_allow_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match=r"can't"):
        parse(given)


@pytest.mark.parametrize(
    "given",
    [
        "--skip-compact",
        "--comments",
        "-i",
        "--tables",
        "--compress",
        "-C",
        "--verbose",
        "--skip-dump-date",
        "--default-character-set=latin1",
        "--compatible=ansi",
        "-w 'p=1'",
        "-wp=1",
        "--replace",
        "--where=--password",
    ],
)
def test_the_rest_is_allowed(given: str) -> None:
    assert parse(given).arguments


@pytest.mark.parametrize(
    ("given", "connection"),
    [
        ("--port=3307 --hex-blob", ("--port=3307",)),
        ("--port 3307 -f", ("--port", "3307")),
        ("-P3307", ("-P3307",)),
        ("-CP 3307", ("-P", "3307")),
        ("-h db -u me -S /s", ("-h", "db", "-u", "me", "-S", "/s")),
        ("--sock=/s", ("--sock=/s",)),
        ("--ssl --ssl-ca /ca.pem", ("--ssl", "--ssl-ca", "/ca.pem")),
        ("--ssl-mode=REQUIRED", ("--ssl-mode=REQUIRED",)),
        ("--protocol tcp", ("--protocol", "tcp")),
        ("--where=--port=1 --set-charset", ()),
        ("--port", ("--port",)),
    ],
)
def test_where_to_connect_is_known_to_the_checks_too(given: str, connection: tuple[str, ...]) -> None:
    assert parse(given).connection == connection


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("--skip-triggers", "triggers"),
        ("--disable-routines", "routines"),
        ("--events=0", "events"),
        ("--loose-skip-events", "events"),
    ],
)
def test_what_is_switched_off_is_known(given: str, name: str) -> None:
    assert name in parse(given).off


def test_what_is_switched_on_is_not_off() -> None:
    assert parse("--triggers --routines --events=1").off == frozenset()


@pytest.mark.parametrize(
    ("given", "locks"),
    [
        ("", False),
        ("--lock-all-tables", True),
        ("--lock-tables", True),
        ("-x", True),
        ("-fl", True),
        ("--skip-single-transaction", True),
        ("--single-transaction", False),
        ("--skip-lock-tables", False),
        ("-hlocalhost", False),
    ],
)
def test_locks_instead_of_a_transaction_are_known(given: str, locks: bool) -> None:
    assert parse(given).locks is locks
