"""Starts an embedded cloud, deploys to it, and ends it: the side that runs in the project's own environment."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import boto3
from botocore.config import Config

from backups.errors import BackupsError
from local_cloud.assembly import Deployer
from local_cloud.hosts import ONLINE, Host, make_host
from local_cloud.sandbox import descendants
from local_cloud.server import READY
from local_cloud.settings import ACCOUNT

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60.0
STOP_SECONDS = 20.0

ProgramMap = Mapping[str, Mapping[str, Any]]
"""Image pattern (searched for in the image's address and the container's name) -> argv, directory, environment."""


class LocalCloudError(BackupsError):
    """The embedded cloud could not be started, or something in it can't be done."""


class LocalCloud:
    """A running embedded cloud, empty at first. Ends with the ``with`` block, or with this process at the latest.

    ``programs`` says what runs in the place of which container image, ``state_dir`` holds logs and unpacked code (a
    second start with the same one is faster), ``enforce_iam`` checks permissions, ``wait_scale`` multiplies the
    pauses of Wait states and before retries, ``objects`` is a file of what buckets hold as soon as they are made: lines
    of bucket, key and size, with tabs between.
    Raises LocalCloudError when it can't start; the message holds the end of the server's log.
    """

    def __init__(
        self,
        *,
        programs: ProgramMap,
        state_dir: Path,
        region: str = "us-east-1",
        enforce_iam: bool = True,
        wait_scale: float = 1.0,
        objects: Path | None = None,
    ) -> None:
        self.region = region
        self.account = ACCOUNT
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.state_dir = state_dir.resolve()
        self._log = self.state_dir / "server.log"
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        table = self.state_dir / "programs.json"
        table.write_text(json.dumps(programs))
        options = ["--wait-scale", str(wait_scale), *([] if enforce_iam else ["--no-iam"])]
        options += ["--objects", str(objects)] if objects else []
        self._process = self._start(table, options)
        try:
            self.endpoint = self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def _start(self, table: Path, options: list[str]) -> subprocess.Popen[str]:
        python = ROOT / ".venv-cloud" / "bin" / "python"
        if not python.exists():
            raise LocalCloudError(f"{python} does not exist", hint="run scripts/setup")
        environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
        with self._log.open("a") as log:
            return subprocess.Popen(
                [
                    str(python),
                    *("-m", "local_cloud", "--watch-parent"),
                    *options,
                    *("--region", self.region),
                    *("--programs", str(table)),
                    *("--state-dir", str(self.state_dir)),
                    *("--lambda-python", str(ROOT / ".venv-lambda" / "bin" / "python")),
                ],
                env=environment,
                cwd=ROOT,
                # The server ends when this pipe does, however this process ends.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                # Ctrl-C is for this process, which then ends the server in order.
                start_new_session=True,
            )

    def _wait_until_ready(self) -> str:
        assert self._process.stdout is not None
        timer = threading.Timer(START_SECONDS, self._process.kill)
        timer.daemon = True
        timer.start()
        try:
            for line in self._process.stdout:
                if line.startswith(READY):
                    return line.removeprefix(READY).strip()
        finally:
            timer.cancel()
        self._process.wait()
        raise LocalCloudError(f"the embedded cloud did not start: {self.log_tail()}", hint=f"its log is {self._log}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def log_tail(self, lines: int = 25) -> str:
        """The end of the server's log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def environment(self) -> dict[str, str]:
        """What another process needs to use this cloud through boto3 or the command line."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            # MiniStack's name for the account's root user, who may do anything.
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str) -> Any:
        """boto3's client of one service, such as ``stepfunctions``."""
        with self._lock:
            if service not in self._clients:
                variables = self.environment()
                self._clients[service] = boto3.Session(region_name=self.region).client(  # type: ignore[call-overload]
                    service,
                    endpoint_url=self.endpoint,
                    aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
                    aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
                    config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
                )
            return self._clients[service]

    def deploy(self, assembly: Path, stack: str, *, timeout: float = 120.0) -> dict[str, str]:
        """Publish a synthesized stack's assets, create or update it, and answer its outputs.

        ``assembly`` is CDK's output directory, ``timeout`` is in seconds. Raises DeployError with every failed
        resource and its reason.
        """
        return Deployer(self.client, account=self.account, region=self.region).deploy(assembly, stack, timeout)

    def fire_schedule(self, name: str, *, at: datetime | None = None, group: str = "default") -> None:
        """What EventBridge Scheduler does at a scheduled time (now, or ``at``): invoke the target asynchronously.

        Raises LocalCloudError for a disabled schedule, or a target other than a function or a state machine.
        """
        schedule = self.client("scheduler").get_schedule(Name=name, GroupName=group)
        if schedule.get("State", "ENABLED") != "ENABLED":
            raise LocalCloudError(f"the schedule {name} is disabled")
        target = schedule["Target"]
        moment = (at or datetime.now(UTC)).astimezone(UTC)
        payload = target.get("Input", "{}")
        for attribute, value in {
            "<aws.scheduler.schedule-arn>": schedule["Arn"],
            "<aws.scheduler.scheduled-time>": moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "<aws.scheduler.execution-id>": str(uuid4()),
            "<aws.scheduler.attempt-number>": "1",
        }.items():
            payload = payload.replace(attribute, value)
        service = target["Arn"].split(":")[2]
        if service == "lambda":
            self.client("lambda").invoke(FunctionName=target["Arn"], InvocationType="Event", Payload=payload.encode())
        elif service == "states":
            self.client("stepfunctions").start_execution(stateMachineArn=target["Arn"], input=payload)
        else:
            raise LocalCloudError(f"the schedule {name} has the target {target['Arn']}, which can't be fired here")

    def task_processes(self, task_arn: str) -> list[int]:
        """The process ids of a task's programs and their children, outermost first; empty when it has ended."""
        found: list[int] = []
        for record in sorted((self.state_dir / "tasks" / task_arn.rpartition("/")[2]).glob("*.pid")):
            with contextlib.suppress(FileNotFoundError):  # it ended just now
                found += descendants(int(record.read_text()))
        return found

    def host(self, id_: str, *, tags: Mapping[str, str] | None = None, ping: str = ONLINE) -> Host:
        """Make a host with an SSM agent, or change what is said of it; its directory holds what it leaves."""
        return make_host(self.state_dir, id_, dict(tags or {}), ping)

    def host_processes(self, id_: str) -> list[int]:
        """The process ids of what runs on a host, outermost first."""
        found: list[int] = []
        for record in sorted((self.state_dir / "hosts" / id_ / "commands").glob("*.pid")):
            with contextlib.suppress(FileNotFoundError, ValueError):  # it ended, or begins, just now
                found += descendants(int(record.read_text()))
        return found

    def close(self) -> None:
        """End the cloud with all its processes; it is safe to call twice."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream:
                with contextlib.suppress(OSError):
                    stream.close()
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            sys.stderr.write("the embedded cloud had to be killed\n")
