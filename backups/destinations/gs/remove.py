"""Removes objects with all their versions, so that what retention removes costs nothing any more."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from google.api_core.exceptions import Forbidden, from_http_response
from google.cloud.storage.batch import Batch
from google.cloud.storage.retry import DEFAULT_RETRY

from backups.destinations.gs.bucket import Bucket
from backups.destinations.gs.errors import explain
from backups.destinations.neighbours import neighbours, prefix_of

BATCH = 100
"""What one request removes at most."""


def remove_objects(bucket: Bucket, keys: Iterable[str]) -> dict[str, str]:
    """Returns the keys that were refused, each with the reason. Raises DestinationError when nothing can be done."""
    refused: dict[str, str] = {}
    groups = neighbours(bucket.prefix + key for key in keys)
    named = (version for group in groups for version in _versions(bucket, group))
    while batch := list(itertools.islice(named, BATCH)):
        for (key, _), answer in zip(batch, _remove(bucket, batch), strict=True):
            if not 200 <= answer.status_code < 300 and answer.status_code != 404:
                refused[key] = str(explain(from_http_response(answer), bucket.about(key, "can't be removed")))
    return refused


def _remove(bucket: Bucket, batch: list[tuple[str, int | None]]) -> list[Any]:
    """The answers, in the order of the batch."""
    objects = bucket.client.bucket(bucket.name)
    with bucket.errors("", "objects can't be removed"):
        request = Batch(bucket.client, raise_exception=False)
        with request:
            for key, generation in batch:
                objects.delete_blob(bucket.prefix + key, generation=generation, retry=None)
    return list(request._responses)  # the client offers them nowhere else, and raises only for the first


def _versions(bucket: Bucket, full_keys: list[str]) -> Iterator[tuple[str, int | None]]:
    """What has to be removed for some keys: in a versioned bucket each version."""
    found, wanted = False, frozenset(full_keys)
    with bucket.errors(full_keys[0].removeprefix(bucket.prefix), "can't be removed"):
        try:
            for blob in bucket.client.list_blobs(
                bucket.name,
                prefix=prefix_of(full_keys),
                start_offset=full_keys[0],
                versions=True,
                fields="items(name,generation),nextPageToken",
                retry=DEFAULT_RETRY,
            ):
                if blob.name > full_keys[-1]:
                    break
                found = True
                if blob.name in wanted:
                    yield blob.name.removeprefix(bucket.prefix), blob.generation
        except Forbidden:  # who may delete but not list
            if not found:
                yield from ((key.removeprefix(bucket.prefix), None) for key in full_keys)
