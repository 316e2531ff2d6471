"""A real SMTP server on loopback: STARTTLS, SMTPS and AUTH, with certificates made for the occasion."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, Literal

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

# aiosmtpd warns of its own use of its own old names, on the terminal of whoever runs this.
logging.getLogger("mail.log").setLevel(logging.ERROR)

USER = "backups"
PASSWORD = "rélay pass:'\"word"
Mode = Literal["plain", "starttls", "smtps"]


@dataclass
class Received:
    """One mail, with the envelope it came in."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    encrypted: bool
    user: str


@dataclass
class SmtpServer:
    """What a test knows and sets of a running server."""

    port: int
    ca_pem: str
    """The authority that signed the certificate, which is for ``localhost``."""
    password: str = PASSWORD
    """The one that ``USER`` must give."""
    mails: list[Received] = field(default_factory=list)
    recipients: dict[str, list[str]] = field(default_factory=dict)
    """Answers to come for a recipient, one for each time it is named; after the last it is accepted."""
    data: list[str] = field(default_factory=list)
    """Answers to come for whole mails; ``drop`` ends the connection instead."""
    login_refusal: str = "535 5.7.8 Authentication credentials invalid"
    """Answer to a wrong password; ``{password}`` in it is what was given."""
    logins: list[str] = field(default_factory=list)
    """Passwords that were tried."""


@contextmanager
def smtp_server(mode: Mode = "starttls", *, login: bool = True) -> Iterator[SmtpServer]:
    """Run a server until the block ends; with ``login`` it takes no mail before AUTH."""
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = SmtpServer(listener.getsockname()[1], authority.cert_pem.bytes().decode())
        loop = asyncio.new_event_loop()

        def protocol() -> SMTP:
            return SMTP(
                _Handler(server),
                hostname="localhost",
                loop=loop,
                tls_context=tls if mode == "starttls" else None,
                require_starttls=mode == "starttls",
                auth_required=login,
                auth_require_tls=mode == "starttls",
                authenticator=_authenticator(server) if login else None,
            )

        async def serve() -> asyncio.Server:
            return await loop.create_server(protocol, sock=listener, ssl=tls if mode == "smtps" else None)

        running = loop.run_until_complete(serve())
        thread = threading.Thread(target=loop.run_forever, name="smtp-server", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(_stop(running), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()


async def _stop(running: asyncio.Server) -> None:
    """Close the listener and end the conversations that still go on."""
    running.close()
    current = asyncio.current_task()
    talking = [task for task in asyncio.all_tasks() if task is not current]
    for task in talking:
        task.cancel()
    await asyncio.gather(*talking, return_exceptions=True)


def _authenticator(server: SmtpServer) -> Any:
    def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, given: Any) -> AuthResult:
        assert isinstance(given, LoginPassword)
        password = given.password.decode()
        server.logins.append(password)
        if given.login.decode() == USER and password == server.password:
            return AuthResult(success=True, auth_data=USER)
        return AuthResult(success=False, handled=False, message=server.login_refusal.format(password=password))

    return authenticate


class _Handler:
    def __init__(self, server: SmtpServer) -> None:
        self._server = server

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        answers = self._server.recipients.get(address)
        if answers:
            return answers.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        transport = server.transport
        assert isinstance(transport, asyncio.Transport)
        answer = self._server.data.pop(0) if self._server.data else "250 OK"
        if answer == "drop":
            transport.abort()
            return "421 dropped"
        if answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self._server.mails.append(
                Received(
                    sender=envelope.mail_from or "",
                    recipients=list(envelope.rcpt_tos),
                    message=message_from_bytes(envelope.content.replace(b"\r\n", b"\n"), policy=policy.default),
                    encrypted=transport.get_extra_info("ssl_object") is not None,
                    user=session.auth_data or "",
                )
            )
        return answer
