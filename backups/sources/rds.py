"""RDS: the model of a source that dumps a temporary instance made from the newest snapshot; not there yet."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator

from backups.config import Flag, MissingFieldsError
from backups.context import Context
from backups.errors import SourceError
from backups.sources.base import Source, SourceStream


class RDS(Source):
    """A MySQL database on Amazon RDS, dumped from its newest automatic snapshot, so that the live one stays quiet."""

    label: ClassVar[str] = "RDS"
    identity: ClassVar[tuple[str, ...]] = ("instancename", "dbname")
    nested: ClassVar[tuple[str, ...]] = ("credentials",)
    unavailable: ClassVar[str] = "restoring snapshots is not connected"

    type: Literal["rds"] = "rds"

    instancename: str = Field(min_length=1)
    """Name of the RDS instance whose newest snapshot is restored."""

    region: str = ""
    """AWS region of the instance; from the environment when missing."""

    security_group: str = Field("", max_length=255)
    """VPC security group of the temporary instance; it must let the machine in that runs the dump."""

    instance_class: str = ""
    """Class of the temporary instance, such as `db.t4g.medium`; the class of the database itself when missing."""

    dbhost: str = ""
    """Accepted as the old tool's files have it; the dump connects to the temporary instance."""

    dbname: str = Field(min_length=1)
    """Name of the database."""

    dbuser: str = ""
    """User to connect as."""

    dbpass: SecretStr | None = None
    """Password of the user."""

    defaults: str = ""
    """Path of a MySQL options file to use instead of `dbuser` and `dbpass`; it is only read."""

    noevents: Flag = False
    """Leave events out of the dump."""

    aws_access_key_id: str = ""
    """Access key; when missing, AWS's usual chain is searched: environment, `~/.aws`, the role of the task."""

    aws_secret_access_key: SecretStr | None = None
    """Secret of the access key."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.aws_access_key_id) != bool(self.aws_secret_access_key):
            raise ValueError("give both 'aws_access_key_id' and 'aws_secret_access_key', or neither")
        missing = [name for name in ("dbuser", "dbpass") if not self.defaults and not getattr(self, name)]
        if missing:
            raise MissingFieldsError(*missing)
        return self

    @property
    def extension(self) -> str:
        return "sql"

    def open(self, context: Context) -> SourceStream:  # noqa: ARG002
        raise SourceError(self.not_yet())
