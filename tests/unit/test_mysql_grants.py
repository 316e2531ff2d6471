"""SHOW GRANTS as MariaDB and MySQL print it."""

from __future__ import annotations

import pytest

from backups.databases.mysql_grants import Grants

MARIADB = """\
GRANT `dumper` TO `u`@`%`
GRANT USAGE ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*D821809F681A40A6E379B50D0463EFAE20BDD122'
GRANT SELECT, SHOW VIEW, EVENT, TRIGGER ON `live`.* TO `u`@`%`
GRANT SELECT (`a`, `b`), INSERT ON `part`.`t` TO `u`@`%`
GRANT EXECUTE ON PROCEDURE `other`.`p` TO `u`@`%`
GRANT ALL PRIVILEGES ON `mine\\_%`.* TO `u`@`%` WITH GRANT OPTION
GRANT SELECT ON `odd``na.me`.* TO `u`@`%`
SET DEFAULT ROLE `dumper` FOR `u`@`%`
"""
MYSQL_8 = """\
GRANT SELECT, PROCESS, EVENT, TRIGGER ON *.* TO `u`@`%`
GRANT BACKUP_ADMIN,SHOW_ROUTINE ON *.* TO `u`@`%`
REVOKE SELECT ON `secret`.* FROM `u`@`%`
GRANT `dumper`@`%` TO `u`@`%`
"""
EVERYTHING = "GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION\n"


def grants(text: str) -> Grants:
    return Grants.read(text.splitlines())


@pytest.mark.parametrize(
    ("text", "privilege", "database", "holds"),
    [
        (MARIADB, "SELECT", "live", True),
        (MARIADB, "SHOW VIEW", "live", True),
        (MARIADB, "EXECUTE", "live", False),
        (MARIADB, "SELECT", "live2", False),
        (MARIADB, "SELECT", "part", False),
        (MARIADB, "EXECUTE", "other", False),
        (MARIADB, "TRIGGER", "mine_1", True),
        (MARIADB, "TRIGGER", "mineX1", False),
        (MARIADB, "SELECT", "odd`na.me", True),
        (MYSQL_8, "SELECT", "anything", True),
        (MYSQL_8, "SELECT", "secret", False),
        (MYSQL_8, "EVENT", "secret", True),
        (MYSQL_8, "SHOW VIEW", "anything", False),
        (EVERYTHING, "TRIGGER", "anything", True),
        ("", "SELECT", "anything", False),
    ],
)
def test_a_privilege_on_a_database(text: str, privilege: str, database: str, holds: bool) -> None:
    assert grants(text).on(privilege, database) is holds


@pytest.mark.parametrize(
    ("text", "privilege", "holds"),
    [
        (MARIADB, "SELECT", False),
        (MYSQL_8, "SHOW_ROUTINE", True),
        (MYSQL_8, "EVENT", True),
        (MYSQL_8, "SELECT", False),
        (EVERYTHING, "SELECT", True),
        ("GRANT SELECT ON `%`.* TO `u`@`%`", "SELECT", False),
    ],
)
def test_a_privilege_everywhere(text: str, privilege: str, holds: bool) -> None:
    assert grants(text).everywhere(privilege) is holds


def test_wildcards_of_a_pattern() -> None:
    found = grants("GRANT SELECT ON `a_b%`.* TO `u`@`%`")
    assert found.on("SELECT", "aXbc")
    assert found.on("SELECT", "a_b")
    assert not found.on("SELECT", "ab")
