"""``python -m infra.app`` and ``cdk synth``: what they make, and what they refuse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.app import build
from infra.bundle import ROOT
from tests.infra.conftest import CONTEXT, JOBS
from tests.infra.test_template import machine, of_type, text

pytestmark = pytest.mark.xdist_group("assembly")


def environment(**more: str) -> dict[str, str]:
    """This process's own without anything of AWS: a synthesis asks nobody there."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    return {**plain, "AWS_EC2_METADATA_DISABLED": "true", **more}


def synthesized(tmp_path: Path, **context: Any) -> dict[str, Any]:
    build({**CONTEXT, **context}, outdir=str(tmp_path)).synth()
    return dict(json.loads((tmp_path / "Backups.template.json").read_text()))


def test_the_command_line_of_cdk_synthesizes(tmp_path: Path) -> None:
    argv = [str(ROOT / "node_modules" / ".bin" / "cdk"), "synth", "--quiet", "--output", str(tmp_path / "out")]
    argv += ["--context", f"jobs={JOBS}", "--context", "stack_name=Nightly", "--no-notices"]
    done = subprocess.run(argv, cwd=ROOT, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "out" / "Nightly.template.json").exists()
    assert "sources[1]: without 'host'" in done.stderr


def test_the_module_alone_reads_cdk_json_and_refuses_with_every_problem(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text('{"sources": []}')
    given = environment(CDK_OUTDIR=str(tmp_path / "out"), CDK_CONTEXT_JSON=json.dumps({"jobs": str(tmp_path)}))
    argv = [sys.executable, "-m", "infra.app"]
    done = subprocess.run(argv, cwd=ROOT, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"{tmp_path}/a.json: sources: at least one source is needed" in done.stderr
    assert f"{tmp_path}/b.json: destinations: required" in done.stderr
    assert "nothing was deployed" in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.glob("out/*.template.json"))


def test_no_secret_is_in_the_assembly(assembly: Path) -> None:
    """References may be in job files only: CloudFormation would resolve them into the template, for all to read."""
    texts = {path.name: path.read_text() for path in assembly.glob("*.json") if not path.name.startswith("asset.")}
    assert "Backups.template.json" in texts
    assert not [name for name, content in texts.items() if "{{resolve:" in content]


def test_the_image_is_made_of_the_library_and_its_entry_point_only(assembly: Path) -> None:
    assets = json.loads((assembly / "Backups.assets.json").read_text())
    (image,) = assets["dockerImages"].values()
    context = assembly / image["source"]["directory"]
    held = {path.relative_to(context).parts[0] for path in context.rglob("*") if path.is_file()}
    assert held == {".dockerignore", "backups", "requirements", "worker_image"}
    assert [path.name for path in (context / "requirements").iterdir()] == ["worker.txt"]
    assert image["source"]["dockerFile"] == "worker_image/Dockerfile"
    assert image["source"]["platform"] == "linux/amd64"
    assert not list(context.rglob("__pycache__"))


def test_an_existing_vpc_is_used_as_it_is(tmp_path: Path) -> None:
    template = synthesized(
        tmp_path,
        vpc_id="vpc-0123456789abcdef0",
        vpc_subnet_ids=["subnet-01234567", "subnet-89abcdef"],
        availability_zones=["eu-central-1a", "eu-central-1b"],
    )
    assert not [r for r in template["Resources"].values() if r["Type"].startswith(("AWS::EC2::VPC", "AWS::EC2::Sub"))]
    (group,) = of_type(template, "AWS::EC2::SecurityGroup").values()
    assert group["VpcId"] == "vpc-0123456789abcdef0"
    substitutions = machine(template, "Backups-run")["DefinitionSubstitutions"]
    assert (substitutions["Subnets"], substitutions["AssignPublicIp"]) == (
        "subnet-01234567,subnet-89abcdef",
        "DISABLED",
    )


def test_nat_gateways_hide_the_workers(tmp_path: Path) -> None:
    template = synthesized(tmp_path, nat_gateways=1, flexible_minutes=30, worker_disk=100, jobs=str(JOBS))
    assert len(of_type(template, "AWS::EC2::NatGateway")) == 1
    substitutions = machine(template, "Backups-run")["DefinitionSubstitutions"]
    assert substitutions["AssignPublicIp"] == "DISABLED" and "WorkersSubnet1" in text(substitutions["Subnets"])
    schedule = next(s for s in of_type(template, "AWS::Scheduler::Schedule").values() if s["Name"] == "nightly")
    assert schedule["FlexibleTimeWindow"] == {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 30}
    disks = {task["EphemeralStorage"]["SizeInGiB"] for task in of_type(template, "AWS::ECS::TaskDefinition").values()}
    assert disks == {100}


def test_without_jobs_there_is_still_a_stack(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    template = synthesized(tmp_path / "out", jobs=str(tmp_path / "none"), alarm_mail="")
    assert not of_type(template, "AWS::SSM::Parameter") and not of_type(template, "AWS::SNS::Subscription")


def test_a_key_of_the_settings_is_for_the_services_only(tmp_path: Path) -> None:
    key = "arn:aws:kms:eu-central-1:123456789012:key/aaaa"
    template = synthesized(tmp_path, key_arns=[key])
    statements = [
        statement
        for policy in of_type(template, "AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Resource"] == key and "rds." not in str(statement["Condition"])
    ]
    assert len(statements) == 5  # two workers, the checks of copies, retention, notify
    services = {tuple(s["Condition"]["StringEquals"]["kms:ViaService"]) for s in statements}
    assert services == {tuple(f"{name}.eu-central-1.amazonaws.com" for name in ("s3", "secretsmanager", "ssm"))}


@pytest.mark.parametrize("architecture", ["arm64", "x86_64"])
def test_lambdas_and_tasks_are_of_one_architecture(tmp_path: Path, architecture: str) -> None:
    template = synthesized(tmp_path, architecture=architecture)
    functions = {f["Architectures"][0] for f in of_type(template, "AWS::Lambda::Function").values()}
    tasks = {t["RuntimePlatform"]["CpuArchitecture"] for t in of_type(template, "AWS::ECS::TaskDefinition").values()}
    assert functions == {architecture} and tasks == {architecture.upper()}
