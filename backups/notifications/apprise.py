"""Apprise: the bridge to a hundred more services. The library is an extra, imported where it is used."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ClassVar, Literal

from pydantic import Field, SecretStr

from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.base import REQUEST_SECONDS, MessageChannel
from backups.notifications.message import Message
from backups.notifications.words import one_line, shortened
from backups.secrets import Scrubber

_LONGEST_TITLE = 250
_LONGEST_REASON = 300
_LOGGER = "apprise"
_LOGGED: ContextVar[Callable[[logging.LogRecord], None] | None] = ContextVar("logged", default=None)


class Apprise(MessageChannel):
    """A message to any service that Apprise knows. Needs the extra: `pip install 'backups[apprise]'`."""

    label: ClassVar[str] = "Apprise"
    identity: ClassVar[tuple[str, ...]] = ("url",)

    type: Literal["apprise"] = "apprise"

    url: SecretStr = Field(min_length=1)
    """Address as Apprise writes it, such as `ntfy://topic` or `msteams://…`; a secret, since most hold a token."""

    def post(self, message: Message, context: Context) -> None:
        address = self.url.get_secret_value()
        context.secrets.scrub.add(address)
        with _reasons(address) as reasons:
            service = _service(address)
            sent = service.notify(
                title=shortened(message.subject, _LONGEST_TITLE),
                body=message.cut(min(plugin.body_maxlen for plugin in service)),
                notify_type="info" if message.begins else "success" if message.ok else "failure",
                body_format="text",
            )
        if not sent:
            why = f": {shortened('; '.join(reasons), _LONGEST_REASON)}" if reasons else ""
            raise NotificationError(f"Apprise could not send the message{why}")


def _service(address: str) -> Any:
    """Raises NotificationError when nothing can be sent there."""
    try:
        import apprise
    except ImportError:
        hint = "pip install 'backups[apprise]'"
        raise NotificationError("Apprise is not installed", hint=hint, permanent=True) from None
    # One after the other, in this thread; what the address holds is for this service alone.
    service = apprise.Apprise(asset=apprise.AppriseAsset(async_mode=False, http_redirects=False))
    if not service.add(address) or not len(service):
        hint = "https://github.com/caronc/apprise/wiki says how addresses are written"
        raise NotificationError("Apprise does not know a service for 'url'", hint=hint, permanent=True)
    for plugin in service:
        plugin.socket_connect_timeout = min(plugin.socket_connect_timeout, REQUEST_SECONDS)
        plugin.socket_read_timeout = min(plugin.socket_read_timeout, REQUEST_SECONDS)
    return service


@contextmanager
def _reasons(address: str) -> Iterator[list[str]]:
    """What Apprise logs meanwhile, without any part of the address. It tells reasons nowhere else."""
    scrub = Scrubber()
    for part in re.split(r"[:/?&=@,\s]+", address):
        scrub.add(part)
    reasons: list[str] = []
    logging.getLogger(_LOGGER).addFilter(_kept)  # the same one is there once
    token = _LOGGED.set(lambda record: reasons.append(scrub(one_line(record.getMessage()))))
    try:
        yield reasons
    finally:
        _LOGGED.reset(token)


def _kept(record: logging.LogRecord) -> bool:
    """Keep a record of a message of ours, which may show its address, out of the log. Apprise logs in threads of its
    own, to which it hands the context.
    """
    keep = _LOGGED.get()
    if keep and record.levelno >= logging.WARNING:
        keep(record)
    return keep is None
