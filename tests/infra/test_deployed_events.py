"""Events of the deployed stack: they reach whoever has a rule for them, and say what the records say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App

from backups.cloud.events import RunFinished, RunStarted, SourceFinished
from backups.planning import run_id
from infra.bundle import ROOT
from tests.infra.deployed_stack import HOOK_KEY, HOOK_TOKEN, PASSPHRASE, PING_TOKEN, Deployed
from tests.servers.local_cloud import wait_for
from tests.servers.slack import PATH

pytestmark = pytest.mark.xdist_group("deployed")

Event = dict[str, Any]


class Listener:
    """A queue that a rule sends events to."""

    def __init__(self, deployed: Deployed, url: str) -> None:
        self._client = deployed.cloud.client("sqs")
        self._url = url
        self._seen: list[Event] = []

    def heard(self, run: str) -> list[Event]:
        """The events of a run, in the order in which they came."""
        while found := self._client.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            for message in found:
                self._seen.append(json.loads(message["Body"]))
                self._client.delete_message(QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"])
        return [event for event in self._seen if event["detail"]["run"] == run]

    def until_finished(self, run: str) -> list[Event]:
        """The same, once the run's last event has come."""

        def look() -> list[Event]:
            heard = self.heard(run)
            return heard if any(event["detail-type"] == RunFinished.detail_type for event in heard) else []

        return wait_for(look, "no event tells that the run has finished", 60)


@pytest.fixture(scope="module")
def troubles(deployed: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Listener:
    """The queue of the stack in docs/events.md, deployed as it stands there."""
    page = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    code: dict[str, Any] = {}
    exec(page.split("```python\n")[1].split("```")[0], code)
    app = App(outdir=str(tmp_path_factory.mktemp("troubles")))
    code["BackupTroubles"](app, "BackupTroubles")
    outputs = deployed.cloud.deploy(Path(app.synth().directory), "BackupTroubles")
    return Listener(deployed, outputs["QueueUrl"])


@pytest.fixture(scope="module")
def everything(deployed: Deployed) -> Iterator[Listener]:
    """A queue that gets every event of ours, by a rule that was made by hand."""
    sqs, events = deployed.cloud.client("sqs"), deployed.cloud.client("events")
    url = sqs.create_queue(QueueName="all-events")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events.put_rule(Name="all", EventPattern=json.dumps({"source": ["backups"]}))
    events.put_targets(Rule="all", Targets=[{"Id": "queue", "Arn": arn}])
    yield Listener(deployed, url)
    events.remove_targets(Rule="all", Ids=["queue"])
    events.delete_rule(Name="all")


def test_a_run_is_followed_by_its_events(deployed: Deployed, troubles: Listener, everything: Listener) -> None:
    started = deployed.schedule("2026-11-12T02:30:00Z", sources=["data", "gone"])
    deployed.ended(started.execution)
    heard = everything.until_finished(started.run)
    kinds = [event["detail-type"] for event in heard]
    assert kinds == [RunStarted.detail_type, *[SourceFinished.detail_type] * 2, RunFinished.detail_type]
    assert {(event["source"], event["account"], event["region"]) for event in heard} == {
        ("backups", deployed.cloud.account, "eu-central-1")
    }
    begun, *sources, ended = heard
    assert RunStarted.model_validate(begun["detail"]).sources == 2
    assert begun["resources"] == ended["resources"] == [started.execution]
    found = {one.source: one for one in (SourceFinished.model_validate(event["detail"]) for event in sources)}
    assert {id_: one.outcome for id_, one in found.items()} == {"data": "stored", "gone": "failed"}
    record = deployed.state.result("nightly", started.run, "data")
    assert record is not None and (record.sha256, record.size) == (found["data"].sha256, found["data"].size)
    assert [at.status for at in found["data"].destinations] == ["stored", "stored"]
    assert "gone" in found["gone"].error
    run = RunFinished.model_validate(ended["detail"])
    assert (run.outcome, run.sources, run.not_stored) == ("partial", {"stored": 1, "failed": 1}, ("gone",))
    assert troubles.until_finished(started.run) == [ended]


def test_the_rule_of_the_page_is_silent_about_good_runs(
    deployed: Deployed, troubles: Listener, everything: Listener
) -> None:
    execution = deployed.by_hand({"job": "nightly", "sources": ["data"]})
    ended = deployed.ended(execution)
    assert ended["status"] == "SUCCEEDED"
    run = run_id(ended["startDate"])
    heard = everything.until_finished(run)
    assert [event["detail"].get("outcome") for event in heard] == [None, "stored", "stored"]
    assert heard[0]["resources"] == [execution]
    assert troubles.heard(run) == []


def test_a_run_that_is_not_planned_and_one_that_is_cut_off_finish_all_the_same(
    deployed: Deployed, everything: Listener
) -> None:
    started = deployed.schedule("2026-11-13T02:30:00Z", sources=["nobody"])
    deployed.ended(started.execution)
    (ended,) = everything.until_finished(started.run)
    assert ended["detail"]["outcome"] == "failed" and "nobody" in ended["detail"]["error"]
    started = deployed.schedule("2026-11-14T02:30:00Z", sources=["endless"])
    wait_for(lambda: deployed.state.progress("nightly", started.run), "the worker did not begin")
    deployed.cloud.client("stepfunctions").stop_execution(executionArn=started.execution)
    heard = everything.until_finished(started.run)
    sources = [event["detail"] for event in heard if event["detail-type"] == SourceFinished.detail_type]
    assert {(source["source"], source["outcome"]) for source in sources} == {("endless", "failed")}
    (finished,) = [
        event["detail"] for event in heard if event["detail-type"] == RunFinished.detail_type
    ]  # in any order
    assert finished["error"] == "the run was stopped by someone"
    said = json.dumps(everything._seen)
    assert not [secret for secret in (PASSPHRASE, HOOK_TOKEN, HOOK_KEY, PING_TOKEN, PATH) if secret in said]


def test_an_event_that_is_refused_changes_nothing(deployed: Deployed, everything: Listener) -> None:
    iam = deployed.cloud.client("iam")
    role = next(r["RoleName"] for r in iam.list_roles()["Roles"] if "Functionsreportrole" in r["RoleName"])
    refusal = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "events:*", "Resource": "*"}}
    iam.put_role_policy(RoleName=role, PolicyName="none", PolicyDocument=json.dumps(refusal))
    try:
        started = deployed.schedule("2026-11-15T02:30:00Z", sources=["data"])
        assert deployed.ended(started.execution)["status"] == "SUCCEEDED"
    finally:
        iam.delete_role_policy(RoleName=role, PolicyName="none")
    kinds = [event["detail-type"] for event in everything.heard(started.run)]
    assert kinds == [RunStarted.detail_type, SourceFinished.detail_type]
    logs = deployed.cloud.client("logs")
    found = [event["message"] for event in logs.filter_log_events(logGroupName="/Backups/report")["events"]]
    assert any("events were lost" in line and "AccessDenied" in line for line in found)
