"""Lists a bucket, and asks for the ends of locks where Object Lock is on."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from backups.destinations.base import StoredObject
from backups.destinations.s3_bucket import CONNECTIONS, Bucket
from backups.errors import MissingError

_ASKED = 200
"""Objects that are asked for their locks before the first answer is looked at."""

ENDLESS = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)
"""The end of a legal hold, which has none until somebody takes it away."""


def list_objects(bucket: Bucket, prefix: str, after: str = "") -> Iterator[StoredObject]:
    """In pages of 1,000, those whose key is greater than ``after``. Raises DestinationError."""
    start: dict[str, Any] = {"StartAfter": bucket.prefix + after} if after else {}
    pages = bucket.client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket.name, Prefix=bucket.prefix + prefix, **start
    )
    with bucket.errors(prefix, "can't be listed"):
        for page in pages:
            for entry in page.get("Contents", []):
                key = entry["Key"].removeprefix(bucket.prefix)
                if key:  # a folder made in the console has the prefix itself as its key
                    yield StoredObject(key, entry["Size"], entry["LastModified"].astimezone(dt.UTC))


def with_locks(bucket: Bucket, listed: Iterable[StoredObject]) -> Iterator[StoredObject]:
    """The same objects with the ends of their locks, which listings don't tell. Raises DestinationError."""
    rest = iter(listed)
    first = next(rest, None)
    if first is None:
        return
    rest = itertools.chain([first], rest)
    if not _has_locks(bucket):
        yield from rest
        return
    with ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="s3-lock") as asking:
        while batch := list(itertools.islice(rest, _ASKED)):
            locks = asking.map(partial(_locked_until, bucket), [stored.key for stored in batch])
            for stored, locked in zip(batch, locks, strict=True):
                yield replace(stored, locked_until=locked)


def _has_locks(bucket: Bucket) -> bool:
    """Whether Object Lock is on. Who may not ask, or asks a server that knows none, finds locks when removing."""
    if bucket.lock:
        return True
    try:
        answer = bucket.client.get_object_lock_configuration(Bucket=bucket.name)
    except (BotoCoreError, ClientError):
        return False
    return answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"


def _locked_until(bucket: Bucket, key: str) -> dt.datetime | None:
    try:
        head = bucket.head(key)
    except MissingError:
        return None  # removed since it was listed
    return lock_of(head)


def lock_of(head: dict[str, Any]) -> dt.datetime | None:
    """Until when an object is locked, as HeadObject tells whoever may read its retention and legal hold."""
    if head.get("ObjectLockLegalHoldStatus") == "ON":
        return ENDLESS
    until = head.get("ObjectLockRetainUntilDate")
    return until.astimezone(dt.UTC) if until else None
