"""A whole night on one machine: a database, buckets and channels to talk to, and the real stack deployed beside them.

What the demo shows and the end-to-end tests look into.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from backups.cloud.state import State
from backups.errors import BackupsError
from backups.planning import run_id
from backups.records import RunReport
from local_cloud.client import ROOT, LocalCloud

STACK = "Backups"
WORKER_IMAGE = "container-assets"
_POLL_SECONDS = 0.1

T = TypeVar("T")


class NightError(BackupsError):
    """The stack could not be synthesized, or a run did not go as asked."""


@dataclass(frozen=True)
class Night:
    """A deployed stack in the embedded cloud."""

    cloud: LocalCloud
    outputs: Mapping[str, str]

    @property
    def state(self) -> State:
        """The stack's records."""
        return State(self.outputs["StateBucket"], self.cloud.client("s3"))

    def fire(self, job: str, *, at: dt.datetime | None = None) -> str:
        """What the schedule does at its time: its target starts a run. Returns the run's id; does not wait."""
        moment = at or dt.datetime.now(dt.UTC)
        self.cloud.fire_schedule(job, at=moment, group=STACK)
        return run_id(moment)

    def execution(self, job: str, run: str) -> dict[str, Any] | None:
        """The run's execution; None when there is none (yet)."""
        client = self.cloud.client("stepfunctions")
        arn = self.outputs["StateMachineArn"].replace(":stateMachine:", ":execution:")
        try:
            found: dict[str, Any] = client.describe_execution(executionArn=f"{arn}:{job}-{run}")
        except client.exceptions.ExecutionDoesNotExist:
            return None
        return found

    def begun(self, job: str, run: str, *, timeout: float = 60) -> dict[str, Any]:
        """Wait until the run's execution exists. Raises NightError after ``timeout`` seconds."""
        return until(lambda: self.execution(job, run), f"run {run} of {job} was not started", timeout)

    def ended(self, job: str, run: str, *, timeout: float = 300) -> dict[str, Any]:
        """Wait until the run's execution has ended, and return it. Raises NightError after ``timeout`` seconds."""

        def over() -> dict[str, Any] | None:
            found = self.execution(job, run)
            return found if found and found["status"] != "RUNNING" else None

        return until(over, f"run {run} of {job} did not end", timeout)

    def report(self, job: str, run: str) -> RunReport:
        """The report of an ended run. Raises NightError when there is none."""
        report = self.state.report(job, run)
        if report is None:
            raise NightError(f"run {run} of {job} left no report")
        return report

    def download(self, bucket: str, key: str, target: Path) -> None:
        """Fetch an object into a file."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self.cloud.client("s3").download_file(bucket, key, str(target))


@dataclass(frozen=True)
class Plan:
    """What to deploy."""

    jobs: Path
    """Directory of the job files."""
    buckets: Sequence[str]
    """Destination buckets: they are the user's own, not of the stack."""
    secrets: Mapping[str, Mapping[str, str]]
    """Secrets by name, each a JSON object."""
    context: Mapping[str, Any] = field(default_factory=dict)
    """More CDK context."""


def synthesize(plan: Plan, outdir: Path) -> Path:
    """Make the cloud assembly as ``cdk synth`` does, with functions for this machine's Python. Raises NightError."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    context = {
        "jobs": str(plan.jobs.resolve()),
        "stack_name": STACK,
        "architecture": "arm64" if os.uname().machine == "aarch64" else "x86_64",
        "bundle_python": version,
        "progress_seconds": 1,
        **plan.context,
    }
    # CDK's library leaves its temporary files when it is interrupted; here they go with the caller's directory.
    temporary = outdir.with_name(f"{outdir.name}-tmp")
    temporary.mkdir(exist_ok=True)
    environment = {
        **os.environ,
        "CDK_CONTEXT_JSON": json.dumps(context),
        "CDK_OUTDIR": str(outdir),
        "TMPDIR": str(temporary),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "infra.app"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        _, complaint = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)  # with the node process that it started
        process.wait()
        raise
    if process.returncode != 0:
        raise NightError(f"the stack could not be synthesized: {complaint.strip()[-3000:]}")
    return outdir


def worker_programs() -> dict[str, dict[str, Any]]:
    """The worker image's entry point, run from this checkout."""
    return {WORKER_IMAGE: {"argv": [sys.executable, "-m", "worker_image.main"], "directory": str(ROOT)}}


def deploy(cloud: LocalCloud, plan: Plan, assembly: Path) -> Night:
    """Make buckets and secrets, then deploy the assembly. Raises DeployError."""
    s3, secrets = cloud.client("s3"), cloud.client("secretsmanager")
    for bucket in plan.buckets:
        s3.create_bucket(Bucket=bucket)
    for name, content in plan.secrets.items():
        secrets.create_secret(Name=name, SecretString=json.dumps(content))
    return Night(cloud, cloud.deploy(assembly, STACK))


def until(what: Callable[[], T | None], complaint: str, timeout: float) -> T:
    """The first answer of ``what`` that is not None. Raises NightError after ``timeout`` seconds."""
    end = time.monotonic() + timeout
    while (answer := what()) is None:
        if time.monotonic() > end:
            raise NightError(f"{complaint} within {timeout:.0f} s")
        time.sleep(_POLL_SECONDS)
    return answer
