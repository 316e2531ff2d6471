"""Prometheus: sizes, times and outcomes at a push gateway. backups/notifications/metrics.py says which, and where."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import ClassVar, Literal

from pydantic import SecretStr, model_validator

from backups.config import WebAddress
from backups.context import Context
from backups.notifications.base import Notification
from backups.notifications.metrics import CONTENT_TYPE, Group, exposition, group_path, groups
from backups.notifications.webhook import Call, request
from backups.records import RunReport

_MOST_WORKERS = 8
_CALLS_OF_A_WORKER = 100  # a job may have ten thousand sources; one by one they would take minutes

_HINTS: dict[int, str] = {
    HTTPStatus.BAD_REQUEST: "another program pushes metrics of the same name and another kind",
    HTTPStatus.UNAUTHORIZED: "check 'username' and 'password'",
    HTTPStatus.NOT_FOUND: "'url' is the gateway's address, without '/metrics'",
    HTTPStatus.TOO_MANY_REQUESTS: "too many pushes at once",
}


_LIMIT_SECONDS = 90  # a request for each source


class Prometheus(Notification):
    """Sizes, times and the outcome as metrics at a Prometheus push gateway."""

    label: ClassVar[str] = "Prometheus"
    identity: ClassVar[tuple[str, ...]] = ("url",)
    nested: ClassVar[tuple[str, ...]] = ("credentials",)
    needs_every_run: ClassVar[bool] = True

    type: Literal["prometheus"] = "prometheus"

    url: WebAddress
    """Address of the push gateway, without `/metrics`."""

    username: str = ""
    """User for HTTP basic authentication."""

    password: SecretStr | None = None
    """Password of the user."""

    @property
    def limit_seconds(self) -> float:
        return _LIMIT_SECONDS

    @model_validator(mode="after")
    def _whole_login(self) -> Prometheus:
        if bool(self.username) != bool(self.password and self.password.get_secret_value()):
            raise ValueError("give both 'username' and 'password', or neither")
        return self

    def send(self, report: RunReport, context: Context) -> None:
        import requests

        login = None
        if self.password and self.username:
            login = (self.username, self.password.get_secret_value())
            context.secrets.scrub.add(login[1])
        base = self.url.rstrip("/").removesuffix("/metrics")
        calls = [_call(base, group, login) for group in groups(report)]
        workers = min(_MOST_WORKERS, 1 + len(calls) // _CALLS_OF_A_WORKER)

        def push(number: int) -> None:
            with requests.Session() as session:
                for call in calls[number::workers]:
                    request(call, context, session)

        with ThreadPoolExecutor(workers, thread_name_prefix="push") as pool:
            list(pool.map(push, range(workers)))  # the list is what raises the error of any of them


def _call(base: str, group: Group, login: tuple[str, str] | None) -> Call:
    return Call(
        "Push gateway",
        base + group_path(group.labels),
        exposition(group.metrics),
        method="PUT" if group.whole else "POST",
        content_type=CONTENT_TYPE,
        login=login,
        hints=_HINTS,
    )
