"""The check of copies as it is deployed: from its schedule to the record, the metrics, the alarm and the message."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from backups.verification.status import Verification
from local_cloud.night import STACK, until
from tests.e2e.conftest import MAIN, PASSPHRASE, SECOND, Scene

pytestmark = pytest.mark.xdist_group("night")

HOST = "checked.example.org"
WHEN = dt.datetime(2026, 11, 20, 2, 30, tzinfo=dt.UTC)


def check(scene: Scene) -> tuple[dict[str, Any], Verification]:
    """What the schedule of the check does, to its end."""
    client = scene.night.cloud.client("stepfunctions")
    machine = scene.night.outputs["ChecksArn"]

    def executions() -> list[dict[str, Any]]:
        return list(client.list_executions(stateMachineArn=machine)["executions"])

    before = {one["executionArn"] for one in executions()}
    scene.night.cloud.fire_schedule("check.checked", group=STACK)
    begun = until(
        lambda: next((one for one in executions() if one["executionArn"] not in before), None), "no check began", 60
    )

    def over() -> dict[str, Any] | None:
        found: dict[str, Any] = client.describe_execution(executionArn=begun["executionArn"])
        return found if found["status"] != "RUNNING" else None

    ended = until(over, "the check did not end", 180)
    status = scene.night.state.verification("checked")
    assert status is not None, ended
    return ended, status


def metric(scene: Scene, name: str) -> float:
    """The highest value that was counted of the job."""
    now = dt.datetime.now(dt.UTC)
    found = scene.night.cloud.client("cloudwatch").get_metric_statistics(
        Namespace="Backups",
        MetricName=name,
        Dimensions=[{"Name": "job", "Value": "checked"}, {"Name": "service", "Value": "backups"}],
        StartTime=now - dt.timedelta(hours=1),
        EndTime=now + dt.timedelta(minutes=1),
        Period=3600,
        Statistics=["Maximum"],
    )
    return max((float(point["Maximum"]) for point in found["Datapoints"]), default=-1)


def told(scene: Scene) -> list[str]:
    """What the channel was told of the job's copies."""
    return [m["text"] for m in scene.slack.messages if HOST in m["text"] and "copy " in m["text"]]


def test_a_copy_that_is_damaged_in_its_bucket_rings(scene: Scene) -> None:
    s3 = scene.night.cloud.client("s3")
    run = scene.night.fire("checked", at=WHEN)
    assert scene.night.ended("checked", run)["status"] == "SUCCEEDED"
    (result,) = scene.night.report("checked", run).results

    ended, status = check(scene)
    assert ended["status"] == "SUCCEEDED", ended
    assert (status.copies, status.checked, status.good, status.going) == (2, 2, True, False)
    assert metric(scene, "CopiesVerified") == 2
    assert metric(scene, "CopiesDamaged") == 0
    assert told(scene) == []

    content = bytearray(s3.get_object(Bucket=SECOND, Key=result.key)["Body"].read())
    content[len(content) // 2] ^= 1
    s3.put_object(Bucket=SECOND, Key=result.key, Body=bytes(content))
    ended, status = check(scene)
    assert (ended["status"], ended["error"]) == ("FAILED", "CheckFailed")
    assert (status.damaged, status.missing, status.unreadable) == (1, 0, 0)
    (bad,) = status.bad
    assert (bad.key, bad.destination, bad.status) == (result.key, "second", "damaged")
    assert metric(scene, "CopiesDamaged") == 1
    alarms = {alarm["MetricName"] for alarm in _alarms(scene) if "checked" in json.dumps(alarm["Dimensions"])}
    assert {"CopiesDamaged", "CopiesUnreadable", "HoursUnverified"} <= alarms
    message = until(lambda: next(iter(told(scene)), None), "nobody was told", 60)
    assert f"copy {result.key} of 'files' at 'second' is damaged" in message

    # A second look tells nothing new, and a copy that is gone is no longer damaged but missing.
    s3.delete_object(Bucket=SECOND, Key=result.key)
    ended, status = check(scene)
    assert (ended["status"], status.damaged, status.missing) == ("FAILED", 0, 1)
    until(lambda: next((m for m in told(scene) if "is missing" in m), None), "nobody was told", 60)
    body = s3.get_object(Bucket=MAIN, Key=result.key)["Body"].read()
    manifest = f"{result.key}.manifest.json"
    for key, data in ((result.key, body), (manifest, s3.get_object(Bucket=MAIN, Key=manifest)["Body"].read())):
        s3.put_object(Bucket=SECOND, Key=key, Body=data)
    ended, status = check(scene)
    assert (ended["status"], status.good) == ("SUCCEEDED", True), status.model_dump_json(indent=1)


def test_the_check_can_only_read_copies_and_leaves_no_secret(scene: Scene) -> None:
    client = scene.night.cloud.client("ecs")
    input_ = scene.night.cloud.client("scheduler").get_schedule(Name="check.checked", GroupName=STACK)["Target"][
        "Input"
    ]
    assert PASSPHRASE not in input_ and "{{resolve" not in input_
    role = json.loads(input_)["role"].rpartition("/")[2]
    iam = scene.night.cloud.client("iam")
    (name,) = iam.list_role_policies(RoleName=role)["PolicyNames"]
    document = iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"]
    statements = (document if isinstance(document, dict) else json.loads(document))["Statement"]
    written = [s for s in statements if "s3:PutObject" in json.dumps(s["Action"])]
    assert len(written) == 1 and "/verification/checked" in json.dumps(written[0]["Resource"])
    assert "Delete" not in json.dumps(statements)
    assert client.list_task_definition_families(familyPrefix=f"{STACK}-checked")["families"]


def _alarms(scene: Scene) -> list[dict[str, Any]]:
    return list(scene.night.cloud.client("cloudwatch").describe_alarms(MaxRecords=100)["MetricAlarms"])
