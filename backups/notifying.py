"""Tells channels of a run: each by itself, with a time limit, and never a change to the run's outcome."""

from __future__ import annotations

import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_origin

from pydantic import BaseModel, SecretStr

from backups.context import Context
from backups.errors import BackupsError, NotificationError
from backups.job import Job
from backups.notifications.base import Notification
from backups.notifications.webhook import hide_address
from backups.records import Notified, RunReport

Record = TypeVar("Record", bound=BaseModel)


@dataclass(frozen=True)
class Patience:
    """How long a channel may take, in seconds."""

    retry_after: float = 5
    """Pause before the one repetition of what may succeed the second time."""
    limit: float = 90
    """No channel is waited for longer, whatever its server does. Two tries and the pauses fit in."""


DEFAULT_PATIENCE = Patience()


def notify(
    job: Job, channel_id: str, report: RunReport, context: Context, *, patience: Patience = DEFAULT_PATIENCE
) -> Notified:
    """Tell one channel. Never raises: what went wrong is in the record, without secrets."""
    deadline = time.monotonic() + patience.limit
    return _outcome(_start(job, channel_id, report, context, patience), deadline, job, channel_id, patience)


def notify_all(
    job: Job, report: RunReport, context: Context, *, patience: Patience = DEFAULT_PATIENCE
) -> tuple[Notified, ...]:
    """Tell every channel of the job at once; one that hangs or breaks is no matter to the others. Never raises."""
    deadline = time.monotonic() + patience.limit
    ids = [channel.id for channel in job.notifications]
    started = [_start(job, id_, report, context, patience) for id_ in ids]
    return tuple(_outcome(future, deadline, job, id_, patience) for future, id_ in zip(started, ids, strict=True))


def scrubbed(record: Record, scrub: Callable[[str], str]) -> Record:
    """The record with secrets masked in every text; words of a fixed set, such as a status, stay."""
    return _scrubbed(record, scrub)  # type: ignore[no-any-return]


def _start(job: Job, channel_id: str, report: RunReport, context: Context, patience: Patience) -> Future[Notified]:
    """Tell the channel in a thread that can't keep the process alive."""
    future: Future[Notified] = Future()

    def work() -> None:
        future.set_result(_tell(job, channel_id, report, context, patience))

    threading.Thread(target=work, name=f"notify-{channel_id}", daemon=True).start()
    return future


def _outcome(future: Future[Notified], deadline: float, job: Job, channel_id: str, patience: Patience) -> Notified:
    try:
        return future.result(timeout=max(0.0, deadline - time.monotonic()))
    except TimeoutError:
        error = f"no answer within {patience.limit:g} s; the message may have arrived all the same"
        return Notified(channel=channel_id, type=_type(job, channel_id), status="failed", error=error)


def _tell(job: Job, channel_id: str, report: RunReport, context: Context, patience: Patience) -> Notified:
    type_ = _type(job, channel_id)
    try:
        channel = job.notification(channel_id)
        if not channel.wants(report):
            return Notified(channel=channel_id, type=type_, status="not wanted")
        channel = context.secrets.resolve(channel)
        _hide_secrets(job, channel, context)
        _send(channel, scrubbed(report, context.secrets.scrub), context, patience)
    except BackupsError as error:
        return _failed(channel_id, type_, str(error), context)
    except BaseException as error:  # a third-party channel may raise anything, SystemExit too
        return _failed(channel_id, type_, f"{type(error).__name__}: {error}", context)
    return Notified(channel=channel_id, type=type_, status="sent")


def _type(job: Job, channel_id: str) -> str:
    """The channel's type; empty when the job has no such channel."""
    return next((channel.type for channel in job.notifications if channel.id == channel_id), "")


def _failed(channel_id: str, type_: str, error: str, context: Context) -> Notified:
    return Notified(channel=channel_id, type=type_, status="failed", error=context.secrets.scrub(error))


def _send(channel: Notification, report: RunReport, context: Context, patience: Patience) -> None:
    try:
        channel.send(report, context)
    except NotificationError as error:
        if error.permanent:
            raise
        time.sleep(patience.retry_after)
        channel.send(report, context)


def _hide_secrets(job: Job, channel: Notification, context: Context) -> None:
    """Make the scrubber know the channel's secrets in the form libraries show them, and all that the job file holds."""
    for secret in _secrets_in([job.settings, *job.sources, *job.destinations, *job.notifications]):
        context.secrets.scrub.add(secret)
    for secret in _secrets_in(channel):
        if urllib.parse.urlsplit(secret).scheme in ("http", "https"):
            hide_address(secret, context)


def _secrets_in(value: object) -> Iterable[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _secrets_in(getattr(value, name))
    elif isinstance(value, dict):
        yield from _secrets_in(list(value.values()))
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _secrets_in(item)


def _scrubbed(value: Any, scrub: Callable[[str], str]) -> Any:
    if isinstance(value, BaseModel):
        texts = {n: f for n, f in type(value).model_fields.items() if get_origin(f.annotation) is not Literal}
        return value.model_copy(update={name: _scrubbed(getattr(value, name), scrub) for name in texts})
    if type(value) is str:
        return scrub(value)
    if isinstance(value, tuple):
        return tuple(_scrubbed(item, scrub) for item in value)
    if isinstance(value, dict):
        return {_scrubbed(key, scrub): _scrubbed(item, scrub) for key, item in value.items()}
    return value
