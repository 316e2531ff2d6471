"""Tells channels of a run: each by itself, with a time limit, and never a change to the run's outcome."""

from __future__ import annotations

import contextlib
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_origin

from pydantic import BaseModel, SecretStr, ValidationError

from backups.changes import due
from backups.context import Context
from backups.errors import BackupsError, NotificationError, UsageError
from backups.job import Job
from backups.notifications.base import REQUEST_SECONDS, Notification
from backups.notifications.webhook import hide_address
from backups.records import Notice, Notified, RunReport, RunStart, Told

Record = TypeVar("Record", bound=BaseModel)


@dataclass(frozen=True)
class Patience:
    """How long a channel may take, in seconds."""

    retry_after: float | None = 5
    """Pause before the one repetition of what may succeed the second time; None when somebody else repeats it."""
    limit: float | None = None
    """No channel is waited for longer, whatever its server does; what its type says, for each try, when missing.

    Pauses that a service asks for do not count.
    """

    def limit_for(self, channel: Notification | None) -> float:
        """How long a channel is waited for."""
        if self.limit is not None:
            return self.limit
        once = channel.limit_seconds if channel else REQUEST_SECONDS
        return once if self.retry_after is None else 2 * once + self.retry_after


DEFAULT_PATIENCE = Patience()
ONE_TRY = Patience(retry_after=None)
"""For whoever tries again by other means, as Step Functions do."""


def notify(
    job: Job,
    channel_id: str,
    report: RunReport,
    context: Context,
    *,
    previous: Told | None = None,
    patience: Patience = DEFAULT_PATIENCE,
) -> Notified:
    """Tell one channel. Never raises: what went wrong is in the record, without secrets.

    ``previous`` is what the channel was last told, for those that want to hear of changes only.
    """
    telling = _Telling(job, channel_id, context, patience)
    return telling.started(lambda: telling.of_end(report, previous))()


def tell_start(
    job: Job, channel_id: str, begun: RunStart, context: Context, *, patience: Patience = DEFAULT_PATIENCE
) -> Notified:
    """Tell one channel that a run begins. Never raises."""
    telling = _Telling(job, channel_id, context, patience)
    return telling.started(lambda: telling.of_start(begun))()


def tell_notice(
    job: Job, channel_id: str, found: Notice, context: Context, *, patience: Patience = DEFAULT_PATIENCE
) -> Notified:
    """Tell one channel what the watch has found. Never raises."""
    telling = _Telling(job, channel_id, context, patience)
    return telling.started(lambda: telling.of_notice(found))()


def notify_all(
    job: Job,
    report: RunReport,
    context: Context,
    *,
    previous: Mapping[str, Told] = MappingProxyType({}),
    patience: Patience = DEFAULT_PATIENCE,
) -> tuple[Notified, ...]:
    """Tell every channel of the job at once; one that hangs or breaks is no matter to the others. Never raises.

    ``previous`` is what channels were last told, by their ids.
    """
    outcomes = []
    for channel in job.notifications:
        telling = _Telling(job, channel.id, context, patience)
        outcomes.append(telling.started(partial(telling.of_end, report, previous.get(channel.id))))
    return tuple(outcome() for outcome in outcomes)


def notify_start(
    job: Job, begun: RunStart, context: Context, *, patience: Patience = DEFAULT_PATIENCE
) -> Callable[[], tuple[Notified, ...]]:
    """Begin to tell the channels that want to know that a run begins, and return at once. Never raises.

    The answer waits for them, so that no channel hears of the end first, and returns those that were not told.
    """
    outcomes = []
    for channel in job.notifications:
        if channel.notify_on_start:
            telling = _Telling(job, channel.id, context, patience)
            outcomes.append(telling.started(partial(telling.of_start, begun)))
    return lambda: tuple(answer for outcome in outcomes if (answer := outcome()).status == "failed")


def notify_notice(
    job: Job, found: Notice, context: Context, *, patience: Patience = DEFAULT_PATIENCE
) -> tuple[Notified, ...]:
    """Tell every channel that wants notices what was found between runs. Never raises."""
    outcomes = []
    for channel in job.notifications:
        if channel.wants_notices:
            telling = _Telling(job, channel.id, context, patience)
            outcomes.append(telling.started(partial(telling.of_notice, found)))
    return tuple(outcome() for outcome in outcomes)


