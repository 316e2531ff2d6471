"""What a notification channel is: something that tells of a run and can never change its outcome."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from backups.config import Flag, Plugin
from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.message import Message
from backups.notifications.rendering import render, render_notice, render_start
from backups.records import Notice, Outcome, RunReport, RunStart

REQUEST_SECONDS = 10
"""No request of a channel takes longer; nor does a message, unless its type needs many requests for it."""


class Notification(Plugin, ABC):
    """The part of the job file that describes one channel."""

    tells_starts: ClassVar[bool] = False
    """Whether the type can tell that a run begins."""

    tells_notices: ClassVar[bool] = False
    """Whether the type can tell what the watch of a deployed stack has found."""

    needs_every_run: ClassVar[bool] = False
    """Whether monitoring goes by what the type tells: then silence must mean that no run ended."""

    notify_on_success: Flag = True
    """Tell of runs that stored everything."""

    notify_on_failure: Flag = True
    """Tell of runs in which anything failed."""

    notify_on_start: Flag = False
    """Tell of runs that begin."""

    notify_on: Literal["every run", "change"] = "every run"
    """`change` tells of the first failure, of another source that fails or recovers, and of the recovery."""

    remind_days: int = Field(1, ge=0)
    """With `notify_on` `change`: tell of what goes on failing every so many days; 0 means never again."""

    @model_validator(mode="after")
    def _possible(self) -> Notification:
        if self.notify_on_start and not self.tells_starts:
            raise ValueError("'notify_on_start': this type can't tell of starts")
        if self.notify_on == "change" and self.needs_every_run:
            raise ValueError("'notify_on': monitoring counts on every run here, so it can't be 'change'")
        return self

    @property
    def limit_seconds(self) -> float:
        """How long one try may take, without the pauses that the service asks for."""
        return REQUEST_SECONDS

    def wants(self, report: RunReport) -> bool:
        """Whether this channel is told of such a run at all."""
        return self.notify_on_success if report.outcome is Outcome.STORED else self.notify_on_failure

    @property
    def wants_notices(self) -> bool:
        """Whether this channel is told of what is wrong between runs."""
        return self.tells_notices and self.notify_on_failure

    @abstractmethod
    def send(self, report: RunReport, context: Context) -> None:
        """Tell of the run. Called on a copy whose references are resolved. Raises NotificationError."""

    def start(self, begun: RunStart, context: Context) -> None:  # noqa: ARG002
        """Tell that a run begins; the same holds as for ``send``."""
        raise NotificationError(f"type '{self.type}' can't tell of starts", permanent=True)

    def notice(self, found: Notice, context: Context) -> None:  # noqa: ARG002
        """Tell what the watch has found; the same holds as for ``send``."""
        raise NotificationError(f"type '{self.type}' can't tell of notices", permanent=True)


class MessageChannel(Notification):
    """A channel that shows people a message."""

    tells_starts: ClassVar[bool] = True
    tells_notices: ClassVar[bool] = True

    @abstractmethod
    def post(self, message: Message, context: Context) -> None:
        """Send a message, cut to what the service takes. Raises NotificationError."""

    def send(self, report: RunReport, context: Context) -> None:
        self.post(render(report), context)

    def start(self, begun: RunStart, context: Context) -> None:
        self.post(render_start(begun), context)

    def notice(self, found: Notice, context: Context) -> None:
        self.post(render_notice(found), context)
