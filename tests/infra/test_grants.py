"""Rights that the jobs of the template's tests do not ask for."""

from __future__ import annotations

from typing import Any

from aws_cdk import App, Stack
from aws_cdk import aws_iam as iam

from infra.constructs.foundation import Foundation
from infra.constructs.hosts import Hosts
from infra.grants import Grants
from infra.jobs import refusals
from tests.jobs import example, job_with, parsed


def notify_rights(*channels: dict[str, Any]) -> dict[str, Any]:
    """What the Notify function may do for a job with these channels."""
    statements = Grants(Stack(App(), "Test")).notify([parsed(job_with("notifications", *channels))])
    content = [statement.to_statement_json() for statement in statements]
    return {str(statement["Action"]): statement["Resource"] for statement in content}


def test_notify_publishes_to_the_topics_of_jobs_and_no_other() -> None:
    topic = example("notifications", "sns")["topic_arn"]
    assert notify_rights(example("notifications", "sns"))["sns:Publish"] == topic
    assert "sns:Publish" not in notify_rights(example("notifications", "slack"))


def test_a_topic_with_a_key_of_its_own_asks_for_no_right() -> None:
    login = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "{{resolve:ssm-secure:/sns}}"}
    assert "sns:Publish" not in notify_rights(example("notifications", "sns", credentials=login))


def test_a_topic_that_rights_are_derived_from_is_plain() -> None:
    job = parsed({**job_with("notifications", example("notifications", "sns", topic_arn="{{resolve:ssm:topic}}"))})
    found = [line for line in refusals(job) if "topic_arn" in line]
    assert found == ["notifications[0].topic_arn: must be a plain ARN, since rights are derived from it"]


def test_notify_puts_flag_files_under_their_keys_and_no_others() -> None:
    flags = [example("notifications", "flagfile", bucket="monitoring", filename=f"/flags/{n}.ok") for n in "ab"]
    found = notify_rights(*flags)
    keys = [arn.rpartition(":::")[2] for arn in found["s3:PutObject"]]
    assert keys == ["monitoring/flags/a.ok", "monitoring/flags/b.ok"]
    assert not any(action.startswith("s3:") for action in notify_rights(example("notifications", "flagfile")))


def test_notify_sends_the_document_of_flag_files_to_their_hosts_and_nothing_else() -> None:
    stack = Stack(App(), "Test")
    hosts = Hosts(stack, "Hosts", foundation=Foundation(stack, "Foundation", run_days=30, alarm_mail=""))
    web = example("notifications", "flagfile", host="tag:Role=web")
    none, some = ([parsed(job_with("notifications", c))] for c in (example("notifications", "flagfile"), web))
    assert hosts.notify(none) == []
    document, nodes, _ = (statement.to_statement_json() for statement in hosts.notify(some))
    assert document["Action"] == nodes["Action"] == "ssm:SendCommand"
    assert stack.resolve(document["Resource"]) == stack.resolve(hosts._document(hosts.flag_document))
    assert nodes["Condition"] == {"StringEquals": {"ssm:resourceTag/Role": "web"}}
    assert hosts.worker(some[0]) == []


def rights(statements: list[iam.PolicyStatement]) -> dict[str, Any]:
    """Each action with the resource of the statement that allows it."""
    content = [statement.to_statement_json() for statement in statements]
    listed = [(action, one["Resource"]) for one in content for action in _several(one["Action"])]
    return dict(listed)


def _several(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def test_locks_and_tags_need_rights_to_write_them() -> None:
    lock = {"object_lock": "COMPLIANCE", "object_lock_days": 30, "tags": {"team": "a"}}
    grants = Grants(Stack(App(), "Test"))
    plain = rights(grants.worker(parsed(job_with("destinations", example("destinations", "s3")))))
    locked = rights(grants.worker(parsed(job_with("destinations", example("destinations", "s3", **lock)))))
    assert set(locked) - set(plain) == {"s3:PutObjectRetention", "s3:PutObjectTagging"}
    assert locked["s3:PutObjectRetention"] == locked["s3:PutObject"]


def test_a_role_of_the_bucket_s_owner_is_all_that_is_asked_for() -> None:
    role = "arn:aws:iam::123456789012:role/theirs"
    theirs = example("destinations", "s3", role_arn=role, external_id="us", kms_key_id="alias/theirs")
    job = parsed(job_with("destinations", theirs))
    grants = Grants(Stack(App(), "Test"))
    for found in (rights(grants.worker(job)), rights(grants.retention([job]))):
        assert found["sts:AssumeRole"] == role
        assert not [action for action in found if action.startswith(("s3:", "kms:"))]
    with_keys = {"aws_access_key_id": "AKIATEST", "aws_secret_access_key": "{{resolve:ssm-secure:/s3}}"}
    own = parsed(job_with("destinations", {**theirs, "credentials": with_keys}))
    assert "sts:AssumeRole" not in rights(grants.worker(own))


def test_a_role_that_rights_are_derived_from_is_plain() -> None:
    job = parsed(job_with("destinations", example("destinations", "s3", role_arn="{{resolve:ssm:role}}")))
    found = [line for line in refusals(job) if "role_arn" in line]
    assert found == ["destinations[0].role_arn: must be a plain name, since rights are derived from it"]


def test_retention_reaches_what_the_old_tool_stored_only_where_the_job_says_so() -> None:
    grants = Grants(Stack(App(), "Test"))
    plain = example("destinations", "s3", retention_days=3)
    job = parsed(job_with("destinations", plain))
    own = rights(grants.retention([job]))["s3:DeleteObject"]
    assert own.endswith(f"/{job.hostname}/*")
    legacy = rights(grants.retention([parsed(job_with("destinations", {**plain, "retention_legacy": True}))]))
    ids = [source.id for source in job.sources]
    assert legacy["s3:DeleteObject"] == [own, *(own.replace(job.hostname, id_) for id_ in ids)]
    assert ids
