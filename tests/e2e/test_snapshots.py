"""Deployed jobs of snapshots: taken, copied to another region, kept by policy, and what is left of a worker's death."""

from __future__ import annotations

import datetime as dt
import functools
import json
import signal
from pathlib import Path
from typing import Any

import boto3
import pytest

from backups.records import Outcome, Result, RunReport
from tests.e2e.conftest import AWAY, Scene, end_the_worker, plain_copy
from tests.servers.local_cloud import wait_for
from tests.servers.rds import Rds

pytestmark = pytest.mark.xdist_group("night")

NIGHT = dt.datetime(2026, 11, 20, 4, 0, tzinfo=dt.UTC)
SOURCES = ("volume", "machine", "database", "cluster")
Shot = tuple[str, str, str, str]
"""Id, region, day of the copy, and whether it is complete."""


@pytest.fixture(scope="module")
def rds(scene: Scene) -> Rds:
    """With the databases that the job names."""
    scene.rds.live("mariadb")
    return scene.rds


def client(scene: Scene, service: str, region: str = "") -> Any:
    """Of the account's root user."""
    return _client(scene.night.cloud.endpoint, service, region or scene.night.cloud.region, "test", "test", "")


@functools.cache
def _client(endpoint: str, service: str, region: str, key_id: str, key: str, token: str) -> Any:
    """Made once: the description of EC2 has megabytes, which take a second to read."""
    session: Any = boto3.Session(
        region_name=region, aws_access_key_id=key_id, aws_secret_access_key=key, aws_session_token=token or None
    )
    return session.client(service, endpoint_url=endpoint)


def acting_as(scene: Scene, role: str) -> Any:
    """A client of EC2 with a role of the stack."""
    cloud = scene.night.cloud
    keys = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="a-test")["Credentials"]
    return _client(
        cloud.endpoint, "ec2", cloud.region, keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"]
    )


def shots(scene: Scene, job: str, source: str) -> list[Shot]:
    """The snapshots of a source wherever they are, the oldest day first."""
    found: list[Shot] = []
    for region in (scene.night.cloud.region, AWAY):
        rds = client(scene, "rds", region)
        listed = [
            *((one["SnapshotId"], one["State"] == "completed", one.get("Tags", []))
              for one in client(scene, "ec2", region).describe_snapshots(OwnerIds=["self"])["Snapshots"]),
            *((one["DBSnapshotIdentifier"], one["Status"] == "available", one["TagList"])
              for one in rds.describe_db_snapshots()["DBSnapshots"]),
            *((one["DBClusterSnapshotIdentifier"], one["Status"] == "available", one["TagList"])
              for one in rds.describe_db_cluster_snapshots()["DBClusterSnapshots"]),
        ]  # fmt: skip
        for id_, whole, tagged in listed:
            tags = {tag["Key"]: tag["Value"] for tag in tagged}
            if (tags.get("backups:job"), tags.get("backups:source")) == (job, source):
                assert whole or tags["backups:state"] == "unfinished"
                found.append((id_, region, tags["backups:copy"].split("/")[1], tags["backups:state"]))
    return sorted(found, key=lambda shot: (shot[2], shot[1] == AWAY))


def night(scene: Scene, job: str, days: int) -> RunReport:
    """A run that many days after the first."""
    run = scene.night.fire(job, at=NIGHT + dt.timedelta(days=days))
    scene.night.ended(job, run)
    return scene.night.report(job, run)


def status_of(scene: Scene, result: Result, directory: Path) -> list[dict[str, Any]]:
    """The snapshots that a copy tells of, by stock programs."""
    found: list[dict[str, Any]] = json.loads(plain_copy(scene, result, directory))["snapshots"]
    return found


