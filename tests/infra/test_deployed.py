"""The stack deployed to the embedded cloud, where every role may do what the template says and nothing else."""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from backups.cloud.orchestration import Started
from backups.cloud.state import State
from backups.records import Outcome, RunReport
from infra.app import build
from infra.bundle import ROOT
from local_cloud.client import LocalCloud
from tests.infra.conftest import CONTEXT
from tests.servers.local_cloud import wait_for
from tests.servers.slack import PATH, SlackServer, slack_server

pytestmark = pytest.mark.xdist_group("deployed")

PASSPHRASE = "planted: passphrase of the job"
REGION = "eu-central-1"


@dataclass
class Deployed:
    """The running stack."""

    cloud: LocalCloud
    outputs: dict[str, str]
    slack: SlackServer
    directory: Path

    @property
    def state(self) -> State:
        """Its records."""
        return State(self.outputs["StateBucket"], self.cloud.client("s3"))

    def schedule(self, time: str, **more: Any) -> Started:
        """What a schedule does."""
        event = {"job": "nightly", "scheduled_time": time, **more}
        answer = self.cloud.client("lambda").invoke(
            FunctionName=self.outputs["OrchestratorName"], Payload=json.dumps(event).encode()
        )
        return Started.model_validate_json(answer["Payload"].read())

    def by_hand(self, given: dict[str, Any]) -> str:
        """What a person does."""
        machine = self.outputs["StateMachineArn"]
        started = self.cloud.client("stepfunctions").start_execution(stateMachineArn=machine, input=json.dumps(given))
        return str(started["executionArn"])

    def ended(self, execution: str) -> dict[str, Any]:
        """How an execution ended, when it has."""
        client = self.cloud.client("stepfunctions")

        def look() -> dict[str, Any]:
            found: dict[str, Any] = client.describe_execution(executionArn=execution)
            return {} if found["status"] == "RUNNING" else found

        return wait_for(look, f"{execution} did not end", 120)

    def report(self, run: str) -> RunReport:
        """The report of a run."""
        found = self.state.report("nightly", run)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """One job with a folder that is there and one that is not, two buckets and a channel."""
    directory = tmp_path_factory.mktemp("deployed")
    job = {
        "hostname": "web1",
        "encryption": {"passphrase": "{{resolve:secretsmanager:nightly:SecretString:passphrase}}"},
        "compression": "zstd",
        "sources": [
            {"id": "data", "type": "folder", "path": str(directory / "data")},
            {"id": "gone", "type": "folder", "path": str(directory / "gone")},
            {"id": "endless", "type": "folder", "path": str(directory / "endless")},
        ],
        "destinations": [
            {"id": "main", "type": "s3", "bucket": "copies", "prefix": "team-a/", "retention_copies": 1},
            {"id": "far", "type": "s3", "bucket": "far-copies", "retention_copies": 1},
        ],
        "notifications": [{"id": "ops", "type": "slack", "url": "{{resolve:ssm-secure:/slack}}"}],
    }
    for name in ("data", "endless", "jobs", "bin"):
        (directory / name).mkdir()
    (directory / "data" / "file").write_text("content")
    (directory / "jobs" / "nightly.json").write_text(json.dumps(job))
    endless = directory / "bin" / "tar"
    endless.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) ;; *endless*) while :; do printf plain; sleep 0.1; done ;; esac\n'
        'PATH="${PATH#*:}" exec tar "$@"\n'
    )
    endless.chmod(0o755)
    context = {
        **CONTEXT,
        "jobs": str(directory / "jobs"),
        "bundle_python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "bundle_platform": f"{platform.machine()}-manylinux_2_28",
        "progress_seconds": 0.1,
    }
    build(context, outdir=str(directory / "assembly")).synth()
    program = {
        "argv": [sys.executable, "-m", "worker_image.main"],
        "environment": {"PYTHONPATH": str(ROOT), "PATH": f"{directory / 'bin'}:{os.environ['PATH']}"},
    }
    with (
        slack_server() as slack,
        LocalCloud(
            programs={"container-assets": program}, state_dir=directory / "cloud", region=REGION, wait_scale=0.01
        ) as cloud,
    ):
        outputs = cloud.deploy(directory / "assembly", "Backups")
        for bucket in ("copies", "far-copies"):
            cloud.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        secret = json.dumps({"passphrase": PASSPHRASE})
        cloud.client("secretsmanager").create_secret(Name="nightly", SecretString=secret)
        cloud.client("ssm").put_parameter(Name="/slack", Value=slack.url, Type="SecureString")
        yield Deployed(cloud, outputs, slack, directory)


def test_a_scheduled_run_stores_everywhere_once(deployed: Deployed) -> None:
    told = len(deployed.slack.messages)
    started = deployed.schedule("2026-11-20T02:30:00Z", sources=["data"])
    assert started.verdict == "run"
    assert deployed.ended(started.execution)["status"] == "SUCCEEDED"
    report = deployed.report(started.run)
    (result,) = report.results
    assert (report.outcome, [at.status for at in result.destinations]) == (Outcome.STORED, ["stored", "stored"])
    assert [(p.destination, p.kept, p.error) for p in report.pruned] == [("main", 1, ""), ("far", 1, "")]
    size = deployed.cloud.client("s3").head_object(Bucket="copies", Key=f"team-a/{result.key}")["ContentLength"]
    assert size == result.size
    again = deployed.schedule("2026-11-20T02:30:00Z", sources=["data"])
    assert (again.verdict, again.execution) == ("started before", started.execution)
    assert len(deployed.slack.messages) == told + 1


