"""What a worker may do for its sources of RDS: restore what the job names, and delete nothing but that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Environment, Stack

from infra import database_grants
from infra.jobs import refusals
from tests.infra.test_jobs import nightly, refused
from tests.jobs import example, job_with, parsed

TMP = "arn:{}:rds:eu-west-1:123456789012:{}:backups-tmp-*"


def rights(*keys: str, **changes: Any) -> list[dict[str, Any]]:
    """The statements for a job ``nightly`` with one source."""
    stack = Stack(App(), "Test", env=Environment(account="123456789012", region="eu-central-1"))
    job = parsed(job_with("sources", example("sources", "rds", **changes)))
    found = [statement.to_statement_json() for statement in database_grants.worker(stack, job, keys)]
    return [stack.resolve(one) for one in found]


def of(action: str, statements: list[dict[str, Any]]) -> dict[str, Any]:
    """The one statement about an action, with its ARNs as text."""
    (found,) = [s for s in statements if action in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])]
    resources = found["Resource"] if isinstance(found["Resource"], list) else [found["Resource"]]
    return {**found, "Resource": [arn(one) for one in resources]}


def arn(value: Any) -> str:
    if isinstance(value, str):
        return value
    separator, parts = value["Fn::Join"]
    return str(separator.join(part if isinstance(part, str) else "{}" for part in parts))


def test_an_instance_is_restored_under_the_job_s_own_tags() -> None:
    statement = of("rds:RestoreDBInstanceFromDBSnapshot", rights(subnet_group="inner"))
    assert statement["Condition"] == {"StringLike": {"aws:RequestTag/backups:run": "nightly/*"}}
    prefix = "arn:{}:rds:eu-west-1:123456789012"
    assert statement["Resource"] == [
        TMP.replace("{}:backups", "db:backups"),
        f"{prefix}:snapshot:rds:shop-production-*",
        f"{prefix}:og:*",
        f"{prefix}:subgrp:inner",
        f"{prefix}:pg:*",
        f"{prefix}:cluster-pg:*",
    ]


@pytest.mark.parametrize(
    ("changes", "snapshot"),
    [
        ({"snapshot": "manual"}, "snapshot:*"),
        ({"snapshot": "before-the-move"}, "snapshot:before-the-move"),
        ({"instancename": "", "clustername": "shop"}, "cluster-snapshot:rds:shop-*"),
    ],
)
def test_which_snapshots_may_be_restored(changes: dict[str, Any], snapshot: str) -> None:
    kind = "Cluster" if "clustername" in changes else "Instance"
    action = f"rds:RestoreDB{kind}From{'' if kind == 'Cluster' else 'DB'}Snapshot"
    found = [one for one in of(action, rights(**changes))["Resource"] if "snapshot" in one]
    assert found == [f"arn:{{}}:rds:eu-west-1:123456789012:{snapshot}"]


@pytest.mark.parametrize(
    ("changes", "actions", "kinds"),
    [
        ({}, "rds:DeleteDBInstance", ["db"]),
        (
            {"instancename": "", "clustername": "shop"},
            ["rds:DeleteDBInstance", "rds:DeleteDBCluster"],
            ["db", "cluster"],
        ),
    ],
)
def test_nothing_but_its_own_may_be_deleted(changes: dict[str, Any], actions: Any, kinds: list[str]) -> None:
    statements = rights(**changes)
    statement = of("rds:DeleteDBInstance", statements)
    assert statement["Action"] == actions
    assert statement["Condition"] == {"StringLike": {"aws:ResourceTag/backups:run": "nightly/*"}}
    assert statement["Resource"] == [TMP.replace("{}:backups", f"{kind}:backups") for kind in kinds]
    assert [s for s in statements if "Delete" in str(s["Action"])] == [s for s in statements if s["Action"] == actions]
    tagging = of("rds:AddTagsToResource", statements)
    assert tagging["Condition"] == {"StringLike": {"aws:RequestTag/backups:run": "nightly/*"}}
    assert tagging["Resource"] == statement["Resource"]


def test_what_knows_no_names_only_looks() -> None:
    (statement,) = [s for s in rights() if s["Resource"] == "*"]
    assert all(action.split(":")[1].startswith("Describe") for action in statement["Action"])


def test_an_encrypted_snapshot_needs_its_key() -> None:
    key = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
    statements = rights(key)
    grant = of("kms:CreateGrant", statements)
    assert grant["Resource"] == [key]
    assert grant["Condition"] == {
        "StringEquals": {"kms:ViaService": ["rds.eu-west-1.amazonaws.com"]},
        "Bool": {"kms:GrantIsForAWSResource": "true"},
    }
    assert not [s for s in rights() if "kms" in str(s["Action"])]


def test_keys_of_its_own_need_no_right() -> None:
    assert rights(aws_access_key_id="a", aws_secret_access_key="{{resolve:ssm-secure:/x}}") == []


@pytest.mark.parametrize("field", ["instancename", "region", "snapshot", "subnet_group", "parameter_group"])
def test_names_that_rights_are_derived_from_are_plain(tmp_path: Path, field: str) -> None:
    data = nightly()
    data["sources"] = [example("sources", "rds", **{field: "{{resolve:ssm:x}}"})]
    assert f"sources[0].{field}: must be a plain name, since rights are derived from it" in str(
        refused(tmp_path, wide=data)
    )
    assert not [line for line in refusals(parsed(job_with("sources", example("sources", "rds")))) if "rights" in line]
