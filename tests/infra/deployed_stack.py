"""The stack in the embedded cloud, with what stands around it, for every test that looks at a running stack."""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backups.cloud.orchestration import Started
from backups.cloud.state import State
from backups.records import RunReport
from infra.app import build
from infra.bundle import ROOT
from local_cloud.client import LocalCloud
from local_cloud.hosts import Host
from tests.infra.conftest import CONTEXT
from tests.servers.local_cloud import wait_for
from tests.servers.sink import Answer, Request, Sink, sink
from tests.servers.slack import SlackServer, slack_server

PASSPHRASE = "planted: passphrase of the job"
HOOK_TOKEN = "hook-t0ken-planted-77"
HOOK_KEY = "planted key of the hook's signature"
PING_TOKEN = "ping-t0ken-planted-77"
SLOW_TOKEN = "slow-t0ken-planted-77"
FLAG_KEY = "flags/it's fine.ok"
REGION = "eu-central-1"
HOST = "mi-0123456789abcdef0"
CROWD = "crowd"


@dataclass
class Deployed:
    """The running stack."""

    cloud: LocalCloud
    outputs: dict[str, str]
    slack: SlackServer
    services: Sink
    """Takes pings below ``/ping``, and unless they are closed hooks below ``/hook`` and ``/slow``, which else hang."""
    directory: Path
    hooks: threading.Event
    """Set while hooks are taken."""
    host: Host
    """Has a flag file."""

    @property
    def state(self) -> State:
        """Its records."""
        return State(self.outputs["StateBucket"], self.cloud.client("s3"))

    def schedule(self, time: str, job: str = "nightly", **more: Any) -> Started:
        """What a schedule does."""
        event = {"job": job, "scheduled_time": time, **more}
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

    def report(self, run: str, job: str = "nightly") -> RunReport:
        """The report of a run."""
        found = self.state.report(job, run)
        assert found is not None
        return found


@contextmanager
def deployed_stack(directory: Path) -> Iterator[Deployed]:
    """Jobs: one with a folder that is there and one that is not, two buckets and a channel; one with channels of all
    kinds; one with flag files and a channel that hangs; one whose bucket holds thousands of copies.
    """
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
    (directory / "jobs" / "loud.json").write_text(json.dumps({**job, **_loud()}))
    flag = directory / "cloud" / "hosts" / HOST / "it's fine.ok"
    (directory / "jobs" / "flags.json").write_text(json.dumps({**job, **_flags(flag)}))
    (directory / "jobs" / "crowded.json").write_text(json.dumps({**job, **_crowded()}))
    objects = directory / "objects.tsv"
    objects.write_text("".join(f"{CROWD}\t{key}\t9\n" for copy in crowd() for key in (copy, f"{copy}.manifest.json")))
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
        "retention_objects": 1000,
    }
    build(context, outdir=str(directory / "assembly")).synth()
    program = {
        "argv": [sys.executable, "-m", "worker_image.main"],
        "environment": {"PYTHONPATH": str(ROOT), "PATH": f"{directory / 'bin'}:{os.environ['PATH']}"},
    }
    hooks = threading.Event()
    with (
        slack_server() as slack,
        sink(lambda request: _judged(request, hooks)) as services,
        LocalCloud(
            programs={"container-assets": program},
            state_dir=directory / "cloud",
            region=REGION,
            wait_scale=0.01,
            objects=objects,
        ) as cloud,
    ):
        outputs = cloud.deploy(directory / "assembly", "Backups")
        for bucket in ("copies", "far-copies", CROWD):
            cloud.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
        secret = {
            "passphrase": PASSPHRASE,
            "hook": f"{services.base}/hook/{HOOK_TOKEN}",
            "hook_key": HOOK_KEY,
            "ping": f"{services.base}/ping/{PING_TOKEN}",
            "slow": f"{services.base}/slow/{SLOW_TOKEN}",
        }
        cloud.client("secretsmanager").create_secret(Name="nightly", SecretString=json.dumps(secret))
        cloud.client("ssm").put_parameter(Name="/slack", Value=slack.url, Type="SecureString")
        host = cloud.host(HOST, tags={"Role": "web"})
        yield Deployed(cloud, outputs, slack, services, directory, hooks, host)


def _resolved(key: str) -> str:
    return f"{{{{resolve:secretsmanager:nightly:SecretString:{key}}}}}"


def _flags(on_host: Path) -> dict[str, Any]:
    """What a job has that old monitoring looks at, with a service that went bad."""
    return {
        "hostname": "flags1",
        "destinations": [{"id": "main", "type": "s3", "bucket": "copies", "prefix": "team-c/"}],
        "notifications": [
            {"id": "slow", "type": "webhook", "url": _resolved("slow"), "secret": _resolved("hook_key")},
            {"id": "on-host", "type": "flagfile", "host": "tag:Role=web", "flagfile": str(on_host)},
            {"id": "in-bucket", "type": "flagfile", "bucket": "far-copies", "filename": FLAG_KEY},
            {"id": "ops", "type": "slack", "url": "{{resolve:ssm-secure:/slack}}"},
        ],
    }


def _loud() -> dict[str, Any]:
    """What another job has in other words."""
    return {
        "hostname": "loud1",
        "schedule": "30 4 * * *",
        "destinations": [{"id": "main", "type": "s3", "bucket": "copies", "prefix": "team-b/"}],
        "notifications": [
            {"id": "hook", "type": "webhook", "url": _resolved("hook"), "secret": _resolved("hook_key")},
            {"id": "ping", "type": "healthchecks", "ping_url": _resolved("ping")},
            {"id": "ops", "type": "slack", "url": "{{resolve:ssm-secure:/slack}}"},
        ],
    }


def crowd() -> list[str]:
    """Keys of the copies that the third job finds, of one source and each day, the newest last."""
    days = (dt.date(2019, 1, 1) + dt.timedelta(days=number) for number in range(2500))
    return [f"crowd1/{day}/data.tar.zst.gpg" for day in days]


def _crowded() -> dict[str, Any]:
    """What the third job has in other words."""
    rules = {"keep_last": 3, "keep_yearly": 5}
    return {
        "hostname": "crowd1",
        "destinations": [{"id": "main", "type": "s3", "bucket": CROWD, "retention": rules}],
        "notifications": [],
    }


def _judged(request: Request, hooks: threading.Event) -> Answer:
    if request.path.startswith("/ping/"):
        return Answer(200, "OK")
    if request.path.startswith("/slow/") and not hooks.is_set():
        return Answer(200, hang=True)
    return Answer(200, "OK") if hooks.is_set() else Answer(404, f"no hook at {request.path}")


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
