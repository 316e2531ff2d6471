"""Deploying a cloud assembly to the embedded cloud, and firing its schedules."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from local_cloud.assembly import DeployError
from local_cloud.client import LocalCloud, LocalCloudError
from tests.servers.local_cloud import SAMPLE, Sample, wait_for

Change = Callable[[dict[str, Any]], None]


def _changed(directory: Path, change: Change) -> Path:
    """A copy of the sample's assembly with another template."""
    shutil.copytree(SAMPLE, directory)
    path = directory / "Sample.template.json"
    template = json.loads(path.read_text())
    change(template)
    path.write_text(json.dumps(template))
    return directory


def test_what_the_template_says_of_buckets_is_there(sample: Sample) -> None:
    s3, bucket = sample.cloud.client("s3"), sample.outputs["StateBucket"]
    encryption = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"][0]
    assert encryption["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    rules = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert [(rule["ID"], rule["Expiration"]) for rule in rules] == [("old", {"Days": 90})]
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "part", "Value": "sample"}]
    assert "SecureTransport" in s3.get_bucket_policy(Bucket=bucket)["Policy"]


def test_references_are_those_of_aws(sample: Sample) -> None:
    assert sample.outputs["Secret"].startswith("arn:aws:secretsmanager:us-east-1:123456789012:secret:")
    assert sample.outputs["Network"] == "10.20.0.0/16"
    parameter = sample.cloud.client("ssm").get_parameter(Name="/sample/machine")["Parameter"]
    assert parameter["Value"] == sample.outputs["Machine"]


def test_deploying_again_changes_nothing(sample: Sample) -> None:
    assert {**sample.outputs, **sample.cloud.deploy(SAMPLE, "Sample")} == sample.outputs


def test_an_update_replaces_what_changed(tmp_path: Path) -> None:
    def later(template: dict[str, Any]) -> None:
        template["Resources"]["Function"]["Properties"]["Environment"]["Variables"]["ADDED"] = "1"
        template["Resources"]["Task"]["Properties"]["ContainerDefinitions"][0]["Environment"][1]["Value"] = "fail"

    with LocalCloud(programs={}, state_dir=tmp_path / "state") as cloud:
        before = Sample(cloud)
        after = cloud.deploy(_changed(tmp_path / "changed", later), "Sample")
        assert after["StateBucket"] == before.outputs["StateBucket"]
        assert after["Task"].endswith("task-definition/sample:2")
        assert before.invoke({"action": "environment"})[0]["variables"]["ADDED"] == "1"


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ({"Type": "AWS::Unknown::Thing", "Properties": {}}, "Unrecognized resource types: [AWS::Unknown::Thing]"),
        (
            {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Code": {"S3Bucket": "nowhere", "S3Key": "nothing"},
                    "Handler": "a.b",
                    "Runtime": "python3.11",
                    "Role": "arn:aws:iam::123456789012:role/anyone",
                },
            },
            "Added (AWS::Lambda::Function): the code of",
        ),
        (
            {
                "Type": "AWS::S3::Bucket",
                "Properties": {"LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "Transitions": []}]}},
            },
            "Added (AWS::S3::Bucket): lifecycle rules with Transitions are not known",
        ),
    ],
)
def test_a_resource_that_fails_is_named_with_its_reason(tmp_path: Path, resource: dict[str, Any], reason: str) -> None:
    assembly = _changed(tmp_path / "changed", lambda template: template["Resources"].update(Added=resource))
    with LocalCloud(programs={}, state_dir=tmp_path / "state") as cloud:
        with pytest.raises(DeployError, match=r"Sample (is ROLLBACK_COMPLETE|was refused)") as caught:
            cloud.deploy(assembly, "Sample")
        (failure,) = caught.value.failures
        assert reason in failure


def test_a_stack_that_was_not_synthesized_is_an_error(sample: Sample, tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="has no stack Other"):
        sample.cloud.deploy(tmp_path, "Other")


def test_firing_a_schedule_fills_in_the_scheduled_time(sample: Sample) -> None:
    function = sample.outputs["Function"]
    sample.cloud.fire_schedule("sample-nightly", at=datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
    machine = sample.machine({"StartAt": "A", "States": {"A": {"Type": "Pass", "End": True}}})
    scheduler = sample.cloud.client("scheduler")
    scheduler.create_schedule(
        Name="to-a-machine",
        ScheduleExpression="rate(1 day)",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target={
            "Arn": machine,
            "RoleArn": sample.outputs["MachineRole"],
            "Input": '{"at": "<aws.scheduler.scheduled-time>", "by": "<aws.scheduler.schedule-arn>"}',
        },
    )
    sample.cloud.fire_schedule("to-a-machine", at=datetime(2026, 11, 23, 2, 0, tzinfo=UTC))
    sfn = sample.cloud.client("stepfunctions")
    (execution,) = sfn.list_executions(stateMachineArn=machine)["executions"]
    output = json.loads(sample.end(execution["executionArn"])["output"])
    arn = "arn:aws:scheduler:us-east-1:123456789012:schedule/default/to-a-machine"
    assert output == {"at": "2026-11-23T02:00:00Z", "by": arn}
    wait_for(lambda: "handling echo" in sample.messages("/sample/function"), f"{function} was not invoked")


def test_a_disabled_schedule_does_not_fire(sample: Sample) -> None:
    with pytest.raises(LocalCloudError, match="sample-disabled is disabled"):
        sample.cloud.fire_schedule("sample-disabled")
