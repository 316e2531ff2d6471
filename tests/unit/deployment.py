"""A deployed stack without its processes: bucket, parameter, queue and state machine, in moto."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from moto import mock_aws

from backups.cloud.orchestration import Cloud, ObjectPointer
from backups.cloud.state import State
from tests.jobs import job_data

REGION = "eu-central-1"
JOB = "nightly"
ASSETS = "assets"
PARAMETERS = "/Backups/jobs/"


@dataclass(frozen=True)
class Deployment:
    """What tests ask of the stack."""

    cloud: Cloud

    @property
    def state(self) -> State:
        """Its records."""
        return self.cloud.state

    def deploy(self, data: Mapping[str, Any], name: str = JOB, *, concurrency: int = 4) -> ObjectPointer:
        """Deploy a job file, whatever is in it."""
        key = f"{name}-hash.json"
        boto3.client("s3").put_object(Bucket=ASSETS, Key=key, Body=json.dumps(data).encode())
        value = {"job_file": {"bucket": ASSETS, "key": key}, "task_definition": "task:1", "concurrency": concurrency}
        boto3.client("ssm").put_parameter(Name=f"{PARAMETERS}{name}", Value=json.dumps(value), Type="String")
        return ObjectPointer(bucket=ASSETS, key=key)

    def sent(self) -> list[dict[str, Any]]:
        """Messages that were handed to the state machine which sends them."""
        client = boto3.client("stepfunctions")
        found = client.list_executions(stateMachineArn=self.cloud.messages)["executions"]
        return [message for execution in found for message in self.input_of(execution["executionArn"])["channels"]]

    def begin(self, name: str, given: object) -> str:
        """An execution that runs until it is stopped; returns its ARN."""
        machine = self.cloud.state_machine
        started = boto3.client("stepfunctions").start_execution(
            stateMachineArn=machine, name=name, input=json.dumps(given)
        )
        return started["executionArn"]

    def input_of(self, arn: str) -> dict[str, Any]:
        """What an execution was started with."""
        return dict(json.loads(boto3.client("stepfunctions").describe_execution(executionArn=arn)["input"]))

    def executions(self) -> list[str]:
        """Names of all executions."""
        found = boto3.client("stepfunctions").list_executions(stateMachineArn=self.cloud.state_machine)
        return sorted(execution["name"] for execution in found["executions"])


@contextmanager
def deployment() -> Iterator[Deployment]:
    """A stack whose account is empty but for one job."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        for bucket in ("state", ASSETS):
            boto3.client("s3").create_bucket(
                Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
            )
        machine, messages = (
            boto3.client("stepfunctions").create_state_machine(
                name=name, definition="{}", roleArn="arn:aws:iam::123456789012:role/run"
            )["stateMachineArn"]
            for name in ("Backups-run", "Backups-messages")
        )
        made = Deployment(Cloud(State("state"), parameters=PARAMETERS, state_machine=machine, messages=messages))
        made.deploy(job_data(hostname="web1"))
        yield made
