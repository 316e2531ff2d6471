"""The check of copies as it is deployed: from its schedule to the record, the metrics, the alarm and the message."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
from typing import Any

import pytest

from backups.verification.status import Verification
from local_cloud.night import STACK, until
from tests.e2e.conftest import MAIN, PASSPHRASE, SECOND, Scene
from tests.servers.faulty_proxy import Fault

pytestmark = pytest.mark.xdist_group("night")

HOST = "checked.example.org"
WHEN = dt.datetime(2026, 11, 20, 2, 30, tzinfo=dt.UTC)


def begun(scene: Scene) -> str:
    """The execution that the schedule of the check starts."""
    client, machine = scene.night.cloud.client("stepfunctions"), scene.night.outputs["ChecksArn"]

    def executions() -> set[str]:
        return {one["executionArn"] for one in client.list_executions(stateMachineArn=machine)["executions"]}

    before = executions()
    scene.night.cloud.fire_schedule("check.checked", group=STACK)
    (arn,) = until(lambda: executions() - before, "no check began", 60)
    return arn


def over(scene: Scene, arn: str) -> tuple[dict[str, Any], Verification]:
    """How an execution has ended, and how the copies stand."""

    def ended() -> dict[str, Any] | None:
        found: dict[str, Any] = scene.night.cloud.client("stepfunctions").describe_execution(executionArn=arn)
        return found if found["status"] != "RUNNING" else None

    found = until(ended, "the check did not end", 180)
    status = scene.night.state.verification("checked")
    assert status is not None, found
    return found, status


def check(scene: Scene) -> tuple[dict[str, Any], Verification]:
    """What the schedule of the check does, to its end."""
    return over(scene, begun(scene))


def kill(scene: Scene, arn: str) -> None:
    """kill -9 of a check's process, as the kernel does when memory runs out."""
    client, cluster = scene.night.cloud.client("ecs"), scene.night.outputs["Cluster"]
    mine = {"name": "BACKUPS_CHECK", "value": arn.rpartition(":")[2]}

    def process() -> int | None:
        arns = client.list_tasks(cluster=cluster)["taskArns"]
        tasks = client.describe_tasks(cluster=cluster, tasks=arns)["tasks"] if arns else []
        for task in tasks:
            if mine in task["overrides"]["containerOverrides"][0]["environment"]:
                return next(iter(scene.night.cloud.task_processes(task["taskArn"])), None)
        return None

    os.kill(until(process, "the check has no process", 60), signal.SIGKILL)


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


def told(scene: Scene, what: str) -> list[str]:
    """What the channel was told of the job's copies."""
    return [m["text"] for m in scene.slack.messages if HOST in m["text"] and what in m["text"]]


def ringing(scene: Scene) -> set[tuple[str, str]]:
    """Alarms of jobs and of the state machine of checks that ring: what each watches, and of whom."""
    pages = scene.night.cloud.client("cloudwatch").get_paginator("describe_alarms").paginate(StateValue="ALARM")
    return {
        (alarm["MetricName"], one["Value"])
        for page in pages
        for alarm in page["MetricAlarms"]
        for one in alarm["Dimensions"]
        if one["Name"] == "job" or one["Value"] == scene.night.outputs["ChecksArn"]
    }


def test_a_copy_that_is_damaged_in_its_bucket_rings_and_so_does_a_check_that_is_killed(scene: Scene) -> None:
    s3 = scene.night.cloud.client("s3")
    run = scene.night.fire("checked", at=WHEN)
    assert scene.night.ended("checked", run)["status"] == "SUCCEEDED"
    (result,) = scene.night.report("checked", run).results

    ended, status = check(scene)
    assert ended["status"] == "SUCCEEDED", ended
    assert (status.copies, status.checked, status.good, status.going) == (2, 2, True, False)
    assert metric(scene, "CopiesVerified") == 2
    assert metric(scene, "CopiesDamaged") == 0
    assert told(scene, "copy ") == []
    assert not [name for name, whose in ringing(scene) if whose == "checked" or "Executions" in name]

    content = bytearray(s3.get_object(Bucket=SECOND, Key=result.key)["Body"].read())
    content[len(content) // 2] ^= 1
    s3.put_object(Bucket=SECOND, Key=result.key, Body=bytes(content))
    ended, status = check(scene)
    assert (ended["status"], ended["error"]) == ("FAILED", "CheckFailed")
    assert (status.damaged, status.missing, status.unreadable) == (1, 0, 0)
    (bad,) = status.bad
    assert (bad.key, bad.destination, bad.status) == (result.key, "second", "damaged")
    assert metric(scene, "CopiesDamaged") == 1
    assert {name for name, whose in ringing(scene) if whose == "checked"} == {"CopiesDamaged"}
    assert ("ExecutionsFailed", scene.night.outputs["ChecksArn"]) in ringing(scene)
    message = until(lambda: next(iter(told(scene, "copy ")), None), "nobody was told", 60)
    assert f"copy {result.key} of 'files' at 'second' is damaged" in message

    # What is put in the place of the damaged one is read at once, and the check dies in the middle of that.
    body = s3.get_object(Bucket=MAIN, Key=result.key)["Body"].read()
    manifest = f"{result.key}.manifest.json"
    for key, data in ((result.key, body), (manifest, s3.get_object(Bucket=MAIN, Key=manifest)["Body"].read())):
        s3.put_object(Bucket=SECOND, Key=key, Body=data)
    stall = scene.proxy.add(Fault(rf"^GET /{SECOND}/\S+\.gpg[ ?]", stall=True))
    arn = begun(scene)
    assert stall.stalled.wait(120), "the copy was never read"
    kill(scene, arn)
    scene.proxy.heal()
    ended, status = over(scene, arn)
    assert (ended["status"], ended["error"]) == ("FAILED", "CheckFailed")
    assert (status.going, status.checked, status.copies, status.damaged) == (True, 0, 2, 0)
    assert status.execution == arn.rpartition(":")[2]
    ledgers = {ledger.destination: ledger for ledger in scene.night.state.ledgers("checked")}
    assert {id_: bool(ledger.copies[result.key].checked) for id_, ledger in ledgers.items()} == {
        "main": True,
        "second": False,
    }
    until(lambda: told(scene, "the last check of the copies was not whole: it was killed"), "nobody was told", 60)

    lease = scene.night.state.lease("checked")
    assert lease and not lease[0].over
    # The next one would watch it for two minutes.
    assert scene.night.state.put_lease("checked", lease[0].model_copy(update={"over": True}), lease[1])
    ended, status = check(scene)
    assert (ended["status"], status.good, status.checked) == ("SUCCEEDED", True, 1), status.model_dump_json(indent=1)


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
