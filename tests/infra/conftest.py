"""The stack as tests look at it: synthesized once, with jobs of the tests' own."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.infra.deployed_stack import Deployed

JOBS = Path(__file__).parent / "jobs"
CONTEXT: Mapping[str, Any] = {
    "jobs": str(JOBS),
    "account": "123456789012",
    "region": "eu-central-1",
    "alarm_mail": "ops@example.org",
    "architecture": "x86_64",
}

# CDK's library runs node: the environment's own is the one that is new enough.
os.environ["PATH"] = f"{Path(sys.prefix) / 'bin'}:{os.environ['PATH']}"


@pytest.fixture(scope="session")
def assembly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cloud assembly of the tests' jobs, checked by cdk-nag on the way: a finding fails the synthesis."""
    from aws_cdk import Validations
    from cdk_nag import AwsSolutionsChecks

    from infra.app import build

    outdir = tmp_path_factory.mktemp("assembly")
    app = build(CONTEXT, outdir=str(outdir))
    Validations.of(app).add_plugins(AwsSolutionsChecks(app))
    try:
        app.synth()
    except RuntimeError as error:
        report = json.loads((outdir / "validation-report.json").read_text())
        pytest.fail(f"{error}\n{json.dumps(report, indent=1)}")
    return outdir


@pytest.fixture(scope="session")
def template(assembly: Path) -> dict[str, Any]:
    """The template of the stack."""
    return dict(json.loads((assembly / "Backups.template.json").read_text()))


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """The stack with the tests' own jobs, running."""
    from tests.infra.deployed_stack import deployed_stack

    with deployed_stack(tmp_path_factory.mktemp("deployed")) as running:
        yield running
