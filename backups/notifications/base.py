"""What a notification channel is: something that tells of a run and can never change its outcome."""

from __future__ import annotations

from abc import ABC, abstractmethod

from backups.config import Flag, Plugin
from backups.context import Context
from backups.records import Outcome, RunReport

REQUEST_SECONDS = 10
"""No request of a channel takes longer."""


class Notification(Plugin, ABC):
    """The part of the job file that describes one channel."""

    notify_on_success: Flag = True
    """Tell of runs that stored everything."""

    notify_on_failure: Flag = True
    """Tell of runs in which anything failed."""

    def wants(self, report: RunReport) -> bool:
        """Whether this channel is told of the run."""
        return self.notify_on_success if report.outcome is Outcome.STORED else self.notify_on_failure

    @abstractmethod
    def send(self, report: RunReport, context: Context) -> None:
        """Tell of the run. Called on a copy whose references are resolved. Raises NotificationError."""
