"""Web hook: the whole report as JSON, signed, for programs of one's own. docs/webhook.md describes the form."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
from typing import ClassVar, Literal

from pydantic import Field, SecretStr

from backups.config import SecretWebAddress
from backups.context import Context
from backups.notifications.base import Notification
from backups.notifications.message import Message
from backups.notifications.rendering import render, render_notice, render_start
from backups.notifications.webhook import Call, hide_address, request
from backups.notifications.words import shortened
from backups.records import Notice, Outcome, Pruned, Record, Result, RunReport, RunStart

TIMESTAMP_HEADER = "X-Backups-Timestamp"
SIGNATURE_HEADER = "X-Backups-Signature"

_LONGEST = 1_000_000  # bytes; a job may have ten thousand sources
_LONGEST_TEXT = 4_000
_LONGEST_REASON = 1_000

_HINTS = {
    401: "the receiver does not accept the signature: is 'secret' the same on both sides?",
    403: "the receiver does not accept the signature: is 'secret' the same on both sides?",
    404: "nothing takes hooks there: check 'url'",
    413: "the receiver takes only smaller bodies; this one has at most 1 MB",
}


Event = Literal["run started", "run finished", "notice"]


class HookBody(Record):
    """What a web hook is sent. Receivers must ignore keys that they do not know."""

    version: Literal[1] = 1
    event: Event
    subject: str
    text: str
    """The message for people."""
    started: RunStart | None = None
    """With ``run started``."""
    report: RunReport | None = None
    """With ``run finished``."""
    notice: Notice | None = None
    """With ``notice``: what the watch of a deployed stack has found between runs."""
    left_out: int = 0
    """Results that the report lacks because it would have more than 1 MB; failed ones stay before others."""


class WebHook(Notification):
    """The report of the run as JSON to an address of your own, signed with HMAC-SHA256."""

    label: ClassVar[str] = "Web hook"
    identity: ClassVar[tuple[str, ...]] = ("url",)
    tells_starts: ClassVar[bool] = True
    tells_notices: ClassVar[bool] = True

    type: Literal["webhook"] = "webhook"

    url: SecretWebAddress
    """Where the report is posted."""

    secret: SecretStr = Field(min_length=16)
    """Key of the signature; the receiver knows it, too. At least 16 characters."""

    def send(self, report: RunReport, context: Context) -> None:
        self._post(finished(report), context)

    def start(self, begun: RunStart, context: Context) -> None:
        message = render_start(begun)
        self._post(_body("run started", message, started=begun), context)

    def notice(self, found: Notice, context: Context) -> None:
        self._post(_body("notice", render_notice(found), notice=found), context)

    def _post(self, body: HookBody, context: Context) -> None:
        address = self.url.get_secret_value()
        hide_address(address, context)
        content = body.model_dump_json(exclude_none=True).encode()
        timestamp = str(int(dt.datetime.now(dt.UTC).timestamp()))
        headers = {
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: signature(self.secret.get_secret_value(), timestamp, content),
        }
        request(Call("Web hook", address, content, headers=headers, hints=_HINTS), context)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """What the signature header says. The time is signed as well, so that an old request can't be sent again."""
    signed = timestamp.encode() + b"." + body
    return "sha256=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def finished(report: RunReport) -> HookBody:
    """The body about a run that ended, of at most 1 MB."""
    message = render(report)
    body = _body("run finished", message, report=report)
    if len(body.model_dump_json()) <= _LONGEST // 4:  # characters of at most four bytes
        return body
    return _smaller(report, message)


def _smaller(report: RunReport, message: Message) -> HookBody:
    """As many results as there is room for, the failed ones first, and retention only where it had problems."""
    worst_first = sorted(report.results, key=lambda result: result.outcome is Outcome.STORED)
    cut = report.model_copy(
        update={
            "results": (),
            "pruned": (),
            "error": shortened(report.error, _LONGEST_REASON),
            "hint": shortened(report.hint, _LONGEST_REASON),
        }
    )
    room = _LONGEST - len(_body("run finished", message, report=cut).model_dump_json().encode()) - 100
    kept: list[Result] = []
    pruned: list[Pruned] = []
    for result in worst_first:
        room -= len(result.model_dump_json().encode()) + 1
        if room < 0:
            break
        kept.append(result)
    for record in (record for record in report.pruned if record.error or record.refused):
        room -= len(record.model_dump_json().encode()) + 1
        if room < 0:
            break
        pruned.append(record)
    cut = cut.model_copy(update={"results": tuple(kept), "pruned": tuple(pruned)})
    return _body("run finished", message, report=cut, left_out=len(report.results) - len(kept))


def _body(
    event: Event,
    message: Message,
    *,
    started: RunStart | None = None,
    report: RunReport | None = None,
    notice: Notice | None = None,
    left_out: int = 0,
) -> HookBody:
    text = message.cut(_LONGEST_TEXT)
    return HookBody(
        event=event,
        subject=message.subject,
        text=text,
        started=started,
        report=report,
        notice=notice,
        left_out=left_out,
    )
