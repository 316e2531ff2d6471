"""The policies of docs/operations.md let a job with access keys do its work in the embedded cloud, and no more."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import uuid
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.loaders import create_loader
from pydantic import SecretStr

from backups.context import Context, Task
from backups.sources import Source
from backups.sources.snapshot import Snapshot
from tests.contract.streams import read_whole
from tests.integration.test_rds import ready, restored, source_of
from tests.servers.operations_page import blocks
from tests.servers.rds import Rds

pytestmark = pytest.mark.xdist_group("rds")


@pytest.fixture
def work(context: Context, rds: Rds, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """On a machine that has no rights of its own."""
    for name, value in rds.cloud.environment().items():
        if "KEY" not in name:
            monkeypatch.setenv(name, value)
    task = Task(
        job="nightly", run="20261123T021500Z", hostname="web1", source="data", key="web1/2026-11-23/data.json.gpg"
    )
    yield dataclasses.replace(context, task=task)
    rds.nothing_left()


@contextlib.contextmanager
def user(rds: Rds, section: str) -> Iterator[dict[str, Any]]:
    """Access keys of a user with the policy of a section."""
    (policy,) = blocks(section, "json")
    iam, name = rds.cloud.client("iam"), f"u-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="page", PolicyDocument=json.dumps(json.loads(policy)))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    yield {"aws_access_key_id": key["AccessKeyId"], "aws_secret_access_key": SecretStr(key["SecretAccessKey"])}


def client(rds: Rds, service: str, keys: dict[str, Any]) -> Any:
    login = {**keys, "aws_secret_access_key": keys["aws_secret_access_key"].get_secret_value()}
    session: Any = boto3.Session(region_name=rds.cloud.region, **login)
    return session.client(service, endpoint_url=rds.cloud.endpoint)


@pytest.mark.parametrize("engine", ["postgres", "aurora-mysql"])
def test_the_policy_for_rds(engine: str, rds: Rds, work: Context) -> None:
    live = rds.live(engine)
    ready(rds, live)
    with user(rds, "Amazon RDS and Aurora") as keys:
        with source_of(live, **keys).open(work) as stream:
            dump, warnings = read_whole(stream)
        assert (warnings, restored(live, dump)) == ([], ["common"])
        limited = client(rds, "rds", keys)
        with pytest.raises(limited.exceptions.ClientError, match="AccessDenied"):
            limited.delete_db_instance(DBInstanceIdentifier=live.name, SkipFinalSnapshot=True)
        with pytest.raises(limited.exceptions.ClientError, match="AccessDenied"):
            limited.create_db_instance(DBInstanceIdentifier="of-my-own", Engine="mysql", DBInstanceClass="db.r8g.large")


def test_the_policy_for_snapshots(rds: Rds, work: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backups.snapshots.taking._FIRST_POLL", 0.05)
    loader = create_loader()  # the description of EC2 has megabytes; each session would read it again
    monkeypatch.setattr("botocore.session.create_loader", lambda *_: loader)
    live, ec2 = rds.live("mariadb"), rds.cloud.client("ec2")
    volume = ec2.create_volume(AvailabilityZone=f"{rds.cloud.region}a", Size=9)["VolumeId"]
    machine = ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1)["Instances"][0]["InstanceId"]
    foreign = ec2.create_snapshot(VolumeId=volume)["SnapshotId"]
    targets = ({"volume_id": volume}, {"instance_id": machine}, {"instancename": live.name})
    with user(rds, "Snapshots") as keys:
        for target in targets:
            source: Source = Snapshot.model_validate({"id": "data", "copy_to_region": "eu-central-1", **target, **keys})
            for stored in (True, False):  # which marks them, and which deletes them
                task = dataclasses.replace(work.task, run=f"run-{stored}")
                stream = source.open(dataclasses.replace(work, task=task))
                status = json.loads(read_whole(stream)[0])
                stream.close()
                stream.settle(stored)
                assert [one["region"] for one in status["snapshots"]] == [rds.cloud.region, "eu-central-1"]
        limited = client(rds, "ec2", keys)
        with pytest.raises(limited.exceptions.ClientError, match="UnauthorizedOperation"):
            limited.delete_snapshot(SnapshotId=foreign)
    tagged = [{"Name": "tag:backups:run", "Values": ["run-True", "run-False"]}]
    left = ec2.describe_snapshots(OwnerIds=["self"], Filters=tagged)["Snapshots"]
    states = [tag["Value"] for shot in left for tag in shot["Tags"] if tag["Key"] == "backups:state"]
    assert states == ["complete", "complete"]
    for one in rds.client.describe_db_snapshots(DBInstanceIdentifier=live.name)["DBSnapshots"]:
        if one["DBSnapshotIdentifier"].startswith("backups-"):  # for other tests there is none that was made by hand
            rds.drop(live, one["DBSnapshotIdentifier"])
