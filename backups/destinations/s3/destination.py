"""An S3 bucket, at Amazon or on a server that speaks its protocol."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator

from backups.config import Flag, Positive
from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig, StoredObject, Upload

if TYPE_CHECKING:
    from backups.destinations.s3.bucket import Bucket


Tag = Annotated[str, Field(pattern=r"^[\w .:/=+@-]+$", max_length=128)]
TagValue = Annotated[str, Field(pattern=r"^[\w .:/=+@-]*$", max_length=256)]


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

    role_arn: str = Field("", pattern=r"^(arn:[a-z0-9-]+:iam::\d{12}:role/\S+|\{\{resolve:.*)?$")
    """Role to take on for this bucket, such as one of the account that owns it; it is taken on with the access key or
    with what AWS's usual chain finds, and renewed as long as the work lasts."""

    external_id: str = Field(
        "", pattern=r"^([A-Za-z0-9_+=,.@:/-]{2}[A-Za-z0-9_+=,.@:/-]*|\{\{resolve:.*)?$", max_length=1224
    )
    """What the role's trust policy wants as `sts:ExternalId`; AWS does not count it as a secret."""

    endpoint_url: str = ""
    """Address of an S3-compatible server, such as `https://minio.example.org:9000`; Amazon's own when missing."""

    storage_class: str = ""
    """Such as `STANDARD_IA` or `GLACIER_IR`; the bucket's default when missing."""

    sse: Literal["AES256", "aws:kms", "aws:kms:dsse"] | None = None
    """Encryption at rest; the bucket's default when missing."""

    kms_key_id: str = ""
    """KMS key for encryption at rest; `sse` is then `aws:kms` unless it says otherwise."""

    object_lock: Literal["GOVERNANCE", "COMPLIANCE"] | None = None
    """Lock every copy, so that nobody removes it before `object_lock_days` are over: with `GOVERNANCE` nobody but who
    may bypass it, with `COMPLIANCE` nobody at all. The bucket must have been made with Object Lock."""

    object_lock_days: Positive | None = Field(None, le=36500)
    """For how many days copies are locked. Retention leaves a locked copy alone and removes it in a later run."""

    tags: dict[Tag, TagValue] = Field(default_factory=dict, max_length=10)
    """Tags of every object, such as `{"team": "a"}`; lifecycle rules and bills can go by them."""

    requester_pays: Flag = False
    """Say with each request that we pay for it, as such buckets of others demand."""

    checksums: Flag = True
    """Let the server check CRC32 sums of each part and of the whole. Switch it off for an S3-compatible server that
    does not know them: then it checks an MD5 of each part, and the size."""

    max_parts: int = Field(10_000, ge=100, le=10_000)
    """Parts that the server takes for one object: 10,000 at Amazon, 1,000 at some S3-compatible servers. Fewer parts
    are larger, and a part above 24 MiB waits in `tmpdir` while it is sent."""

    verify: Literal["checksum", "full"] = "checksum"
    """`checksum`: the server compares checksums before the object appears. `full`: it is also read back."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.aws_access_key_id) != bool(self.aws_secret_access_key):
            raise ValueError("give both 'aws_access_key_id' and 'aws_secret_access_key', or neither")
        if self.kms_key_id and self.sse == "AES256":
            raise ValueError("'kms_key_id' goes with 'sse': 'aws:kms', not with 'AES256'")
        if (self.object_lock is None) != (self.object_lock_days is None):
            raise ValueError("give both 'object_lock' and 'object_lock_days', or neither")
        if self.external_id and not self.role_arn:
            raise ValueError("'external_id' goes with 'role_arn'")
        if self.verify == "full" and self.storage_class in ("GLACIER", "DEEP_ARCHIVE"):
            raise ValueError("what is stored as GLACIER or DEEP_ARCHIVE can't be read back: leave 'verify' out")
        return self

    def connect(self, context: Context) -> S3Destination:
        """Make a client; nothing is sent before the first use. Raises DestinationError."""
        from backups.destinations.s3.connect import connect

        return S3Destination(connect(self, context))


class S3Destination(Destination):
    """A client of one bucket; keys stand behind the prefix."""

    parallel: ClassVar[int] = 4

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket

    def create(self, key: str, *, size_bound: int | None = None) -> Upload:
        """Begin an object; ``size_bound`` keeps parts small, since without it there must be room for 48 TiB."""
        from backups.destinations.s3.upload import S3Upload

        return S3Upload(self._bucket, key, size_bound)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        """A page of 1,000 at a time, in the order in which the server lists: S3's is that of the keys."""
        from backups.destinations.s3.listing import list_objects

        return list_objects(self._bucket, prefix)

    def list_after(self, prefix: str, after: str) -> Iterator[StoredObject]:
        """The server leaves out what comes before."""
        from backups.destinations.s3.listing import list_objects

        return list_objects(self._bucket, prefix, after)

    def with_locks(self, listed: Iterable[StoredObject]) -> Iterator[StoredObject]:
        """In a bucket with Object Lock each object is asked for the end of its lock, some at a time."""
        from backups.destinations.s3.listing import with_locks

        return with_locks(self._bucket, listed)

    def read(self, key: str) -> Iterator[bytes]:
        """Stream it, going on where a broken connection left off."""
        from backups.destinations.s3.read import read_object

        return read_object(self._bucket, key)

    def remove(self, keys: Iterable[str]) -> dict[str, str]:
        """Remove all versions, in batches of 1,000."""
        from backups.destinations.s3.remove import remove_objects

        return remove_objects(self._bucket, keys)

    def close(self) -> None:
        """Close the connections."""
        self._bucket.client.close()
