"""An AWS account with volumes and databases, in moto, whose snapshots take as long as a test wants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
import pytest
from botocore.loaders import create_loader
from moto import mock_aws
from moto.ec2.models import ec2_backends
from moto.ec2.models.elastic_block_store import Snapshot as MotoSnapshot

from backups.snapshots import taking

HOME, AWAY = "eu-west-1", "eu-central-1"

_LOADER = create_loader()


@dataclass
class Account:
    """What tests ask of it."""

    patch: pytest.MonkeyPatch
    looks: int = 0
    """After so many times of being asked a new snapshot is complete; 0: at once."""
    ends_as: str = "completed"
    asked: dict[str, int] = field(default_factory=dict)

    def ec2(self, region: str = HOME) -> Any:
        return boto3.client("ec2", region_name=region)

    def rds(self, region: str = HOME) -> Any:
        return boto3.client("rds", region_name=region)

    def volume(self, size: int = 8, region: str = HOME) -> str:
        return str(self.ec2(region).create_volume(AvailabilityZone=f"{region}a", Size=size)["VolumeId"])

    def instance(self, *more: int) -> str:
        """An instance with its boot volume and more volumes of these sizes."""
        ec2 = self.ec2()
        made = ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
        for number, size in enumerate(more):
            ec2.attach_volume(VolumeId=self.volume(size), InstanceId=made, Device=f"/dev/sd{'fghij'[number]}")
        return str(made)

    def database(self, name: str = "shop") -> str:
        self.rds().create_db_instance(
            DBInstanceIdentifier=name, DBInstanceClass="db.t4g.medium", Engine="mysql", AllocatedStorage=20
        )
        return name

    def cluster(self, name: str = "shops") -> str:
        self.rds().create_db_cluster(
            DBClusterIdentifier=name, Engine="aurora-mysql", MasterUsername="a", MasterUserPassword="p" * 9
        )
        return name

    def snapshots(self, region: str = HOME) -> list[dict[str, Any]]:
        """Every EBS snapshot that was made by a test, with its tags as a mapping."""
        found = self.ec2(region).describe_snapshots(OwnerIds=["self"])["Snapshots"]
        return [{**one, "Tags": _tags(one["Tags"])} for one in found if one.get("Tags")]

    def database_snapshots(self, region: str = HOME) -> list[dict[str, Any]]:
        rds = self.rds(region)
        found = rds.describe_db_snapshots(SnapshotType="manual")["DBSnapshots"]
        found += rds.describe_db_cluster_snapshots(SnapshotType="manual")["DBClusterSnapshots"]
        return [{**one, "Tags": _tags(one["TagList"])} for one in found]

    def backend(self, region: str = HOME) -> Any:
        return ec2_backends["123456789012"][region]

    def breaks(self, name: str, *errors: Exception | None, after: bool = False) -> None:
        """Let the service's own function raise these, one at each call (None: work as ever); then the last again.

        ``after``: when its work is done, as when an answer is lost.
        """
        owner = type(self.backend())
        real: Callable[..., Any] = getattr(owner, name)
        calls: list[int] = []

        def broken(*args: Any, **kwargs: Any) -> Any:
            calls.append(1)
            error = errors[min(len(calls), len(errors)) - 1]
            if error is None:
                return real(*args, **kwargs)
            if after:
                real(*args, **kwargs)
            raise error

        self.patch.setattr(owner, name, broken)


@contextmanager
def account() -> Iterator[Account]:
    """An account without snapshots."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", HOME)
        patch.setenv("MOTO_EC2_LOAD_DEFAULT_AMIS", "false")  # thousands, with a snapshot each
        patch.setattr(taking, "POLL_SECONDS", 0.0)
        # The description of EC2 has megabytes; each session would read it again.
        patch.setattr("botocore.session.create_loader", lambda *_: _LOADER)
        made = Account(patch)

        def percent(one: Any) -> str:
            asked = made.asked[one.id] = made.asked.get(one.id, 0) + 1
            if one.status == "pending" and asked > made.looks:
                one.status = made.ends_as
            return "100%" if one.status == "completed" else f"{100 * asked // (made.looks + 1)}%"

        real = MotoSnapshot.__init__

        def begun(self: Any, *args: Any, **kwargs: Any) -> None:
            real(self, *args, **kwargs)
            if made.looks:
                self.status = "pending"

        patch.setattr(MotoSnapshot, "__init__", begun)
        patch.setattr(MotoSnapshot, "progress", property(percent))
        yield made


def _tags(listed: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in listed}
