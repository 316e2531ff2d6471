"""What an account may do, read from SHOW GRANTS of MariaDB and MySQL."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

_NAME = r"(?:`(?:[^`]|``)*`|\*)"
_GRANT = re.compile(
    rf"(?P<verb>GRANT|REVOKE) (?P<privileges>.+?) ON (?:TABLE )?(?P<database>{_NAME})\.(?P<table>{_NAME}) (?:TO|FROM) ",
    re.DOTALL,
)
_COLUMNS = re.compile(r"\([^)]*\)")


@dataclass(frozen=True)
class Grant:
    """One line. ``database`` is a pattern as the server has it, or ``*``; ``table`` a name, or ``*``."""

    privileges: frozenset[str]
    database: str
    table: str
    revoked: bool = False

    def allows(self, privilege: str) -> bool:
        """Whether the privilege is among them, alone or as one of all."""
        return privilege in self.privileges or "ALL PRIVILEGES" in self.privileges or "ALL" in self.privileges

    def covers(self, database: str) -> bool:
        """Whether it is about the whole of a database."""
        return self.table == "*" and (self.database == "*" or _matches(self.database, database))


@dataclass(frozen=True)
class Grants:
    """All lines of an account, its roles included."""

    lines: tuple[Grant, ...]

    @classmethod
    def read(cls, lines: Iterable[str]) -> Self:
        """From the lines of SHOW GRANTS; what is not about tables is left out."""
        found = []
        for line in lines:
            if (match := _GRANT.match(line)) is None:
                continue
            privileges = [name.strip().upper() for name in _COLUMNS.sub(" (", match["privileges"]).split(",")]
            found.append(
                Grant(
                    frozenset(name for name in privileges if not name.endswith("(")),  # of some columns only
                    _plain(match["database"]),
                    _plain(match["table"]),
                    match["verb"] == "REVOKE",
                )
            )
        return cls(tuple(found))

    def everywhere(self, privilege: str) -> bool:
        """Whether it holds for every database of the server."""
        given = any(g.database == "*" and g.allows(privilege) for g in self.lines if not g.revoked)
        return given and not any(g.allows(privilege) for g in self.lines if g.revoked)

    def on(self, privilege: str, database: str) -> bool:
        """Whether it holds for everything in a database."""
        about = [grant for grant in self.lines if grant.covers(database) and grant.allows(privilege)]
        local = any(grant.database != "*" for grant in about if not grant.revoked)
        everywhere = any(grant.database == "*" for grant in about)
        return local or (everywhere and not any(grant.revoked for grant in about))


def _plain(name: str) -> str:
    return name if name == "*" else name[1:-1].replace("``", "`")


def _matches(pattern: str, database: str) -> bool:
    """Databases in grants are patterns: ``%`` and ``_`` are wild unless a backslash stands before them."""
    parts = re.findall(r"\\[_%\\]|.", pattern, re.DOTALL)
    wild = {"%": ".*", "_": "."}
    expression = "".join(wild.get(part) or re.escape(part[-1]) for part in parts)
    return re.fullmatch(expression, database, re.DOTALL | re.IGNORECASE) is not None
