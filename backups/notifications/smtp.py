"""Mail through an SMTP server, whose certificate is always checked."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import smtplib
import ssl
from collections.abc import Iterable, Iterator
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from backups.config import Flag
from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.base import REQUEST_SECONDS, MessageChannel
from backups.notifications.message import Message
from backups.notifications.rich import html_page
from backups.notifications.words import one_line, shortened
from backups.records import Outcome, RunReport

_LONGEST = 200_000  # characters of text; a job may have ten thousand sources
_LONGEST_HEADER = 900  # a header line may have 998
_LONGEST_ANSWER = 200


def _addresses(value: object) -> object:
    """Job files give a list, or one string, which may hold several addresses with commas between."""
    if isinstance(value, str):
        return (value,) if value.strip() else ()
    return () if value is None else value


Addresses = Annotated[
    tuple[Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]+$")], ...],
    BeforeValidator(_addresses, json_schema_input_type=str | list[str] | None),
]


class Smtp(MessageChannel):
    """A mail: plain text, and a page with tables for programs that show it."""

    label: ClassVar[str] = "Mail"
    identity: ClassVar[tuple[str, ...]] = ("host", "success_to", "failure_to")
    nested: ClassVar[tuple[str, ...]] = ("credentials",)
    aliases: ClassVar[dict[str, str]] = {"from": "sender"}

    type: Literal["smtp"] = "smtp"

    host: str = Field(min_length=1)
    """Name of the SMTP server."""

    port: int | None = Field(None, gt=0, lt=65536)
    """Port of the SMTP server: 587 with `use_tls`, 465 with `use_ssl`, else 25 when missing."""

    username: str = ""
    """User name, when the server wants one."""

    password: SecretStr = SecretStr("")
    """Password of that user."""

    use_tls: Flag = False
    """Begin in plain and go on encrypted (STARTTLS); nothing is sent to a server that does not offer it."""

    use_ssl: Flag = False
    """Encrypted from the first byte (SMTPS)."""

    ca_file: str = ""
    """PEM file, or its content, with the authority that signed the server's certificate; the system's when missing."""

    sender: str = Field("", pattern=r"^[^\x00-\x1f\x7f]*$")
    """Who the mail is from; may be written `from`. The user name when it is an address, else `backups@` the host."""

    success_to: Addresses = ()
    """Who is told of success: an address, or a list. Nobody when missing."""

    failure_to: Addresses = ()
    """Who is told of failure: an address, or a list. Nobody when missing.

    With `notify_on` `change` they are told of the recovery, too."""

    @model_validator(mode="after")
    def _consistent(self) -> Smtp:
        if self.use_tls and self.use_ssl:
            raise ValueError("give 'use_tls' (STARTTLS) or 'use_ssl', not both")
        if bool(self.username) != bool(self.password.get_secret_value()):
            raise ValueError("give both 'username' and 'password', or neither")
        return self

    def wants(self, report: RunReport) -> bool:
        return super().wants(report) and bool(self._told_of(report.outcome is Outcome.STORED))

    def post(self, message: Message, context: Context) -> None:
        letter = mail(self, message)
        if not letter["To"]:
            return  # of a run that begins, nobody who is told of success knows either
        _hide_credentials(self, context)
        try:
            with _closing(self._connect()) as server:
                refused = server.send_message(letter)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise _explained(self, error, context) from None
        if refused:
            raise NotificationError(
                f"{self._where} refused {_listed(refused, context)}",
                hint="the other addresses were sent the mail",
                permanent=True,  # a second mail would reach those twice
            )

    def recipients(self, message: Message) -> tuple[str, ...]:
        """Who gets a message: what is over is told to those who heard of it."""
        if message.watched:
            return self.failure_to
        return self.success_to if message.begins else self._told_of(message.ok)

    def _told_of(self, ok: bool) -> tuple[str, ...]:
        if not ok:
            return self.failure_to
        recovered = self.failure_to if self.notify_on == "change" else ()
        return tuple(dict.fromkeys((*self.success_to, *recovered)))

    @property
    def _port(self) -> int:
        return self.port or (465 if self.use_ssl else 587 if self.use_tls else 25)

    @property
    def _where(self) -> str:
        return f"mail server {self.host}:{self._port}"

    def _connect(self) -> smtplib.SMTP:
        """A connection that is encrypted and logged in as the job file wants it."""
        server: smtplib.SMTP
        if self.use_ssl:
            server = smtplib.SMTP_SSL(self.host, self._port, timeout=REQUEST_SECONDS, context=self._trust())
        else:
            server = smtplib.SMTP(self.host, self._port, timeout=REQUEST_SECONDS)
        try:
            if self.use_tls:
                server.starttls(context=self._trust())
            if self.username:
                _login(server, self.username, self.password.get_secret_value())
        except BaseException:
            server.close()
            raise
        return server

    def _trust(self) -> ssl.SSLContext:
        if self.ca_file.startswith("-----BEGIN"):
            return ssl.create_default_context(cadata=self.ca_file)
        try:
            return ssl.create_default_context(cafile=self.ca_file or None)
        except FileNotFoundError:
            raise NotificationError(f"'ca_file' {self.ca_file} does not exist", permanent=True) from None


def mail(channel: Smtp, message: Message) -> EmailMessage:
    """The mail, with headers to filter by. No text of the report can add a header or a recipient."""
    letter = EmailMessage()
    letter["Subject"] = message.subject
    letter["From"] = one_line(channel.sender) or _default_sender(channel, message)
    letter["To"] = ", ".join(one_line(address) for address in channel.recipients(message))
    letter["Date"] = format_datetime(message.at)
    letter["Message-ID"] = _message_id(channel, message)
    letter["Auto-Submitted"] = "auto-generated"  # no out-of-office answers
    letter["X-Backup-Id"] = _joined(message.ids)
    letter["X-Backup-Type"] = _joined(message.labels)
    letter["X-Backup-Hostname"] = one_line(message.hostname)
    letter.set_content(message.cut(_LONGEST) + "\n", charset="utf-8")
    letter.add_alternative(html_page(message, _LONGEST), subtype="html", charset="utf-8")
    return letter


def _default_sender(channel: Smtp, message: Message) -> str:
    return channel.username if "@" in channel.username else f"backups@{one_line(message.hostname)}"


def _message_id(channel: Smtp, message: Message) -> str:
    """The same for each try, so that mail systems can tell a repetition from another mail."""
    identity = f"{message.identity}\n{channel.id}"
    return f"<{hashlib.sha256(identity.encode()).hexdigest()[:32]}@{one_line(message.hostname)}>"


def _joined(values: Iterable[str]) -> str:
    return shortened(", ".join(one_line(value) for value in values), _LONGEST_HEADER)


def _login(server: smtplib.SMTP, user: str, password: str) -> None:
    """The strongest mechanism that both sides know; smtplib itself knows none for characters beyond ASCII."""
    if (user + password).isascii():
        server.login(user, password)
        return
    server.ehlo_or_helo_if_needed()
    if "PLAIN" not in server.esmtp_features.get("auth", "").upper().split():
        raise smtplib.SMTPNotSupportedError("the server does not offer AUTH PLAIN")
    code, answer = server.docmd("AUTH", f"PLAIN {_plain(user, password)}")
    if code != 235:
        raise smtplib.SMTPAuthenticationError(code, answer)


def _plain(user: str, password: str) -> str:
    """What AUTH PLAIN sends."""
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def _hide_credentials(channel: Smtp, context: Context) -> None:
    """Make the scrubber know the password as SMTP writes it, for servers that repeat what they refuse."""
    password = channel.password.get_secret_value()
    if password:
        for text in (password, _plain(channel.username, password), base64.b64encode(password.encode()).decode()):
            context.secrets.scrub.add(text)


@contextlib.contextmanager
def _closing(server: smtplib.SMTP) -> Iterator[smtplib.SMTP]:
    """Say goodbye politely; a mail that was taken stays sent, whatever becomes of the goodbye."""
    try:
        yield server
        with contextlib.suppress(smtplib.SMTPException, OSError):
            server.quit()
    finally:
        server.close()


def _explained(channel: Smtp, error: Exception, context: Context) -> NotificationError:
    """What failed, in words that hold no password, and whether another try may help."""
    if isinstance(error, smtplib.SMTPException):
        return _refusal(channel._where, error, context)
    return _broken(channel._where, error)


def _refusal(where: str, error: smtplib.SMTPException, context: Context) -> NotificationError:
    """What the server said."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        temporary = any(400 <= code < 500 for code, _ in error.recipients.values())
        return NotificationError(f"{where} refused {_listed(error.recipients, context)}", permanent=not temporary)
    if isinstance(error, smtplib.SMTPResponseException):
        what = {smtplib.SMTPAuthenticationError: "the user name or password", smtplib.SMTPSenderRefused: "the sender"}
        answer = _answer(error.smtp_code, error.smtp_error, context)
        return NotificationError(
            f"{where} refused {what.get(type(error), 'the mail')}: {answer}", permanent=error.smtp_code >= 500
        )
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return NotificationError(f"{where} closed the connection")
    hint = "it must offer STARTTLS for 'use_tls', AUTH for 'username', SMTPUTF8 for addresses beyond ASCII"
    return NotificationError(f"{where} lacks an extension that the mail needs", hint=hint, permanent=True)


def _broken(where: str, error: Exception) -> NotificationError:
    """What became of the connection."""
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "give its authority as 'ca_file', and the name that the certificate is for as 'host'"
        return NotificationError(f"{where}: {error.verify_message}", hint=hint, permanent=True)
    if isinstance(error, ssl.SSLError):
        hint = "'use_ssl' is for ports that are encrypted from the first byte, 'use_tls' for the others"
        return NotificationError(f"{where}: no encrypted connection ({error.reason})", hint=hint, permanent=True)
    if isinstance(error, TimeoutError):
        return NotificationError(f"{where}: no answer within {REQUEST_SECONDS} s")
    if isinstance(error, OSError):
        return NotificationError(f"{where}: {error.strerror or type(error).__name__}")
    return NotificationError(f"{where}: no mail can be made of this ({type(error).__name__})", permanent=True)


def _listed(refused: dict[str, tuple[int, bytes]], context: Context) -> str:
    return "; ".join(f"{to}: {_answer(code, text, context)}" for to, (code, text) in refused.items())


def _answer(code: int, text: bytes | str, context: Context) -> str:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    return f"{code} {shortened(context.secrets.scrub(one_line(words)), _LONGEST_ANSWER)}"
