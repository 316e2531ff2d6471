"""Tasks in the embedded cloud: environment, secrets, logs, exit codes, and how they are stopped."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.servers.local_cloud import Sample, alive, wait_for, written


def _processes(report: Path) -> list[int]:
    wait_for(lambda: written(report), "the worker did not start")
    pids: list[int] = json.loads(report.read_text())
    return pids


def test_a_container_has_exactly_its_environment(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_TEST", "secret")
    report = tmp_path / "report"
    stopped = sample.stopped(sample.run_task(ACTION="environment", REPORT=str(report), EXTRA="a b\n'ü"))
    assert [one["exitCode"] for one in stopped["containers"]] == [0]
    seen = json.loads(report.read_text())
    variables = seen["environment"]
    assert variables.pop("HOME") == variables.pop("TMPDIR") == seen["directory"]
    endpoint = sample.cloud.endpoint
    assert variables.pop("AWS_CONTAINER_CREDENTIALS_FULL_URI").startswith(f"{endpoint}/v2/credentials/")
    assert variables.pop("AWS_CONTAINER_AUTHORIZATION_TOKEN")
    assert variables.pop("ECS_CONTAINER_METADATA_URI_V4").startswith(f"{endpoint}/v4/")
    for name in ("PATH", "LANG", "LC_ALL", "LC_CTYPE"):
        variables.pop(name, None)
    assert variables == {
        "ACTION": "environment",
        "EXTRA": "a b\n'ü",
        "REPORT": str(report),
        "STATE_BUCKET": sample.outputs["StateBucket"],
        "PASSWORD": "from the store",
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    assert seen["argv"][1:] == ["--fixed"]
    assert seen["stdin"] == ""
    wait_for(lambda: not Path(seen["directory"]).exists(), "the container's temporary directory is still there")


def test_the_tasks_role_decides_what_the_worker_may(sample: Sample, tmp_path: Path) -> None:
    report = tmp_path / "report"
    sample.stopped(sample.run_task(ACTION="environment", REPORT=str(report)))
    address = json.loads(report.read_text())["environment"]["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    s3 = _as_container(address, sample)
    bucket = sample.outputs["StateBucket"]
    s3.put_object(Bucket=bucket, Key="copies/one", Body=b"x")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket=bucket, Key="elsewhere", Body=b"x")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=bucket, Key="copies/one")
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.get_object(Bucket=bucket, Key="copies/one")


def _as_container(address: str, sample: Sample) -> Any:
    with urllib.request.urlopen(address) as answer:
        document = json.loads(answer.read())
    return boto3.Session().client(
        "s3",
        endpoint_url=sample.cloud.endpoint,
        region_name="us-east-1",
        aws_access_key_id=document["AccessKeyId"],
        aws_secret_access_key=document["SecretAccessKey"],
        aws_session_token=document["Token"],
    )


def test_an_exit_status_is_reported(sample: Sample) -> None:
    stopped = sample.stopped(sample.run_task(ACTION="fail", STATUS="3"))
    assert stopped["containers"][0]["exitCode"] == 3
    assert stopped["stopCode"] == "EssentialContainerExited"


def test_output_is_in_the_tasks_log_group_when_it_has_stopped(sample: Sample) -> None:
    arn = sample.run_task(ACTION="fail")
    sample.stopped(arn)
    stream = f"worker/worker/{arn.rpartition('/')[2]}"
    events = sample.cloud.client("logs").get_log_events(
        logGroupName=sample.outputs["WorkerLogs"], logStreamName=stream, startFromHead=True
    )["events"]
    assert [event["message"] for event in events] == ["worker: fail", "worker: it failed"]


def test_a_killed_worker_is_noticed_with_its_children(sample: Sample, tmp_path: Path) -> None:
    arn = sample.run_task(ACTION="hang", REPORT=str(tmp_path / "report"))
    worker, child = _processes(tmp_path / "report")
    assert {worker, child} <= set(sample.cloud.task_processes(arn))
    os.kill(worker, signal.SIGKILL)
    assert sample.stopped(arn)["containers"][0]["exitCode"] == 137
    assert not alive(child)
    assert sample.cloud.task_processes(arn) == []
    records = sample.cloud.state_dir / "tasks" / arn.rpartition("/")[2]
    wait_for(lambda: not [*records.glob("*.pid")], "the record of a process that ended names another one some day")


@pytest.mark.parametrize(("action", "status"), [("hang", 143), ("stubborn", 137)])
def test_stop_task_waits_for_the_stop_timeout(sample: Sample, tmp_path: Path, action: str, status: int) -> None:
    arn = sample.run_task(ACTION=action, REPORT=str(tmp_path / "report"))
    processes = _processes(tmp_path / "report")
    wait_for(lambda: sample.task(arn)["lastStatus"] == "RUNNING", "the task did not run")
    sample.cloud.client("ecs").stop_task(cluster=sample.outputs["Cluster"], task=arn, reason="enough")
    stopped = sample.stopped(arn)
    assert stopped["containers"][0]["exitCode"] == status
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "enough")
    assert not [pid for pid in processes if alive(pid)]


def test_an_image_that_no_program_stands_for_does_not_start(sample: Sample) -> None:
    ecs = sample.cloud.client("ecs")
    ecs.register_task_definition(
        family="unknown", containerDefinitions=[{"name": "other", "image": "registry.example/other:1", "memory": 64}]
    )
    started = ecs.run_task(cluster=sample.outputs["Cluster"], taskDefinition="unknown")
    stopped = sample.stopped(started["tasks"][0]["taskArn"])
    assert stopped["stopCode"] == "TaskFailedToStart"
    assert "no local program for image registry.example/other:1" in stopped["stoppedReason"]


def test_a_container_takes_the_others_of_its_task_with_it(sample: Sample, tmp_path: Path) -> None:
    ecs = sample.cloud.client("ecs")
    image = "registry.example/container-assets:1"

    def container(name: str, **environment: str) -> dict[str, object]:
        variables = [{"name": key, "value": value} for key, value in environment.items()]
        return {"name": name, "image": image, "memory": 64, "essential": True, "environment": variables}

    report = tmp_path / "report"
    ecs.register_task_definition(
        family="pair",
        containerDefinitions=[
            container("lasting", ACTION="hang", REPORT=str(report)),
            container("brief", ACTION="fail"),
        ],
    )
    started = ecs.run_task(cluster=sample.outputs["Cluster"], taskDefinition="pair")["tasks"][0]["taskArn"]
    sample.stopped(started)
    wait_for(lambda: not sample.cloud.task_processes(started), "the other container was left running")
