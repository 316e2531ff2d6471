"""The manual for operators names every setting, alarm, output and log that there is."""

from __future__ import annotations

import re
import shlex
from typing import Any

import pytest
from aws_cdk import App, Stack
from aws_cdk.assertions import Template
from aws_cdk.aws_sns import Topic
from botocore import xform_name
from botocore.session import get_session

from infra.bundle import ROOT
from infra.constructs.alarms import Alarms
from infra.settings import Settings
from tests.infra.test_template import of_type

pytestmark = pytest.mark.xdist_group("assembly")

MANUAL = (ROOT / "docs" / "operations.md").read_text()


def test_every_setting_has_a_row() -> None:
    rows = [line for line in MANUAL.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert named == set(Settings.model_fields)


SERVICES = get_session()
SHORTHANDS = {"authorize-security-group-ingress": {"protocol", "port", "source-group"}}
"""Options that the command line has beside the parameters of the call, and `query` everywhere."""


@pytest.mark.parametrize("command", re.findall(r"^aws .+$", MANUAL, re.MULTILINE))
def test_every_command_of_aws_is_one_that_aws_knows(command: str) -> None:
    _, service, operation, *words = shlex.split(command)
    model = SERVICES.get_service_model(service.removesuffix("api"))
    (name,) = [known for known in model.operation_names if xform_name(known, "-") == operation]
    shape = model.operation_model(name).input_shape
    given = {word.removeprefix("--") for word in words if word.startswith("--")}
    assert shape is not None
    assert given - {"query"} - SHORTHANDS.get(operation, set()) <= {xform_name(member, "-") for member in shape.members}
    required = {xform_name(member, "-") for member in shape.required_members}
    assert required <= given


def test_cdk_json_lists_the_settings_with_their_defaults() -> None:
    import json

    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    assert set(context) == set(Settings.model_fields) - {"assign_public_ip", "bundle_python", "bundle_platform"}
    given = Settings.model_validate({key: value for key, value in context.items() if value != ""})
    assert given == Settings()


def test_every_alarm_has_a_section_with_its_way_out(template: dict[str, Any]) -> None:
    alarms = MANUAL.split("\n## Alarms\n")[1].split("\n## ")[0]
    sections = {part.splitlines()[0].lower(): part for part in alarms.split("\n### ")[1:]}
    linked = {
        alarm["AlarmDescription"].partition("docs/operations.md#")[2]
        for alarm in of_type(template, "AWS::CloudWatch::Alarm").values()
    }
    assert linked == set(sections)
    for name, section in sections.items():
        for words in ("**Means:**", "**Look first:**", "**Way out:**"):
            assert section.count(words) == 1, f"{name} lacks {words}"


def test_alarms_link_the_manual_where_it_is_read() -> None:
    url = "https://git.example.org/ops/backups/docs/operations.md"
    stack, topic = (made := Stack(App(), "Test")), Topic(made, "Topic")
    Alarms(stack, "Alarms", topic=topic, manual=url).watch_instances()
    (alarm,) = of_type(dict(Template.from_stack(stack).to_json()), "AWS::CloudWatch::Alarm").values()
    assert alarm["AlarmDescription"].endswith(f"What to do: {url}#temporaryinstances")


def test_every_log_and_every_output_that_it_names_exists(template: dict[str, Any]) -> None:
    groups = {group["LogGroupName"] for group in of_type(template, "AWS::Logs::LogGroup").values()}
    named = {f"/Backups/{name}" for name in re.findall(r"`/STACK/([a-z-]+)`", MANUAL)}
    assert named == groups
    outputs = set(re.findall(r"output `(\w+)`", MANUAL))
    assert outputs and outputs <= set(template["Outputs"])
