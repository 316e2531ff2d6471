"""Rights to take and to remove snapshots: exactly what job files name, and only what their jobs have made."""

from __future__ import annotations

import json
from typing import Any

from aws_cdk import App, Environment, Stack

from backups.snapshots.tags import name_prefix
from infra.grants import Grants
from tests.jobs import job_with, parsed

OWNER = {"backups:job": "nightly", "backups:host": "web1"}
UNFINISHED = {**OWNER, "backups:state": "unfinished"}
HOME, ACCOUNT = "eu-central-1", "123456789012"


def grants() -> Grants:
    return Grants(Stack(App(), "Test", env=Environment(account=ACCOUNT, region=HOME)))


def job(*sources: dict[str, Any]) -> Any:
    listed = [{"id": f"s{number}", "type": "snapshot", **source} for number, source in enumerate(sources)]
    return parsed({**job_with("sources", *listed), "hostname": "web1"})


def statements(of: Any) -> list[dict[str, Any]]:
    """Those about snapshots, with lists where there may be lists, and the partition's name filled in."""
    found = []
    for statement in of:
        text = json.dumps(Stack(App(), "Other").resolve(statement.to_statement_json()))
        content = json.loads(text)
        actions = content["Action"] if isinstance(content["Action"], list) else [content["Action"]]
        if any(action.startswith(("ec2:", "rds:", "kms:")) for action in actions):
            found.append({**content, "Action": actions, "Resource": json.dumps(content["Resource"])})
    return found


def allowing(action: str, of: Any) -> list[dict[str, Any]]:
    return [one for one in statements(of) if action in one["Action"]]


def tagged(kind: str, tags: dict[str, str]) -> dict[str, Any]:
    return {"StringEquals": {f"aws:{kind}/{name}": value for name, value in tags.items()}}


def test_a_worker_begins_snapshots_of_what_is_named_and_tags_them_as_its_own() -> None:
    worker = grants().worker(job({"volume_id": "vol-0a"}, {"instance_id": "i-0b", "region": "eu-west-1"}))
    made, volume = allowing("ec2:CreateSnapshot", worker)
    assert made["Condition"] == tagged("RequestTag", UNFINISHED)
    assert f":ec2:{HOME}:{ACCOUNT}:volume/vol-0a" in volume["Resource"] and "*" not in volume["Resource"]
    _, instance = allowing("ec2:CreateSnapshots", worker)
    assert f":ec2:eu-west-1:{ACCOUNT}:instance/i-0b" in instance["Resource"]
    assert instance["Action"] == ["ec2:CreateSnapshots"]


def test_a_worker_deletes_nothing_that_is_complete_and_makes_nothing_unfinished_again() -> None:
    worker = grants().worker(job({"volume_id": "vol-0a"}, {"instancename": "shop"}))
    for action in ("ec2:DeleteSnapshot", "rds:DeleteDBSnapshot", "rds:DeleteDBClusterSnapshot"):
        (one,) = allowing(action, worker)
        assert one["Condition"] == tagged("ResourceTag", UNFINISHED)
    on_creation, counting = allowing("ec2:CreateTags", worker)
    assert on_creation["Condition"] == {
        "StringEquals": {"ec2:CreateAction": ["CreateSnapshot", "CreateSnapshots", "CopySnapshot"]}
    }
    begun, counting_rds = allowing("rds:AddTagsToResource", worker)
    assert begun["Condition"] == tagged("RequestTag", UNFINISHED)
    for one in (counting, counting_rds):
        equals = {**tagged("ResourceTag", UNFINISHED)["StringEquals"], "aws:RequestTag/backups:state": "complete"}
        assert one["Condition"] == {
            "StringEquals": equals,
            "ForAllValues:StringEquals": {"aws:TagKeys": ["backups:state"]},
        }


def test_databases_and_clusters_are_named_and_their_snapshots_by_the_job() -> None:
    worker = grants().worker(job({"instancename": "shop"}, {"clustername": "shops"}))
    (begin,) = allowing("rds:CreateDBSnapshot", worker)
    assert begin["Condition"] == tagged("RequestTag", UNFINISHED)
    for resource in (f":rds:{HOME}:{ACCOUNT}:db:shop", f":rds:{HOME}:{ACCOUNT}:cluster:shops"):
        assert f'{resource}"' in begin["Resource"]
    assert f":snapshot:{name_prefix('nightly')}*" in begin["Resource"]
    assert "snapshot:*" not in begin["Resource"]


def test_retention_removes_what_the_job_has_made_and_creates_nothing() -> None:
    retention = grants().retention([job({"volume_id": "vol-0a"}, {"clustername": "shops"})])
    for action in ("ec2:DeleteSnapshot", "rds:DeleteDBSnapshot"):
        (one,) = allowing(action, retention)
        assert one["Condition"] == tagged("ResourceTag", OWNER)
    assert {action for one in statements(retention) for action in one["Action"] if not action.startswith("kms")} == {
        "ec2:DescribeSnapshots",
        "ec2:DeleteSnapshot",
        "rds:DescribeDBSnapshots",
        "rds:DescribeDBClusterSnapshots",
        "rds:DeleteDBSnapshot",
        "rds:DeleteDBClusterSnapshot",
    }


def test_a_key_for_copies_is_used_by_ec2_and_rds_only() -> None:
    key = f"arn:aws:kms:eu-west-3:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
    worker = grants().worker(job({"volume_id": "vol-0a", "copy_to_region": "eu-west-3", "copy_kms_key_id": key}))
    (one,) = allowing("kms:CreateGrant", worker)
    assert one["Resource"] == json.dumps(key)
    assert one["Condition"] == {"StringLike": {"kms:ViaService": ["ec2.*.amazonaws.com", "rds.*.amazonaws.com"]}}


def test_access_keys_of_the_source_need_no_right_and_retention_reads_them_but_no_passphrase() -> None:
    login = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "{{resolve:ssm-secure:/own/key}}"}
    own = job({"volume_id": "vol-0a", **login, "passphrase": "{{resolve:ssm-secure:/own/passphrase}}"})
    assert statements(grants().worker(own)) == []
    text = json.dumps([one.to_statement_json() for one in grants().retention([own])], default=str)
    assert "own/key" in text and "own/passphrase" not in text


def test_a_job_without_snapshots_asks_for_nothing_of_this() -> None:
    plain = parsed(job_with("sources", {"type": "folder", "path": "/srv"}))
    assert statements(grants().worker(plain)) == statements(grants().retention([plain])) == []
