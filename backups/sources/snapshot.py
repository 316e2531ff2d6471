"""Snapshots that AWS takes of volumes and databases, and keeps; the copy holds what AWS says of them."""

from __future__ import annotations

import datetime as dt
import os
import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, SecretStr, model_validator

from backups.aws_calls import Login, client
from backups.config import Flag, Positive
from backups.context import Context
from backups.errors import SourceError
from backups.snapshots.base import Snapshots
from backups.snapshots.ebs import EbsSnapshots
from backups.snapshots.rds import RdsSnapshots
from backups.snapshots.status import status_of
from backups.snapshots.taking import Taking
from backups.sources.base import Source, SourceStream

_TARGETS = ("volume_id", "instance_id", "instancename", "clustername")

_NAME = r"^([A-Za-z][A-Za-z0-9-]{0,62})?$"

Region = Annotated[str, Field(pattern=r"^([a-z]{2}(-[a-z]+)+-\d)?$")]


class Snapshot(Source):
    """A snapshot that AWS takes and keeps, of a volume, of all volumes of an EC2 instance, or of an RDS database.

    The copy is a small JSON file: ids, sizes, times. The snapshots themselves go when no destination's retention
    keeps a copy of their day any more.
    """

    label: ClassVar[str] = "Snapshot"
    identity: ClassVar[tuple[str, ...]] = _TARGETS
    nested: ClassVar[tuple[str, ...]] = ("credentials",)
    left_when_killed: ClassVar[str] = (
        "snapshots that it may have begun stay, tagged backups:state=unfinished: they count for nothing, "
        "and retention removes them after a later run, when they are two days old or more"
    )

    type: Literal["snapshot"] = "snapshot"

    volume_id: str = Field("", pattern=r"^(vol-[0-9A-Za-z]+)?$")
    """Id of the EBS volume. Give one of `volume_id`, `instance_id`, `instancename` and `clustername`."""

    instance_id: str = Field("", pattern=r"^(i-[0-9A-Za-z]+)?$")
    """Id of the EC2 instance whose volumes are all snapshotted at the same moment."""

    exclude_boot_volume: Flag = False
    """Leave out the volume that the EC2 instance boots from."""

    instancename: str = Field("", pattern=_NAME)
    """Name of the RDS instance."""

    clustername: str = Field("", pattern=_NAME)
    """Name of the Aurora cluster."""

    region: Region = ""
    """AWS region; that of `availability_zone` or of the environment when missing."""

    availability_zone: str = Field("", pattern=r"^([a-z]{2}(-[a-z]+)+-\d[a-z0-9-]*)?$")
    """AWS availability zone, as old job files have it; only its region is used."""

    copy_to_region: Region = ""
    """AWS region that each snapshot is copied to as well; both are kept and removed together."""

    copy_kms_key_id: str = Field("", pattern=r"^(arn:[a-z-]+:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+)?$")
    """KMS key there for the copies, as an ARN; needed for an encrypted RDS snapshot, else the region's default."""

    wait_limit: Positive = 24 * 3600
    """Seconds that AWS may take for the snapshots and their copies; the first one of a large volume takes hours."""

    aws_access_key_id: str = ""
    """Access key; when missing, AWS's usual chain is searched: environment, `~/.aws`, the role of the task."""

    aws_secret_access_key: SecretStr | None = None
    """Secret of the access key."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len([name for name in _TARGETS if getattr(self, name)]) != 1:
            raise ValueError("give one of 'volume_id', 'instance_id', 'instancename' and 'clustername'")
        if self.exclude_boot_volume and not self.instance_id:
            raise ValueError("'exclude_boot_volume' is about the volumes of 'instance_id'")
        if self.copy_kms_key_id and not self.copy_to_region:
            raise ValueError("'copy_kms_key_id' is for the copies in 'copy_to_region'")
        if self.copy_to_region and self.copy_to_region == self.home_region:
            raise ValueError("'copy_to_region' is the region of the snapshots themselves")
        if bool(self.aws_access_key_id) != bool(self.aws_secret_access_key):
            raise ValueError("give both 'aws_access_key_id' and 'aws_secret_access_key', or neither")
        return self

    @property
    def extension(self) -> str:
        return "json"

    @property
    def home_region(self) -> str:
        """Where the snapshots are taken; empty for that of the environment."""
        match = re.match(r"[a-z]{2}(-[a-z]+)+-\d", self.availability_zone)
        return self.region or (match[0] if match else "")

    @property
    def of_database(self) -> bool:
        """Whether RDS takes them."""
        return bool(self.instancename or self.clustername)

    @property
    def target(self) -> str:
        """Id or name of what is snapshotted."""
        return self.volume_id or self.instance_id or self.instancename or self.clustername

    @property
    def opening_limit(self) -> int:
        return self.wait_limit

    def open(self, context: Context) -> SourceStream:
        started = dt.datetime.now(dt.UTC)
        home, *others = self.places()
        if any(other.region == home.region for other in others):
            hint = "give another 'copy_to_region'"
            raise SourceError(f"the snapshots are taken in {home.region} and would be copied there too", hint=hint)
        taking = Taking(home, next(iter(others), None), context, limit=self.wait_limit, kms_key=self.copy_kms_key_id)
        taking.run()
        return StatusStream(taking, started)

    def places(self) -> list[Snapshots]:
        """The regions that hold its snapshots, its own first. Called on a copy whose references are resolved."""
        return [self._in(self.home_region), *([self._in(self.copy_to_region)] if self.copy_to_region else [])]

    def _in(self, region: str) -> Snapshots:
        secret = self.aws_secret_access_key
        login = Login(self.aws_access_key_id, secret.get_secret_value() if secret else "")
        if self.of_database:
            return RdsSnapshots(client("rds", region, login), self.target, cluster=bool(self.clustername))
        ec2 = client("ec2", region, login)
        return EbsSnapshots(ec2, self.target, exclude_boot_volume=self.exclude_boot_volume)


class StatusStream(SourceStream):
    """The status as a stream; the snapshots count once a verified copy of it is stored."""

    def __init__(self, taking: Taking, started: dt.datetime) -> None:
        self._taking = taking
        data = status_of(taking, started).text().encode()
        self.size_bound = len(data)
        self._fd = os.memfd_create("snapshot-status")
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        os.lseek(self._fd, 0, os.SEEK_SET)

    def fileno(self) -> int:
        return self._fd

    def finish(self, size: int, tail: bytes) -> list[str]:  # noqa: ARG002 - it was whole before it was opened
        return []

    def kill(self) -> None:
        """Nothing runs any more."""

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def settle(self, stored: bool) -> None:
        if stored:
            self._taking.count()
        else:
            self._taking.undo()
