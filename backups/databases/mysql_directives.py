"""The options that a job file adds to mysqldump: understood as far as the checks before and after a dump need it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LAST_LINE = "the dump would lose the last line, which shows that it is whole"
_ELSEWHERE = "the dump would not go into the backup"
_DEFAULTS = "use 'defaults' instead"
_REFUSED = {
    "password": "it would stand in the list of processes: use 'dbpass' or 'defaults'",
    "result-file": _ELSEWHERE,
    "tab": _ELSEWHERE,
    "dir": _ELSEWHERE,
    "compact": _LAST_LINE,
    "xml": "the dump would not be SQL",
    "help": _ELSEWHERE,
    "version": _ELSEWHERE,
    "print-defaults": "it would print the password",
    "defaults-file": _DEFAULTS,
    "defaults-extra-file": _DEFAULTS,
    "defaults-group-suffix": _DEFAULTS,
    "no-defaults": _DEFAULTS,
    "login-path": _DEFAULTS,
}
_REFUSED_SHORT = {"p": "password", "r": "result-file", "T": "tab", "X": "xml", "?": "help", "I": "help", "V": "version"}
_CONNECTION = ("host", "port", "socket", "user", "protocol", "default-auth", "plugin-dir", "tls-version")
_CONNECTION_SHORT = "hPSu"
_SSL_FLAGS = ("ssl", "ssl-verify-server-cert")
_SHORT_WITH_VALUE = "w"
_OFF = ("0", "off", "false")


@dataclass(frozen=True)
class Directives:
    """Options for mysqldump, checked."""

    arguments: tuple[str, ...] = ()
    """All of them, in their order."""

    connection: tuple[str, ...] = ()
    """Those among them that say where to connect; the checks before the dump must go to the same server."""

    off: frozenset[str] = frozenset()
    """Names of what is switched off, such as ``triggers``."""

    locks: bool = False
    """Whether tables are locked instead of read in one transaction."""


def parse(given: str | Sequence[str]) -> Directives:
    """Split as a shell would, unless it is a list already. Raises ValueError for what a backup can't allow."""
    try:
        arguments = tuple(shlex.split(given)) if isinstance(given, str) else tuple(given)
    except ValueError as error:
        raise ValueError(f"can't be split into options: {error}") from None
    connection: list[str] = []
    off: set[str] = set()
    locks = False
    rest = iter(arguments)
    for argument in rest:
        if argument.startswith("--"):
            name, switched_off = _long(argument)
            if switched_off:
                off.add(name)
            locks |= name in ("lock-tables", "lock-all-tables") and not switched_off
            locks |= name == "single-transaction" and switched_off
            connection += _connection_option(name, argument, rest)
        elif argument.startswith("-"):
            locks |= _short_locks(argument)
            connection += _short(argument, rest)
    return Directives(arguments, tuple(connection), frozenset(off), locks)


def _long(argument: str) -> tuple[str, bool]:
    """Name of a long option without its prefixes, and whether it is switched off. Raises ValueError."""
    written, _, value = argument[2:].partition("=")
    name = written.replace("_", "-").lower()
    switched_off = value.lower() in _OFF
    for prefix in ("loose-", "enable-", "skip-", "disable-"):
        if name.startswith(prefix):
            name = name.removeprefix(prefix)
            switched_off |= prefix in ("skip-", "disable-")
    if not name:
        raise ValueError("'--' can't stand there: the databases' names follow")
    if switched_off and "comments".startswith(name):
        raise ValueError(f"--{written} can't be used: {_LAST_LINE}")
    # These programs take any unambiguous beginning of an option's name for the option.
    for refused, why in _REFUSED.items():
        if refused.startswith(name) and not (switched_off and refused == "compact"):
            raise ValueError(f"--{written} can't be used: {why}")
    return name, switched_off


def _connection_option(name: str, argument: str, rest: Iterator[str]) -> list[str]:
    known = next((option for option in _CONNECTION if option.startswith(name) and len(name) > 2), None)
    if known is None and not name.startswith("ssl"):
        return []
    if "=" in argument or (known is None and name in _SSL_FLAGS):
        return [argument]
    return [argument, *_next(rest)]


def _short(argument: str, rest: Iterator[str]) -> list[str]:
    """What a cluster such as ``-CP3307`` says about the connection. Raises ValueError."""
    for position, letter in enumerate(argument[1:], start=2):
        if letter in _REFUSED_SHORT:
            raise ValueError(f"-{letter} can't be used: {_REFUSED[_REFUSED_SHORT[letter]]}")
        value = argument[position:]
        if letter in _CONNECTION_SHORT:
            return [f"-{letter}{value}"] if value else [f"-{letter}", *_next(rest)]
        if letter in _SHORT_WITH_VALUE:
            if not value:
                _next(rest)
            return []
        if letter == "#":
            return []
    return []


def _short_locks(argument: str) -> bool:
    for letter in argument[1:]:
        if letter in "lx":
            return True
        if letter in _CONNECTION_SHORT + _SHORT_WITH_VALUE + "#":
            return False
    return False


def _next(rest: Iterator[str]) -> list[str]:
    """The value that stands apart from its option; without one mysqldump complains itself."""
    return [value for value in [next(rest, None)] if value is not None]
