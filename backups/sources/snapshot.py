"""Volume snapshots: the model of a source that has AWS take them; not there yet."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import SecretStr, model_validator

from backups.context import Context
from backups.errors import SourceError
from backups.sources.base import Source, SourceStream


class Snapshot(Source):
    """A snapshot of an EBS volume or RDS instance, kept at AWS; the copy holds only what AWS says of it."""

    label: ClassVar[str] = "Snapshot"
    identity: ClassVar[tuple[str, ...]] = ("volume_id", "instancename")
    nested: ClassVar[tuple[str, ...]] = ("credentials",)
    unavailable: ClassVar[str] = "taking snapshots is not connected"

    type: Literal["snapshot"] = "snapshot"

    volume_id: str = ""
    """Id of the EBS volume. Give this or `instancename`."""

    instancename: str = ""
    """Name of the RDS instance."""

    availability_zone: str = ""
    """AWS availability zone; its region is used. From the environment when missing."""

    aws_access_key_id: str = ""
    """Access key; when missing, AWS's usual chain is searched: environment, `~/.aws`, the role of the task."""

    aws_secret_access_key: SecretStr | None = None
    """Secret of the access key."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.volume_id) == bool(self.instancename):
            raise ValueError("give either 'volume_id' or 'instancename'")
        if bool(self.aws_access_key_id) != bool(self.aws_secret_access_key):
            raise ValueError("give both 'aws_access_key_id' and 'aws_secret_access_key', or neither")
        return self

    @property
    def extension(self) -> str:
        return "json"

    def open(self, context: Context) -> SourceStream:  # noqa: ARG002
        raise SourceError(self.not_yet())
