"""Rights that the jobs of the template's tests do not ask for."""

from __future__ import annotations

from typing import Any

from aws_cdk import App, Stack

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
