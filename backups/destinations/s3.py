"""An S3 bucket, at Amazon or on a server that speaks its protocol."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator

from backups.config import Flag
from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig, StoredObject, Upload

if TYPE_CHECKING:
    from backups.destinations.s3_bucket import Bucket


class S3(DestinationConfig):
    """An S3 bucket."""

    label: ClassVar[str] = "S3"
    identity: ClassVar[tuple[str, ...]] = ("bucket", "prefix")
    nested: ClassVar[tuple[str, ...]] = ("credentials",)

    type: Literal["s3"] = "s3"

    bucket: str = Field(min_length=1)
    """Bucket to store in. It must exist; writing needs no right but to put and abort."""

    prefix: str = ""
    """Stands before every key, such as `team-a/`."""

    region: str = ""
    """AWS region of the bucket; from the environment when missing."""

    aws_access_key_id: str = ""
    """Access key; when missing, AWS's usual chain is searched: environment, `~/.aws`, the role of the task."""

    aws_secret_access_key: SecretStr | None = Field(None, min_length=1)
    """Secret of the access key."""

    endpoint_url: str = ""
    """Address of an S3-compatible server, such as `https://minio.example.org:9000`; Amazon's own when missing."""

    storage_class: str = ""
    """Such as `STANDARD_IA` or `GLACIER_IR`; the bucket's default when missing."""

    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """Encryption at rest; the bucket's default when missing."""

    kms_key_id: str = ""
    """KMS key for encryption at rest; `sse` is then `aws:kms` unless it says otherwise."""

    checksums: Flag = True
    """Let the server check CRC32 sums of each part and of the whole. Switch it off for an S3-compatible server that
    does not know them: then it checks an MD5 of each part, and the size."""

    verify: Literal["checksum", "full"] = "checksum"
    """`checksum`: the server compares checksums before the object appears. `full`: it is also read back."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.aws_access_key_id) != bool(self.aws_secret_access_key):
            raise ValueError("give both 'aws_access_key_id' and 'aws_secret_access_key', or neither")
        if self.kms_key_id and self.sse == "AES256":
            raise ValueError("'kms_key_id' goes with 'sse': 'aws:kms', not with 'AES256'")
        if self.verify == "full" and self.storage_class in ("GLACIER", "DEEP_ARCHIVE"):
            raise ValueError("what is stored as GLACIER or DEEP_ARCHIVE can't be read back: leave 'verify' out")
        return self

    def connect(self, context: Context) -> S3Destination:
        """Make a client; nothing is sent before the first use. Raises DestinationError."""
        from backups.destinations.s3_connect import connect

        return S3Destination(connect(self, context))


class S3Destination(Destination):
    """A client of one bucket; keys stand behind the prefix."""

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def create(self, key: str, *, size_bound: int | None = None) -> Upload:
        """Begin an object; ``size_bound`` keeps parts small, since without it there must be room for 48 TiB."""
        from backups.destinations.s3_upload import S3Upload

        return S3Upload(self._bucket, key, size_bound)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """A page of 1,000 at a time, in the order in which the server lists: S3's is that of the keys."""
        pages = self._bucket.client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket.name, Prefix=self._bucket.prefix + prefix
        )
        with self._bucket.errors(prefix, "can't be listed"):
            for page in pages:
                for entry in page.get("Contents", []):
                    key = entry["Key"].removeprefix(self._bucket.prefix)
                    if key:  # a folder made in the console has the prefix itself as its key
                        yield StoredObject(key, entry["Size"], entry["LastModified"].astimezone(dt.UTC))

    def read(self, key: str) -> Iterator[bytes]:
        """Stream it, going on where a broken connection left off."""
        from backups.destinations.s3_read import read_object

        return read_object(self._bucket, key)

    def remove(self, keys: Iterable[str]) -> dict[str, str]:
        """Remove all versions, in batches of 1,000."""
        from backups.destinations.s3_remove import remove_objects

        return remove_objects(self._bucket, keys)

    def close(self) -> None:
        """Close the connections."""
        self._bucket.client.close()
