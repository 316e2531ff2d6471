"""Lists a bucket, and asks for the ends of locks where Object Lock is on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

from backups.destinations.base import StoredObject
from backups.destinations.s3.bucket import CONNECTIONS, Bucket
from backups.errors import MissingError
from backups.parallel import in_order

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
    rest = chain([first], rest)
    yield from in_order(partial(_with_lock, bucket), rest, CONNECTIONS, "s3-lock") if _has_locks(bucket) else rest


def _has_locks(bucket: Bucket) -> bool:
    """Whether Object Lock is on. Who may not ask, or asks a server that knows none, finds locks when removing."""
    if bucket.lock:
        return True

    def ask() -> bool:
        answer = bucket.client.get_object_lock_configuration(Bucket=bucket.name)
        return answer.get("ObjectLockConfiguration", {}).get("ObjectLockEnabled") == "Enabled"

    return bucket.says("locks", ask, otherwise=False)


def _with_lock(bucket: Bucket, stored: StoredObject) -> StoredObject:
    try:
        head = bucket.head(stored.key)
    except MissingError:
        return stored  # removed since it was listed
    return replace(stored, locked_until=lock_of(head))


def lock_of(head: dict[str, Any]) -> dt.datetime | None:
    """Until when an object is locked, as HeadObject tells whoever may read its retention and legal hold."""
    if head.get("ObjectLockLegalHoldStatus") == "ON":
        return ENDLESS
    until = head.get("ObjectLockRetainUntilDate")
    return until.astimezone(dt.UTC) if until else None
