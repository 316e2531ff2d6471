"""Connections to a share. Each is used by one thread at a time, since the client's flow control knows no other."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import smbclient
from pydantic import SecretStr
from smbprotocol.connection import Connection
from smbprotocol.exceptions import SMBException

from backups.context import Cancel
from backups.destinations.samba.errors import NO_SHARE, LostError, explain, status_of
from backups.destinations.samba.watch import Watch
from backups.errors import DestinationError, MissingError

log = logging.getLogger("backups.destinations.samba")
# It logs what we raise, with tracebacks; at DEBUG it would log the data.
logging.getLogger("smbprotocol").setLevel(logging.CRITICAL)

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
"""How long the server may take for one request."""

PAUSES = (0.5, 2.0, 10.0, 30.0)
"""Seconds between attempts to get a lost connection back; a server needs some to start again."""

T = TypeVar("T")


@dataclass(frozen=True)
class Share:
    """A folder on a share, and who may use it."""

    host: str
    port: int
    share: str
    folder: tuple[str, ...]
    username: str
    password: SecretStr
    encrypt: bool

    def path(self, names: tuple[str, ...] = ()) -> str:
        """The path of what these names lead to below the folder."""
        return "\\\\" + "\\".join((self.host, self.share, *self.folder, *names))

    def about(self, what: str) -> str:
        """How messages begin."""
        return f"{self.path()}: {what}"


class Link:
    """One connection, logged in and with the folder looked at. Its methods raise DestinationError.

    LostError says that the link is of no use any more.
    """

    def __init__(self, share: Share, cancel: Cancel | None) -> None:
        """``cancel`` cuts it. Raises DestinationError."""
        self.share = share
        self._connection: Connection = Connection(uuid.uuid4(), share.host, share.port)
        self._cut = False
        self._watch = Watch(self.cut)
        self.options: dict[str, Any] = {
            "port": share.port,
            "connection_cache": {f"{share.host.lower()}:{share.port}": self._connection},
            "username": share.username,
            "password": share.password.get_secret_value(),
            "encrypt": share.encrypt,
        }
        self._forget = cancel.on_stop(self.cut) if cancel else lambda: None
        try:
            self._log_in()
        except BaseException:
            self.close()
            raise

    def _log_in(self) -> None:
        host, port = self.share.host, self.share.port
        try:
            self._connection.connect(timeout=CONNECT_SECONDS)
        except (SMBException, OSError, ValueError) as error:
            raise self._no_connection(error) from None
        with self.answering("can't be used"):
            smbclient.register_session(host, **self.options)
        with self.answering("can't be used"):
            try:
                smbclient.stat(f"\\\\{host}\\{self.share.share}", **self.options)
            except (SMBException, OSError) as error:
                if status_of(error) not in NO_SHARE:
                    raise
                raise MissingError(
                    f"\\\\{host}: there is no share {self.share.share} (NT_STATUS_BAD_NETWORK_NAME)",
                    hint="check the name of the share; it is never made here",
                ) from None
            if self.share.folder:
                smbclient.listdir(self.share.path(), search_pattern="no such name", **self.options)
        log.debug("connected to %s:%d", host, port)

    def _no_connection(self, error: Exception) -> DestinationError:
        where = f"\\\\{self.share.host}: port {self.share.port} "
        cause = error.__cause__ if isinstance(error, ValueError) else error
        match cause:
            case socket.gaierror():
                return LostError(f"\\\\{self.share.host}: no such host", hint="check hostname, and the name service")
            case ConnectionRefusedError():
                return LostError(f"{where}is closed", hint="does the file server run there? check hostname and port")
            case TimeoutError() | OSError():
                return LostError(f"{where}can't be reached: {cause}", hint="check hostname, port and firewall")
        return LostError(
            f"{where}does not speak SMB 2 or newer: {error}",
            hint="the server may know SMB 1 only, or be busy or starting: it must speak SMB 3, "
            "or at least SMB 2 with encrypt: false",
        )

    @contextlib.contextmanager
    def answering(self, what: str, seconds: float = ANSWER_SECONDS) -> Iterator[None]:
        """Cuts the link when the server takes too long, and turns the client's errors into ours."""
        try:
            with self._watch.limit(seconds):
                yield
        except DestinationError:
            raise
        except (SMBException, OSError, ValueError) as error:
            if self._cut:
                raise LostError(
                    self.share.about(f"{what}: the server gave no answer within {seconds:.0f} s")
                ) from error
            raise explain(error, self.share.about(what)) from error

    @property
    def is_cut(self) -> bool:
        """Whether it was broken from here."""
        return self._cut

    def cut(self) -> None:
        """Break the connection, from any thread and from a signal handler: whoever waits for it gets an error."""
        self._cut = True
        transport = self._connection.transport
        # Not its close(), which waits for a lock that a blocked sender holds.
        if transport is not None and transport._sock is not None:
            with contextlib.suppress(OSError):
                transport._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Log out and close."""
        self._forget()
        try:
            with self._watch.limit(CONNECT_SECONDS):
                if self._connection.transport is not None:
                    self._connection.disconnect(not self._cut)
        except Exception as error:
            log.debug("closing: %s", error)  # the server is gone: there is nothing left to close
        finally:
            self.cut()
            self._watch.close()


class Links:
    """The connections of a destination: idle ones are used again."""

    def __init__(self, share: Share, cancel: Cancel) -> None:
        self.share = share
        self.cancel = cancel
        self.living: set[str] = set()
        """Partial files that this destination is writing."""
        self._idle: list[Link] = []
        self._lock = threading.Lock()
        self._worked = False

    def take(self) -> Link:
        """A link for the caller alone, who gives it back or closes it. Raises DestinationError, StoppedError."""
        self.cancel.check()
        with self._lock:
            if self._idle:
                return self._idle.pop()
        try:
            link = Link(self.share, self.cancel)
        except LostError as error:
            self.cancel.check()
            if not self._worked:  # nothing was lost: most likely the settings are wrong, so say it at once
                raise DestinationError(error.message, hint=error.hint) from error
            raise
        self._worked = True
        return link

    def give_back(self, link: Link) -> None:
        """For others to use."""
        with self._lock:
            self._idle.append(link)

    def lost(self, link: Link) -> None:
        """A link that broke: those that are idle have most likely broken with it."""
        with self._lock:
            links, self._idle = [link, *self._idle], []
        for broken in links:
            broken.cut()
            broken.close()

    @contextlib.contextmanager
    def borrow(self) -> Iterator[Link]:
        """A link for a block of code."""
        link = self.take()
        try:
            yield link
        except LostError:
            self.lost(link)
            self.cancel.check()
            raise
        except BaseException:
            self.give_back(link)
            raise
        self.give_back(link)

    def run(self, action: Callable[[Link], T]) -> T:
        """Do it on a link, and once more on a new one when the link is lost. Raises DestinationError, StoppedError."""

        def attempt() -> T:
            with self.borrow() as link:
                return action(link)

        return self.persist(attempt)

    def persist(self, attempt: Callable[[], T]) -> T:
        """Try, and while the connection gets lost try again. Raises the last DestinationError, or StoppedError."""
        stop = threading.Event()
        forget = self.cancel.on_stop(stop.set)
        try:
            for pause in PAUSES:
                try:
                    return attempt()
                except LostError as error:
                    self.cancel.check()
                    log.warning("%s; connecting again in %.1f s", error, pause)
                if stop.wait(pause):
                    self.cancel.check()
            return attempt()
        finally:
            forget()

    def close(self) -> None:
        """Close the idle ones."""
        with self._lock:
            links, self._idle = self._idle, []
        for link in links:
            link.close()
