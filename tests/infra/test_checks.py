"""What others say of the stack: cdk-nag, cfn-lint, a validator of state machines; and what has changed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.bundle import ROOT
from infra.constructs.checks import DEFINITION as CHECKS
from infra.constructs.messages import messages_definition
from infra.constructs.run import DEFINITION

pytestmark = pytest.mark.xdist_group("assembly")

GOLDEN = Path(__file__).parent / "golden" / "template.json"

# CDK's own doing: a dependency that it writes down twice, and zones that are chosen and not looked up.
LINT_IGNORED = ("W3005", "W3010")


def test_cdk_nag_finds_nothing(assembly: Path) -> None:
    """The fixture fails on findings; here, that it would."""
    assert (assembly / "Backups.template.json").exists()


def test_cdk_nag_would_find_something(tmp_path: Path) -> None:
    from aws_cdk import App, Stack, Validations
    from aws_cdk import aws_s3 as s3
    from cdk_nag import AwsSolutionsChecks

    app = App(outdir=str(tmp_path))
    s3.Bucket(Stack(app, "Bad"), "Open")
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    with pytest.raises(RuntimeError, match="AwsSolutions-S10"):
        app.synth()


def test_cfn_lint_finds_nothing(assembly: Path) -> None:
    argv = [str(Path(sys.prefix) / "bin" / "cfn-lint"), "--regions", "eu-central-1"]
    argv += ["--ignore-checks", *LINT_IGNORED, "--", str(assembly / "Backups.template.json")]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def asl_validator(path: Path) -> subprocess.CompletedProcess[str]:
    argv = [str(ROOT / "node_modules" / ".bin" / "asl-validator"), "--json-path", str(path)]
    environment = {"PATH": f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"}
    return subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)


def test_the_state_machine_is_valid() -> None:
    done = asl_validator(DEFINITION)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_state_machine_of_messages_is_valid(tmp_path: Path) -> None:
    (tmp_path / "messages.json").write_text(messages_definition("aws"))
    done = asl_validator(tmp_path / "messages.json")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_state_machine_of_checks_is_valid() -> None:
    done = asl_validator(CHECKS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_validator_would_find_something(tmp_path: Path) -> None:
    broken = json.loads(DEFINITION.read_text())
    broken["States"]["Plan"]["Next"] = "Nowhere"
    (tmp_path / "broken.json").write_text(json.dumps(broken))
    assert asl_validator(tmp_path / "broken.json").returncode != 0


def test_the_template_is_what_it_was(template: dict[str, Any]) -> None:
    """Read the difference, and accept it with UPDATE_GOLDEN=1 in the environment."""
    actual = normalised(template)
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(actual)
    assert actual.splitlines() == GOLDEN.read_text().splitlines()


def normalised(template: dict[str, Any]) -> str:
    """Readable, and without what changes with every line of code: hashes of assets, and the definition's one line."""
    resources = {name: dict(resource) for name, resource in template["Resources"].items()}
    for resource in resources.values():
        resource.pop("Metadata", None)
        if resource["Type"] == "AWS::StepFunctions::StateMachine":
            resource["Properties"] = {**resource["Properties"], "DefinitionString": f"from {DEFINITION.name}"}
    readable = json.dumps({**template, "Resources": resources}, indent=1, sort_keys=True)
    return re.sub(r"[0-9a-f]{64}", "HASH", readable) + "\n"