def scrubbed(record: Record, scrub: Callable[[str], str]) -> Record:
    """The record with secrets masked in every text; words of a fixed set, such as a status, stay."""
    return _scrubbed(record, scrub)  # type: ignore[no-any-return]


class _Deadline:
    """When a channel is no longer waited for. Pauses that its service asks for move it."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def pause(self, seconds: float) -> None:
        self._end += seconds
        time.sleep(seconds)

    @property
    def left(self) -> float:
        """Seconds."""
        return max(0.0, self._end - time.monotonic())


class _Telling:
    """One channel that is being told."""

    def __init__(self, job: Job, channel_id: str, context: Context, patience: Patience) -> None:
        self.job = job
        self.channel_id = channel_id
        self.patience = patience
        self._deadline = _Deadline(patience.limit_for(next((c for c in job.notifications if c.id == channel_id), None)))
        self.context = replace(context, pause=self._deadline.pause)

    def started(self, tell: Callable[[], Notified]) -> Callable[[], Notified]:
        """Call ``tell`` in a thread that can't keep the process alive; the answer waits for it, but not for ever."""
        future: Future[Notified] = Future()
        work = threading.Thread(target=lambda: future.set_result(tell()), name=f"notify-{self.channel_id}", daemon=True)
        work.start()
        return lambda: self._outcome(future)

    def of_end(self, report: RunReport, previous: Told | None) -> Notified:
        """Tell how a run ended, if the channel wants to know."""

        def send(channel: Notification) -> bool:
            if not channel.wants(report) or not due(channel, report, previous):
                return False
            channel = self._ready(channel)
            about = scrubbed(report, self.context.secrets.scrub)
            self._tried_twice(lambda: channel.send(about, self.context))
            return True

        return self._recorded(send)

    def of_start(self, begun: RunStart) -> Notified:
        """Tell that a run begins."""

        def start(channel: Notification) -> bool:
            channel = self._ready(channel)
            about = scrubbed(begun, self.context.secrets.scrub)
            self._tried_twice(lambda: channel.start(about, self.context))
            return True

        return self._recorded(start)

    def of_notice(self, found: Notice) -> Notified:
        """Tell what the watch has found."""

        def tell(channel: Notification) -> bool:
            channel = self._ready(channel)
            about = scrubbed(found, self.context.secrets.scrub)
            self._tried_twice(lambda: channel.notice(about, self.context))
            return True

        return self._recorded(tell)

    def _ready(self, channel: Notification) -> Notification:
        """The channel with its references resolved, and every secret known to the scrubber."""
        channel = self.context.secrets.resolve(channel)
        _hide_secrets(self.job, channel, self.context)
        return channel

    def _tried_twice(self, send: Callable[[], None]) -> None:
        try:
            send()
        except NotificationError as error:
            if error.permanent or error.busy or self.patience.retry_after is None:
                raise
            time.sleep(self.patience.retry_after)
            send()

    def _recorded(self, tell: Callable[[Notification], bool]) -> Notified:
        try:
            sent = tell(self.job.notification(self.channel_id))
        except BackupsError as error:
            return self._failed(str(error), permanent=is_permanent(error))
        except BaseException as error:  # a third-party channel may raise anything, SystemExit too
            return self._failed(f"{type(error).__name__}: {error}", permanent=is_permanent(error))
        return self._record("sent" if sent else "not wanted")

    def _outcome(self, future: Future[Notified]) -> Notified:
        while left := self._deadline.left:
            with contextlib.suppress(TimeoutError):
                return future.result(timeout=left)
        if future.done():
            return future.result()
        error = f"no answer within {self._deadline.seconds:g} s; the message may have arrived all the same"
        return self._record("failed", error)

    def _failed(self, error: str, *, permanent: bool) -> Notified:
        return self._record("failed", self.context.secrets.scrub(error), permanent=permanent)

    def _record(
        self, status: Literal["sent", "not wanted", "failed"], error: str = "", *, permanent: bool = False
    ) -> Notified:
        type_ = next((c.type for c in self.job.notifications if c.id == self.channel_id), "")
        return Notified(channel=self.channel_id, type=type_, status=status, error=error, permanent=permanent)


def is_permanent(error: BaseException) -> bool:
    """Whether the same call would fail again: a refusal that lasts, or a job file that can't be used."""
    return isinstance(error, UsageError | ValidationError) or (isinstance(error, NotificationError) and error.permanent)


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
