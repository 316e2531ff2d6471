"""A bucket and the client to reach it: what an upload, a listing and a reader share."""

from __future__ import annotations

import base64
import datetime as dt
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from backups.context import Cancel
from backups.destinations.s3.errors import explain

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

CONNECTIONS = 20
"""Open at once, at most."""


@dataclass(frozen=True)
class Bucket:
    """One open connection to a bucket, and how objects are stored there."""

    client: S3Client
    name: str
    prefix: str
    made_with: dict[str, Any]
    """What every new object is made with: storage class, encryption at rest, tags."""
    lock: str
    """Mode of the lock of every new object; empty for none."""
    lock_days: int
    most_parts: int
    checksums: bool
    """Whether to try S3's own checksums; else MD5."""
    full: bool
    """Whether to read every object back."""
    tmpdir: Path
    cancel: Cancel
    cleaned: set[str] = field(default_factory=set)
    """Folders in which what killed runs left was looked for."""
    known: dict[str, bool] = field(default_factory=dict)
    """What the bucket has said of itself."""
    asking: threading.Lock = field(default_factory=threading.Lock)

    def target(self, key: str) -> dict[str, Any]:
        """The object in terms of the client."""
        return {"Bucket": self.name, "Key": self.prefix + key}

    def about(self, key: str, what: str) -> str:
        """How messages begin."""
        return f"s3://{self.name}: {self.prefix}{key} {what}"

    def stored_as(self) -> dict[str, Any]:
        """What an object that is made now is made with; a lock counts from now."""
        if not self.lock:
            return self.made_with
        until = dt.datetime.now(dt.UTC) + dt.timedelta(days=self.lock_days)
        return {**self.made_with, "ObjectLockMode": self.lock, "ObjectLockRetainUntilDate": until}

    def says(self, what: str, ask: Callable[[], bool], *, otherwise: bool) -> bool:
        """What the bucket says of itself, asked once for each ``what``; ``otherwise`` where it does not say."""
        with self.asking:
            if what in self.known:
                return self.known[what]
            try:
                answer = ask()
            except (BotoCoreError, ClientError) as error:
                answer = otherwise
                if not isinstance(error, ClientError) or error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500:
                    return answer  # it may say so the next time
            self.known[what] = answer
            return answer

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


def encoded(digest: bytes) -> str:
    """A checksum as S3's headers want it."""
    return base64.b64encode(digest).decode()


def crc32_text(value: int) -> str:
    """A CRC32 as S3's headers want it."""
    return encoded(value.to_bytes(4, "big"))
