"""Folders on hosts: what the document lets through, and who may send it where."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import pytest

from infra.host_documents import flag_document, folder_document
from tests.infra.test_template import STATE, Template, grants, listed, of_type, text

pytestmark = pytest.mark.xdist_group("assembly")

DOCUMENT = "arn:<AWS::Partition>:ssm:eu-central-1:123456789012:document/<HostsFolder"
NODES = "arn:<AWS::Partition>:{}:eu-central-1:123456789012:{}/{}"
ATTACKS = ["'; touch x; '", "$(touch x)", "`touch x`", "a b\ntouch x", '"', "\\", "a;b", "a|b", "{{ folder }}", "é"]
DOCUMENTS: dict[str, dict[str, Any]] = {"folder": folder_document(), "flag": flag_document()}
PARAMETERS = [(kind, name) for kind, document in DOCUMENTS.items() for name in document["parameters"]]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize(("kind", "name"), PARAMETERS)
def test_no_parameter_takes_what_a_shell_would_act_on(kind: str, name: str, attack: str) -> None:
    good = {"leaseUrl": "https://s3.example/a", "folder": "L2V0Yw==", "rename": "cw==", "file": "L2V0Yy94"}
    parameter = DOCUMENTS[kind]["parameters"][name]
    pattern = parameter["allowedPattern"]
    assert re.search(pattern, good.get(name, parameter.get("default")))
    for value in (attack, good.get(name, "1") + attack, attack + good.get(name, "1")):
        assert not re.search(pattern, value)


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_every_parameter_stands_in_single_quotes_and_nowhere_else(document: dict[str, Any]) -> None:
    (step,) = document["mainSteps"]
    lines = [line for line in step["inputs"]["runCommand"] if "{{" in line]
    assert {re.fullmatch(r"\w+='\{\{ (\w+) \}\}'", line)[1] for line in lines} == {  # type: ignore[index]
        *(set(document["parameters"]) - {"executionTimeout"})
    }
    assert step["inputs"]["timeoutSeconds"] == "{{ executionTimeout }}"


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS)
def test_the_script_is_valid_and_small_enough(document: dict[str, Any]) -> None:
    (step,) = document["mainSteps"]
    subprocess.run(["sh", "-n"], input="\n".join(step["inputs"]["runCommand"]), text=True, check=True)
    assert len(json.dumps(document)) < 64 << 10


def test_the_template_has_the_documents(template: Template) -> None:
    documents = of_type(template, "AWS::SSM::Document").values()
    assert [document["Content"] for document in documents] == list(DOCUMENTS.values())
    assert {(document["DocumentType"], document["TargetType"]) for document in documents} == {("Command", "/")}
    (task,) = [t for t in of_type(template, "AWS::ECS::TaskDefinition").values() if t["Family"] == "Backups-weekly"]
    environment = {one["Name"]: one["Value"] for one in task["ContainerDefinitions"][0]["Environment"]}
    assert text(environment["BACKUPS_HOST_DOCUMENT"]).startswith("<HostsFolder")


def test_a_worker_may_send_to_the_hosts_of_its_job_and_no_other(template: Template) -> None:
    found = [
        (sorted(text(arn) for arn in listed(statement["Resource"])), statement.get("Condition"))
        for policy in of_type(template, "AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if "ssm:SendCommand" in listed(statement["Action"])
    ]
    (document, none), *hosts = found
    assert document[0].startswith(DOCUMENT)
    assert none is None
    assert hosts == [
        ([NODES.format("ssm", "managed-instance", "mi-0123456789abcdef0")], None),
        (
            [NODES.format("ec2", "instance", "*"), NODES.format("ssm", "managed-instance", "*")],
            {"StringEquals": {"ssm:resourceTag/Role": "web"}},
        ),
    ]
    assert "ssm:SendCommand" not in grants(template, "JobnightlyRole")


def test_a_worker_reaches_its_own_job_s_staging_area_only(template: Template) -> None:
    weekly, nightly = grants(template, "JobweeklyRole"), grants(template, "JobnightlyRole")
    assert weekly["s3:DeleteObject"] == {f"{STATE}/staging/weekly/*"}
    assert not any("staging" in arn for arns in nightly.values() for arn in arns)
    assert "s3:DeleteObject" not in nightly


def test_settle_empties_the_staging_area(template: Template) -> None:
    rights = grants(template, "Functionssettlerole")
    assert rights["s3:DeleteObject"] == {f"{STATE}/staging/*"}
    assert rights["ssm:CancelCommand"] == {"*"}
    assert "ssm:SendCommand" not in rights


def test_what_is_staged_expires_after_a_day(template: Template) -> None:
    (bucket,) = of_type(template, "AWS::S3::Bucket").values()
    days = {rule["Prefix"]: rule["ExpirationInDays"] for rule in bucket["LifecycleConfiguration"]["Rules"]}
    assert days["staging/"] == 1
