"""Removes objects with all their versions, so that what retention removes costs nothing any more."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from backups.destinations.s3_bucket import Bucket
from backups.destinations.s3_errors import code_of

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ErrorTypeDef, ObjectIdentifierTypeDef

BATCH = 1000
"""What one request removes at most."""

_NO_VERSIONS = frozenset({"AccessDenied", "NotImplemented", "MethodNotAllowed", "403", "405", "501"})


def remove_objects(bucket: Bucket, keys: Iterable[str]) -> dict[str, str]:
    """Returns the keys that were refused, each with the reason. Raises DestinationError when nothing can be done."""
    refused: dict[str, str] = {}
    named = (identifier for key in keys for identifier in _versions(bucket, key))
    while batch := list(itertools.islice(named, BATCH)):
        with bucket.errors("", "objects can't be removed"):
            answer = bucket.client.delete_objects(Bucket=bucket.name, Delete={"Objects": batch, "Quiet": True})
        for error in answer.get("Errors", []):
            refused[error["Key"].removeprefix(bucket.prefix)] = _reason(bucket, error)
    return refused


def _versions(bucket: Bucket, key: str) -> Iterator[ObjectIdentifierTypeDef]:
    """What has to be removed for a key: in a versioned bucket each version and each marker of a deletion."""
    full_key = bucket.prefix + key
    pages = bucket.client.get_paginator("list_object_versions").paginate(Bucket=bucket.name, Prefix=full_key)
    found: list[ObjectIdentifierTypeDef] = []
    try:
        for page in pages:
            entries: list[Any] = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            found += [{"Key": full_key, "VersionId": e["VersionId"]} for e in entries if e["Key"] == full_key]
            if any(entry["Key"] > full_key for entry in entries):
                break
    except (BotoCoreError, ClientError) as error:
        if code_of(error) not in _NO_VERSIONS:
            with bucket.errors(key, "can't be removed"):
                raise
        yield {"Key": full_key}
        return
    if all(entry["VersionId"] == "null" for entry in found):
        # Without a version named it takes fewer rights: those of a bucket that never had versions.
        found = found and [{"Key": full_key}]
    yield from found


def _reason(bucket: Bucket, error: ErrorTypeDef) -> str:
    """S3's words, and until when the object is locked if that is why."""
    said = ": ".join(text for text in (error.get("Code"), error.get("Message")) if text)
    if error.get("VersionId"):
        until = _locked_until(bucket, error)
        said += f" (locked {until})" if until else ""
    return said


def _locked_until(bucket: Bucket, error: ErrorTypeDef) -> str:
    target: Any = {"Bucket": bucket.name, "Key": error["Key"], "VersionId": error["VersionId"]}
    try:
        until = bucket.client.get_object_retention(**target)["Retention"].get("RetainUntilDate")
    except (BotoCoreError, ClientError):
        return ""
    return f"until {until.isoformat()}" if until else ""
