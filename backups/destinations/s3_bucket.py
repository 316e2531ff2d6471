"""A bucket and the client to reach it: what an upload, a listing and a reader share."""

from __future__ import annotations

import base64
import concurrent.futures
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from backups.context import Cancel
from backups.destinations.s3_errors import explain
from backups.errors import DestinationError, StoppedError

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger("backups.destinations.s3")

PAUSES = (2.0, 10.0, 30.0, 60.0)
"""Seconds between our own attempts; the client makes three at each of them, within seconds."""

T = TypeVar("T")


@dataclass(frozen=True)
class Bucket:
    """One open connection to a bucket, and how objects are stored there."""

    client: S3Client
    name: str
    prefix: str
    stored_as: dict[str, Any]
    """What every new object is made with: storage class, encryption at rest."""
    checksums: bool
    """Whether to try S3's own checksums; else MD5."""
    full: bool
    """Whether to read every object back."""
    tmpdir: Path
    cancel: Cancel

    def target(self, key: str) -> dict[str, Any]:
        """The object in terms of the client."""
        return {"Bucket": self.name, "Key": self.prefix + key}

    def about(self, key: str, what: str) -> str:
        """How messages begin."""
        return f"s3://{self.name}: {self.prefix}{key} {what}"

    @contextmanager
    def errors(self, key: str, what: str) -> Iterator[None]:
        """Turns the client's errors into ours."""
        try:
            yield
        except (BotoCoreError, ClientError) as error:
            raise explain(error, self.about(key, what)) from error

    def head(self, key: str) -> dict[str, Any]:
        """What the server says about an object. Raises DestinationError."""
        with self.errors(key, "can't be looked at"):
            return dict(self.client.head_object(**self.target(key)))


class GivenUp:
    """Says that an upload or a reader must stop: it was given up, or the whole run is stopping."""

    def __init__(self, cancel: Cancel) -> None:
        self._cancel = cancel
        self.future: Future[None] = Future()  # so that it can be waited for together with the parts
        self.forget = cancel.on_stop(self.set)

    def set(self) -> None:
        """Wake whoever waits."""
        with suppress(concurrent.futures.InvalidStateError):
            self.future.set_result(None)

    def check(self) -> None:
        """Raises StoppedError once the upload must stop."""
        self._cancel.check()
        if self.future.done():
            raise StoppedError

    def wait(self, seconds: float) -> None:
        """Sleep. Raises StoppedError as soon as the upload must stop."""
        concurrent.futures.wait({self.future}, timeout=seconds)
        self.check()


def again(attempt: Callable[[], T], wait: Callable[[float], None]) -> T:
    """Try, and after errors that may pass try again. ``wait`` sleeps for seconds, or raises to give up.

    Raises DestinationError from the last attempt.
    """
    for pause in PAUSES:
        try:
            return attempt()
        except DestinationError as error:
            if error.permanent:
                raise
            log.warning("%s; trying again in %.0f s", error, pause)
        wait(pause)
    return attempt()


def encoded(digest: bytes) -> str:
    """A checksum as S3's headers want it."""
    return base64.b64encode(digest).decode()


def crc32_text(value: int) -> str:
    """A CRC32 as S3's headers want it."""
    return encoded(value.to_bytes(4, "big"))
