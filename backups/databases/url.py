"""The address of a database: ``SCHEME://USER[:PASSWORD]@HOST[:PORT]/[DATABASE][?OPTION=VALUE&…]``."""

from __future__ import annotations

import urllib.parse
from collections.abc import Collection
from dataclasses import dataclass

from pydantic import SecretStr

from backups.context import Context
from backups.errors import UsageError
from backups.secrets import REFERENCE


@dataclass(frozen=True)
class Form:
    """How the addresses of one kind of server look."""

    server: str
    """What errors call it, such as ``MySQL``."""
    schemes: Collection[str]
    options: Collection[str]
    """What may follow the question mark."""
    host_option: str
    """The option that replaces the host."""
    example: str


@dataclass(frozen=True)
class DatabaseUrl:
    """An address, taken apart and decoded. What it does not name is empty."""

    user: str
    password: SecretStr | None
    host: str
    port: int | None
    database: str
    options: dict[str, str]


def parse_url(url: str, context: Context, form: Form) -> DatabaseUrl:
    """Take an address apart. Raises UsageError, never with the address in it, and SecretError.

    What it names may be percent-encoded, or be a reference such as ``{{resolve:env:NAME}}``.
    """
    # A reference may hold slashes and colons, so it is replaced before the URL is taken apart.
    plain = REFERENCE.sub(lambda match: urllib.parse.quote(context.secrets.text(match[0]), safe=""), url)
    try:
        parts = urllib.parse.urlsplit(plain)
        port = parts.port
        options = dict(urllib.parse.parse_qsl(parts.query, strict_parsing=bool(parts.query)))
    except ValueError:
        raise wrong_address(form) from None
    if parts.scheme not in form.schemes or not parts.username or parts.fragment or set(options) - set(form.options):
        raise wrong_address(form)
    password = urllib.parse.unquote(parts.password) if parts.password else None
    if password:
        context.secrets.scrub.add(password)
    host = urllib.parse.unquote(parts.hostname or "")
    if not host and form.host_option not in options:
        raise UsageError(f"the address of the {form.server} database names no host", hint=f"write {form.example}")
    return DatabaseUrl(
        user=urllib.parse.unquote(parts.username),
        password=SecretStr(password) if password else None,
        host=host,
        port=port,
        database=urllib.parse.unquote(parts.path.removeprefix("/")),
        options=options,
    )


def wrong_address(form: Form) -> UsageError:
    """What to raise for an address of another form."""
    return UsageError(f"this is no address of a {form.server} database", hint=f"write {form.example}")
