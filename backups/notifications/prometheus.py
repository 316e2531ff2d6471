"""Prometheus: the model of the channel; sending is not connected yet."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import SecretStr

from backups.config import WebAddress
from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.base import Notification
from backups.records import RunReport


class Prometheus(Notification):
    """Sizes, times and the outcome as metrics at a Prometheus push gateway."""

    label: ClassVar[str] = "Prometheus"
    identity: ClassVar[tuple[str, ...]] = ("url",)
    nested: ClassVar[tuple[str, ...]] = ("credentials",)
    unavailable: ClassVar[str] = "Prometheus is not connected"

    type: Literal["prometheus"] = "prometheus"

    url: WebAddress
    """Address of the push gateway, without `/metrics`."""

    username: str = ""
    """User for HTTP basic authentication."""

    password: SecretStr | None = None
    """Password of the user."""

    def send(self, report: RunReport, context: Context) -> None:  # noqa: ARG002
        raise NotificationError(self.not_yet(), permanent=True)
