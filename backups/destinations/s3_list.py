"""Lists a bucket; where Object Lock is on, with the end of each object's lock, which S3's listings don't tell."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from backups.destinations.base import StoredObject
from backups.destinations.s3_bucket import CONNECTIONS, Bucket
from backups.errors import MissingError

ENDLESS = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)
"""The end of a legal hold, which has none until somebody takes it away."""


def list_objects(bucket: Bucket, prefix: str, after: str = "") -> Iterator[StoredObject]:
    """In pages of 1,000, those whose key is greater than ``after``. Raises DestinationError."""
    start: dict[str, Any] = {"StartAfter": bucket.prefix + after} if after else {}
    pages = bucket.client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket.name, Prefix=bucket.prefix + prefix, **start
    )
    with ExitStack() as stack, bucket.errors(prefix, "can't be listed"):
        asking: ThreadPoolExecutor | None = None
        for number, page in enumerate(pages):
            if number == 0 and "Contents" in page and _has_locks(bucket):
                asking = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="s3-lock")
                stack.callback(asking.shutdown, cancel_futures=True)
            entries = page.get("Contents", [])
            keys = [entry["Key"].removeprefix(bucket.prefix) for entry in entries]
            locks = asking.map(partial(_locked_until, bucket), keys) if asking else [None] * len(keys)
            for entry, key, locked in zip(entries, keys, locks, strict=True):
                if key:  # a folder made in the console has the prefix itself as its key
                    yield StoredObject(key, entry["Size"], entry["LastModified"].astimezone(dt.UTC), locked)


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