def test_retention_follows_the_next_run(deployed: Deployed) -> None:
    for day in ("21", "22"):
        started = deployed.schedule(f"2026-11-{day}T02:30:00Z", sources=["data"])
        assert deployed.ended(started.execution)["status"] == "SUCCEEDED"
    listed = deployed.cloud.client("s3").list_objects_v2(Bucket="copies")["Contents"]
    assert [item["Key"] for item in listed if not item["Key"].endswith(".json")] == [
        "team-a/web1/2026-11-22/data.tar.zst.gpg"
    ]


def test_a_source_that_fails_hurts_no_other(deployed: Deployed) -> None:
    execution = deployed.by_hand({"job": "nightly", "sources": ["data", "gone"]})
    ended = deployed.ended(execution)
    assert (ended["status"], ended["error"]) == ("FAILED", "BackupPartlyFailed")
    assert ended["cause"] == "1 of 2 sources not stored everywhere: gone"
    assert "gone" in deployed.slack.messages[-1]["text"]


def test_a_killed_worker_is_told_and_meanwhile_no_second_run_starts(deployed: Deployed) -> None:
    started = deployed.schedule("2026-11-25T02:30:00Z", sources=["endless"])
    wait_for(lambda: deployed.state.progress("nightly", started.run), "the worker did not begin")
    second = deployed.schedule("2026-11-25T02:31:00Z", sources=["data"])
    assert second.verdict == "skipped"
    assert deployed.ended(second.execution)["status"] == "SUCCEEDED"
    assert deployed.report(second.run).outcome is Outcome.SKIPPED
    for pid in workers(started.run):
        os.kill(pid, signal.SIGKILL)
    ended = deployed.ended(started.execution)
    assert (ended["status"], ended["error"]) == ("FAILED", "BackupFailed")
    (result,) = deployed.report(started.run).results
    assert result.error == "the worker was killed"
    assert "the worker was killed" in deployed.slack.messages[-1]["text"]
    assert deployed.report(started.run).pruned == ()


def test_a_job_that_nobody_deployed_fails_and_says_so(deployed: Deployed) -> None:
    ended = deployed.ended(deployed.by_hand({"job": "nope"}))
    assert (ended["status"], ended["error"], ended["cause"]) == (
        "FAILED",
        "BackupFailed",
        "no job 'nope' is deployed",
    )


def test_a_channel_that_refuses_ends_in_the_queue_and_changes_no_outcome(deployed: Deployed) -> None:
    deployed.cloud.client("ssm").put_parameter(
        Name="/slack", Value=f"{deployed.slack.url}-revoked", Type="SecureString", Overwrite=True
    )
    try:
        started = deployed.schedule("2026-11-26T02:30:00Z", sources=["data"])
        assert deployed.ended(started.execution)["status"] == "SUCCEEDED"
    finally:
        deployed.cloud.client("ssm").put_parameter(
            Name="/slack", Value=deployed.slack.url, Type="SecureString", Overwrite=True
        )
    assert [told.status for told in deployed.state.notified("nightly", started.run)] == ["failed"]
    received = deployed.cloud.client("sqs").receive_message(QueueUrl=deployed.outputs["DeadLetterQueue"])
    (message,) = received["Messages"]
    body = json.loads(message["Body"])
    assert (body["channel"], body["run"]) == ("ops", started.run)
    assert PATH not in message["Body"]


def test_no_secret_is_in_any_input_history_record_or_log(deployed: Deployed) -> None:
    started = deployed.schedule("2026-11-27T02:30:00Z", sources=["data", "gone"])
    deployed.ended(started.execution)
    seen = [
        json.dumps(
            deployed.cloud.client("stepfunctions").describe_execution(executionArn=started.execution), default=str
        )
    ]
    history = deployed.cloud.client("stepfunctions").get_execution_history(executionArn=started.execution)
    seen.append(json.dumps(history, default=str))
    s3 = deployed.cloud.client("s3")
    records = s3.list_objects_v2(Bucket=deployed.outputs["StateBucket"], Prefix=f"runs/nightly/{started.run}/")
    seen += [
        s3.get_object(Bucket=deployed.outputs["StateBucket"], Key=item["Key"])["Body"].read().decode()
        for item in records["Contents"]
    ]
    logs = deployed.cloud.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        seen += [event["message"] for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]]
    assert len(seen) > 20
    assert not [text for text in seen if PASSPHRASE in text or PATH in text]


def workers(run: str) -> list[int]:
    """Processes of this run's workers."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environment = (process / "environ").read_bytes().split(b"\0")
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if f"BACKUPS_RUN={run}".encode() in environment and b"worker_image.main" in command:
            found.append(int(process.name))
    return found