def test_two_nights(scene: Scene, rds: Rds, tmp_path: Path) -> None:
    """Each kind is taken, complete, tagged and copied; the last night is kept, and nobody else's snapshot touched."""
    alone, boot, other = scene.volumes
    ec2, here = client(scene, "ec2"), scene.night.cloud.region
    foreign = ec2.create_snapshot(VolumeId=alone)["SnapshotId"]
    rds.client.create_db_snapshot(DBSnapshotIdentifier="made-by-hand", DBInstanceIdentifier="live-mariadb")
    first, last = (night(scene, "shots", day) for day in range(2))
    for report in (first, last):
        assert report.outcome is Outcome.STORED, report.model_dump_json(indent=1)
        assert [result.source for result in report.results] == list(SOURCES)
    left = {source: shots(scene, "shots", source) for source in SOURCES}
    assert {source: [region for _, region, *_ in found] for source, found in left.items()} == {
        "volume": [here, AWAY],
        "machine": [here, here],
        "database": [here, AWAY],
        "cluster": [here],
    }
    assert {(day, state) for found in left.values() for _, _, day, state in found} == {("2026-11-21", "complete")}
    told = {result.source: status_of(scene, result, tmp_path) for result in last.results}
    for source in SOURCES:
        assert {one["id"] for one in told[source]} == {id_ for id_, *_ in left[source]}
    assert sorted((one["of"], one["size_gib"]) for one in told["machine"]) == sorted([(boot, 8), (other, 5)])
    assert (told["volume"][0]["of"], told["volume"][1]["copy_of"]) == (alone, told["volume"][0]["id"])
    removed = [
        [name for record in report.pruned for name in record.removed if " in " in name] for report in (first, last)
    ]
    assert [len(names) for names in removed] == [0, 7]
    assert [one["SnapshotId"] for one in ec2.describe_snapshots(SnapshotIds=[foreign])["Snapshots"]] == [foreign]
    assert rds.client.describe_db_snapshots(DBSnapshotIdentifier="made-by-hand")["DBSnapshots"]


def begun(scene: Scene, run: str) -> list[Shot]:
    """Wait until the worker of this run waits for its snapshot."""
    day = f"{run[:4]}-{run[4:6]}-{run[6:8]}"

    def looked() -> list[Shot]:
        return [shot for shot in shots(scene, "shot", "volume") if shot[2] == day]

    return wait_for(looked, "no snapshot was begun")


def test_a_worker_killed_while_it_waits(scene: Scene, rds: Rds) -> None:
    """Its snapshot stays and counts for nothing; the report says so, and the next run stores."""
    with rds.fault("hold-snapshot"):
        run = scene.night.fire("shot", at=NIGHT)
        ((id_, region, day, state),) = begun(scene, run)
        assert state == "unfinished"
        end_the_worker(scene, run)
        execution = scene.night.ended("shot", run)
    (result,) = scene.night.report("shot", run).results
    assert (execution["status"], result.outcome) == ("FAILED", Outcome.FAILED)
    assert result.error.startswith("the worker was killed")
    assert [warning for warning in result.warnings if "tagged backups:state=unfinished" in warning]
    assert shots(scene, "shot", "volume") == [(id_, region, day, "unfinished")]

    report = night(scene, "shot", 1)
    assert report.outcome is Outcome.STORED, report.model_dump_json(indent=1)
    found = shots(scene, "shot", "volume")
    assert [shot for shot in found if shot[3] == "unfinished"] == [(id_, region, day, "unfinished")], "not two days old"
    assert len([shot for shot in found if shot[3] == "complete"]) == 2


def test_a_worker_told_to_stop_while_it_waits_deletes_what_it_began(scene: Scene, rds: Rds) -> None:
    before = shots(scene, "shot", "volume")
    with rds.fault("hold-snapshot"):
        run = scene.night.fire("shot", at=NIGHT + dt.timedelta(days=2))
        begun(scene, run)
        end_the_worker(scene, run, signal.SIGTERM)
        scene.night.ended("shot", run)
    (result,) = scene.night.report("shot", run).results
    assert (result.error, result.warnings) == ("stopped", ())
    assert shots(scene, "shot", "volume") == before


def test_no_role_can_delete_what_is_not_of_its_job(scene: Scene, rds: Rds) -> None:
    """A worker not even what it has finished itself; retention only what is tagged as of its job."""
    foreign = client(scene, "ec2").create_snapshot(VolumeId=scene.volumes[0])["SnapshotId"]
    complete = next(id_ for id_, region, _, state in shots(scene, "shot", "volume")
                    if state == "complete" and region == scene.night.cloud.region)  # fmt: skip
    functions = scene.night.cloud.client("lambda").list_functions()["Functions"]
    (retention,) = [one["Role"] for one in functions if one["Handler"] == "functions.retention.handler.handler"]
    definitions = scene.night.cloud.client("ecs").list_task_definitions()["taskDefinitionArns"]
    (definition,) = [arn for arn in definitions if "Backups-shot:" in arn]
    described = scene.night.cloud.client("ecs").describe_task_definition(taskDefinition=definition)
    worker = acting_as(scene, described["taskDefinition"]["taskRoleArn"])
    other = acting_as(scene, retention)
    for ec2, id_ in ((worker, foreign), (worker, complete), (other, foreign)):
        with pytest.raises(ec2.exceptions.ClientError, match="UnauthorizedOperation"):
            ec2.delete_snapshot(SnapshotId=id_)
    with pytest.raises(worker.exceptions.ClientError, match="UnauthorizedOperation"):
        worker.create_snapshot(VolumeId=scene.volumes[1])
    other.delete_snapshot(SnapshotId=complete)
