"""The AWS commands that ``docs/restoring.md`` shows for snapshots, as far as AWS's own description of its API tells."""

from __future__ import annotations

import re
import shlex

import boto3
import pytest
from botocore import xform_name

from backups.snapshots.status import SnapshotStatus
from backups.snapshots.tags import COMPLETE, COPY, HOST, JOB, RUN, SOURCE, STATE
from tests.integration.test_restoring_docs import PAGE

SECTION = PAGE.read_text(encoding="utf-8").partition("\n## Snapshots\n")[2].partition("\n## ")[0]
COMMANDS = [shlex.split(line) for line in re.findall(r"^    aws (.+)$", SECTION, re.MULTILINE)]


def test_there_are_commands_for_volumes_instances_and_clusters() -> None:
    assert {command[1] for command in COMMANDS if command[0] == "rds"} == {
        "restore-db-instance-from-db-snapshot",
        "restore-db-cluster-from-snapshot",
        "create-db-instance",
    }
    assert {command[1] for command in COMMANDS if command[0] == "ec2"} == {"create-volume", "wait", "attach-volume"}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: "-".join(command[:2]))
def test_aws_knows_every_option_and_has_all_that_it_requires(command: list[str]) -> None:
    client = boto3.client(command[0], region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")  # type: ignore[call-overload]
    if command[1] == "wait":
        assert command[2].replace("-", "_") in client.waiter_names
        return
    operation = client.meta.service_model.operation_model(
        client.meta.method_to_api_mapping[command[1].replace("-", "_")]
    )
    options = {word.removeprefix("--") for word in command if word.startswith("--")} - {"region"}
    given = {option.removeprefix("no-") for option in options}
    known = {xform_name(name).replace("_", "-") for name in operation.input_shape.members}
    required = {xform_name(name).replace("_", "-") for name in operation.input_shape.required_members}
    assert given <= known
    assert required <= given


def test_what_it_says_of_the_file_and_the_tags_is_so() -> None:
    assert "copy_of" in SnapshotStatus.model_fields
    for name in (JOB, HOST, SOURCE, RUN, COPY, STATE, COMPLETE, "copy_of"):
        assert f"`{name}`" in SECTION
