"""What is found before a dump starts, by asking a real MariaDB."""

from __future__ import annotations

import pytest

from backups.context import Context
from backups.errors import SourceError
from tests.contract.databases import PASSWORD, dump, grant, source
from tests.servers.mariadb import MariaDB


@pytest.mark.parametrize(
    ("grants", "message", "remedy"),
    [
        (["SELECT, EVENT, TRIGGER, SHOW VIEW ON {}.*"], "procedures and functions", "GRANT SELECT ON mysql.proc"),
        (
            ["SELECT, EVENT, TRIGGER, SHOW VIEW, EXECUTE, CREATE ROUTINE, ALTER ROUTINE ON {}.*"],
            "procedures and functions",
            "GRANT SELECT ON mysql.proc",
        ),
        (["SELECT, EVENT, SHOW VIEW ON {}.*", "SELECT ON mysql.proc"], "triggers", "GRANT TRIGGER ON `{}`.*"),
        (["SELECT, TRIGGER, SHOW VIEW ON {}.*", "SELECT ON mysql.proc"], "events", "GRANT EVENT ON `{}`.*"),
        (["SELECT, TRIGGER, EVENT ON {}.*", "SELECT ON mysql.proc"], "views", "GRANT SHOW VIEW ON `{}`.*"),
    ],
)
def test_privileges_that_would_leave_something_out_are_named(  # noqa: PLR0917
    grants: list[str], message: str, remedy: str, mariadb: MariaDB, live: str, account: str, context: Context
) -> None:
    grant(mariadb, account, *(given.format(live) for given in grants))
    limited = source(mariadb, live, dbuser=account, dbpass=PASSWORD)
    with pytest.raises(SourceError, match=message) as caught:
        limited.open(context)
    assert remedy.format(live) in caught.value.hint
    for statement in caught.value.hint.split("; "):
        mariadb.execute(statement)  # the remedy is one that can be pasted
    data, _ = dump(limited, context)
    assert all(word in data for word in (b"PROCEDURE `grow`", b"TRIGGER noted", b"EVENT `nightly`", b"VIEW `named`"))


def test_a_role_gives_privileges_too(mariadb: MariaDB, live: str, account: str, context: Context) -> None:
    role = f"r_{account}"
    mariadb.execute(
        f"CREATE ROLE {role}; GRANT SELECT, EVENT, TRIGGER, SHOW VIEW ON {live}.* TO {role};"
        f"GRANT SELECT ON mysql.proc TO {role}; GRANT {role} TO {account}@'%';"
        f"SET DEFAULT ROLE {role} FOR {account}@'%'"
    )
    try:
        data, warnings = dump(source(mariadb, live, dbuser=account, dbpass=PASSWORD), context)
    finally:
        mariadb.execute(f"DROP ROLE {role}")
    assert b"PROCEDURE `grow`" in data
    assert warnings == []


def test_what_is_switched_off_needs_no_privilege(mariadb: MariaDB, live: str, account: str, context: Context) -> None:
    grant(mariadb, account, f"SELECT, SHOW VIEW ON {live}.*")
    limited = source(
        mariadb, live, dbuser=account, dbpass=PASSWORD, directives="--skip-triggers --routines=0", noevents="1"
    )
    data, _ = dump(limited, context)
    assert b"CREATE TABLE `people`" in data
    assert not [word for word in (b"PROCEDURE", b"TRIGGER noted", b"EVENT `nightly`") if word in data]


def test_a_user_of_single_tables_is_warned_of(mariadb: MariaDB, live: str, account: str, context: Context) -> None:
    grant(mariadb, account, f"SELECT ON {live}.people", f"EVENT ON {live}.*", "SELECT ON mysql.proc")
    limited = source(mariadb, live, dbuser=account, dbpass=PASSWORD, directives="--skip-triggers")
    data, warnings = dump(limited, context)
    assert b"CREATE TABLE `log`" not in data
    assert any("single tables only" in warning for warning in warnings)


def test_all_databases_need_the_right_to_all(mariadb: MariaDB, live: str, account: str, context: Context) -> None:
    grant(mariadb, account, f"ALL ON {live}.*", "SELECT ON mysql.proc")
    with pytest.raises(SourceError, match="databases would be left out") as caught:
        source(mariadb, all_databases=1, dbuser=account, dbpass=PASSWORD).open(context)
    assert "GRANT SELECT ON *.*" in caught.value.hint


def test_tables_without_transactions_are_warned_of(mariadb: MariaDB, live: str, context: Context) -> None:
    mariadb.execute("CREATE TABLE old_style (a INT) ENGINE=MyISAM", live)
    _, warnings = dump(source(mariadb, live), context)
    assert len(warnings) == 1
    assert "old_style (MyISAM)" in warnings[0]
    _, warnings = dump(source(mariadb, live, directives="--lock-all-tables"), context)
    assert warnings == []
