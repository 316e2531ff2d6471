"""The embedded cloud with a sample stack of every resource type that the project deploys."""

from __future__ import annotations

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from local_cloud.client import LocalCloud

SAMPLE = Path(__file__).resolve().parent.parent / "data" / "local_cloud"
WORKER = {"argv": [sys.executable, "-I", str(SAMPLE / "worker.py")]}

T = TypeVar("T")


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and that nobody collected yet does not."""
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def written(path: Path) -> bool:
    """Whether a file is there with something in it; a moment before, it is there and empty."""
    return path.exists() and path.stat().st_size > 0


def wait_for(what: Callable[[], T], message: str, seconds: float = 60) -> T:
    """The first true answer of ``what``; fails with the message when there is none in time."""
    end = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < end, message
        time.sleep(0.02)
    return answer


class Sample:
    """A cloud with the sample stack deployed, and short ways to use it."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.outputs = cloud.deploy(SAMPLE, "Sample")
        self._sfn = cloud.client("stepfunctions")

    def invoke(self, event: object, function: str = "Function") -> tuple[Any, str | None]:
        """A function's answer, and the kind of error when it failed."""
        answer = self.cloud.client("lambda").invoke(
            FunctionName=self.outputs[function], Payload=json.dumps(event).encode()
        )
        return json.loads(answer["Payload"].read()), answer.get("FunctionError")

    def machine(self, definition: dict[str, Any]) -> str:
        """A new state machine; where the definition says @Output@, the stack's output stands."""
        text = json.dumps(definition)
        for name, value in self.outputs.items():
            text = text.replace(f"@{name}@", value)
        name = f"machine-{uuid.uuid4().hex[:8]}"
        created = self._sfn.create_state_machine(name=name, definition=text, roleArn=self.outputs["MachineRole"])
        arn: str = created["stateMachineArn"]
        return arn

    def start(self, machine: str, data: object, name: str | None = None) -> str:
        """Start an execution."""
        named = {"name": name} if name else {}
        started = self._sfn.start_execution(stateMachineArn=machine, input=json.dumps(data), **named)
        arn: str = started["executionArn"]
        return arn

    def end(self, execution: str) -> dict[str, Any]:
        """Wait until an execution has ended."""

        def ended() -> dict[str, Any] | None:
            described: dict[str, Any] = self._sfn.describe_execution(executionArn=execution)
            return described if described["status"] != "RUNNING" else None

        return wait_for(ended, f"{execution} did not end") or {}

    def run(self, definition: dict[str, Any], data: object) -> dict[str, Any]:
        """Run a state machine once; the output is parsed when there is one."""
        ended = self.end(self.start(self.machine(definition), data))
        return {**ended, "output": json.loads(ended["output"])} if ended["status"] == "SUCCEEDED" else ended

    def run_task(self, **environment: str) -> str:
        """Start the worker's task with these variables."""
        variables = [{"name": name, "value": value} for name, value in environment.items()]
        started = self.cloud.client("ecs").run_task(
            cluster=self.outputs["Cluster"],
            taskDefinition=self.outputs["Task"],
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [self.outputs["Subnet"]]}},
            overrides={"containerOverrides": [{"name": "worker", "environment": variables}]},
        )
        arn: str = started["tasks"][0]["taskArn"]
        return arn

    def task(self, arn: str) -> dict[str, Any]:
        """What DescribeTasks says."""
        described: dict[str, Any] = self.cloud.client("ecs").describe_tasks(
            cluster=self.outputs["Cluster"], tasks=[arn]
        )["tasks"][0]
        return described

    def stopped(self, arn: str) -> dict[str, Any]:
        """Wait until a task is stopped."""
        return wait_for(
            lambda: described if (described := self.task(arn))["lastStatus"] == "STOPPED" else None,
            f"{arn} did not stop",
        ) or {}  # fmt: skip

    def messages(self, group: str) -> list[str]:
        """Every line in a log group, in order."""
        events = self.cloud.client("logs").filter_log_events(logGroupName=group)["events"]
        return [event["message"] for event in events]


@contextmanager
def sample_cloud(state_dir: Path) -> Iterator[Sample]:
    """Start the cloud and deploy the sample stack."""
    with LocalCloud(programs={"container-assets": WORKER}, state_dir=state_dir, wait_scale=0.1) as cloud:
        yield Sample(cloud)
