"""Removes objects with all their versions, so that what retention removes costs nothing any more."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from backups.destinations import retrying
from backups.destinations.neighbours import neighbours, prefix_of
from backups.destinations.s3.bucket import Bucket
from backups.destinations.s3.errors import code_of

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ErrorTypeDef, ObjectIdentifierTypeDef

BATCH = 1000
"""What one request removes at most."""

_BUSY = frozenset({"InternalError", "ServiceUnavailable", "SlowDown"})
"""What the server says of an object that it can't remove just now."""

_NO_VERSIONS = frozenset({"AccessDenied", "NotImplemented", "MethodNotAllowed", "403", "405", "501"})


def remove_objects(bucket: Bucket, keys: Iterable[str]) -> dict[str, str]:
    """Returns the keys that were refused, each with the reason. Raises DestinationError when nothing can be done."""
    refused: dict[str, str] = {}
    groups = neighbours(bucket.prefix + key for key in keys)
    find = _versions if _may_have_versions(bucket) else _plain
    named = (identifier for group in groups for identifier in find(bucket, group))
    while batch := list(itertools.islice(named, BATCH)):
        for error in _delete(bucket, batch):
            refused[error["Key"].removeprefix(bucket.prefix)] = _reason(bucket, error)
    return refused


def _delete(bucket: Bucket, batch: list[ObjectIdentifierTypeDef]) -> list[ErrorTypeDef]:
    """What was refused of a batch. Where the server was only busy it is asked again, twice at most."""
    given_up, lasting = retrying.GivenUp(bucket.cancel), list[Any]()
    try:
        for pause in (*retrying.PAUSES[:2], None):
            with bucket.errors("", "objects can't be removed"):
                answer = bucket.client.delete_objects(Bucket=bucket.name, Delete={"Objects": batch, "Quiet": True})
            errors = answer.get("Errors", [])
            busy = [error for error in errors if error.get("Code") in _BUSY]
            if not busy or pause is None:
                return lasting + errors
            lasting += [error for error in errors if error not in busy]
            batch = [_identifier(error) for error in busy]
            given_up.wait(pause)
    finally:
        given_up.forget()
    raise AssertionError  # the last attempt has returned


def _identifier(error: ErrorTypeDef) -> ObjectIdentifierTypeDef:
    """What could not be removed."""
    version = error.get("VersionId")
    return {"Key": error["Key"], "VersionId": version} if version else {"Key": error["Key"]}


def _may_have_versions(bucket: Bucket) -> bool:
    """A bucket that never had versions says so, and a listing of them is saved. Who may not ask has to look."""

    def ask() -> bool:
        return bool(bucket.client.get_bucket_versioning(Bucket=bucket.name).get("Status"))

    return bucket.says("versions", ask, otherwise=True)


def _plain(bucket: Bucket, full_keys: list[str]) -> Iterator[ObjectIdentifierTypeDef]:  # noqa: ARG001 - as _versions
    """What has to be removed where there are no versions."""
    return ({"Key": key} for key in full_keys)


def _versions(bucket: Bucket, full_keys: list[str]) -> Iterator[ObjectIdentifierTypeDef]:
    """What has to be removed for some keys: in a versioned bucket each version and each marker of a deletion."""
    found: dict[str, list[str]] = {key: [] for key in full_keys}
    try:
        _find_versions(bucket, full_keys, found)
    except (BotoCoreError, ClientError) as error:
        if code_of(error) not in _NO_VERSIONS:
            with bucket.errors(full_keys[0].removeprefix(bucket.prefix), "can't be removed"):
                raise
        found = {key: ["null"] for key in full_keys}
    for key, versions in found.items():
        if versions and all(version == "null" for version in versions):
            # Without a version named it takes fewer rights: those of a bucket that never had versions.
            yield {"Key": key}
        else:
            for version in versions:
                yield {"Key": key, "VersionId": version}


def _find_versions(bucket: Bucket, full_keys: list[str], found: dict[str, list[str]]) -> None:
    pages = bucket.client.get_paginator("list_object_versions").paginate(
        Bucket=bucket.name, Prefix=prefix_of(full_keys)
    )
    for page in pages:
        entries: list[Any] = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
        for entry in entries:
            if entry["Key"] in found:
                found[entry["Key"]].append(entry["VersionId"])
        if any(entry["Key"] > full_keys[-1] for entry in entries):
            return


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
