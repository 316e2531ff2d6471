"""Adapts a dump of a whole server to the one it goes into, where some of its roles exist already."""

from __future__ import annotations

import re
from collections.abc import Collection

_ROLE = re.compile(rb'(CREATE|ALTER) ROLE ((?:[^\s";]|"(?:[^"]|"")*")+)( WITH [^\n]*)?;\n')
_LONGEST_LINE = 1 << 20


class RoleFilter:
    """Leaves out what makes roles that exist, and what would change the one that restores, with its password.

    The roles stand at the beginning, one statement a line; after the first database nothing is looked at.
    """

    def __init__(self, existing: Collection[str], current: str) -> None:
        """Names as SQL writes them, with quotes where they need them."""
        self._existing = {name.encode() for name in existing}
        self._current = current.encode()
        self._rest = b""
        self._looking = True

    def feed(self, block: bytes) -> bytes:
        """What to pass on of a block."""
        if not self._looking:
            return block
        *lines, self._rest = (self._rest + block).splitlines(keepends=True) or [b""]
        if self._rest.endswith(b"\n"):
            lines, self._rest = [*lines, self._rest], b""
        kept = []
        for number, line in enumerate(lines):
            if line.startswith(b"\\connect ") or line.startswith(b"CREATE DATABASE "):
                kept += lines[number:]
                self._looking = False
                break
            if not self._left_out(line):
                kept.append(line)
        if not self._looking or len(self._rest) > _LONGEST_LINE:
            self._looking = False
            return b"".join(kept) + self.end()
        return b"".join(kept)

    def end(self) -> bytes:
        """What is left at the end."""
        rest, self._rest = self._rest, b""
        return rest

    def _left_out(self, line: bytes) -> bool:
        statement = _ROLE.fullmatch(line)
        if statement is None:
            return False
        verb, name = statement[1], statement[2]
        return name in self._existing if verb == b"CREATE" else name == self._current and bool(statement[3])
