"""An S3 bucket, at Amazon or on a server that speaks its protocol."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator

from backups.config import Flag
from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig


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
        return self

    def connect(self, context: Context) -> Destination:
        """Make a client; nothing is sent before the first use. Raises DestinationError."""
        raise NotImplementedError
