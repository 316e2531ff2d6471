"""The deployed stack when things go slowly: a channel that hangs, flag files far away, a run that never ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backups.cloud.orchestration import Started
from backups.records import Outcome
from tests.infra.deployed_stack import FLAG_KEY, HOOK_KEY, SLOW_TOKEN, Deployed
from tests.infra.test_deployed_messages import empty, pings, redrive
from tests.servers.local_cloud import wait_for

pytestmark = pytest.mark.xdist_group("deployed")


@pytest.fixture(scope="module")
def hanging(deployed: Deployed) -> Started:
    """A good run, one of whose channels never answers; it has only begun."""
    empty(deployed)
    return deployed.schedule("2026-11-20T05:00:00Z", job="flags", sources=["data"])


def flag(deployed: Deployed) -> Path:
    """The flag file on the host."""
    return deployed.host.directory / Path(FLAG_KEY).name


def test_a_run_that_takes_too_long_is_told(deployed: Deployed, hanging: Started) -> None:
    deployed.services.received.clear()
    client, machine = deployed.cloud.client("stepfunctions"), deployed.outputs["StateMachineArn"]
    definition = client.describe_state_machine(stateMachineArn=machine)["definition"]
    client.update_state_machine(
        stateMachineArn=machine, definition=json.dumps({**json.loads(definition), "TimeoutSeconds": 2})
    )
    try:
        started = deployed.schedule("2026-11-20T05:30:00Z", job="loud", sources=["endless"])
    finally:
        client.update_state_machine(stateMachineArn=machine, definition=definition)
    assert deployed.ended(started.execution)["status"] == "TIMED_OUT"
    wait_for(lambda: "/fail" in pings(deployed), "the end was not told", 120)
    report = deployed.report(started.run, "loud")
    assert (report.outcome, report.error) == (Outcome.FAILED, "the run took more than three days and was stopped")
    assert report.hint == "split the job or its sources"
    wait_for(lambda: len(deployed.state.notified("loud", started.run)) == 3, "not every channel was told", 120)
    (text,) = {m["text"] for m in deployed.slack.messages if "three days" in m["text"]}
    assert "Backup of 'loud' (Job) on 'loud1' failed: the run took more than three days and was stopped" in text
    assert f"/details/{started.execution}" in text


def test_a_channel_that_hangs_hurts_no_other_and_not_the_outcome(deployed: Deployed, hanging: Started) -> None:
    assert deployed.ended(hanging.execution)["status"] == "SUCCEEDED"
    told = {answer.channel: answer for answer in deployed.state.notified("flags", hanging.run)}
    assert {id_: answer.status for id_, answer in told.items()} == {
        "slow": "failed",
        "on-host": "sent",
        "in-bucket": "sent",
        "ops": "sent",
    }
    assert "no answer within 10 s" in told["slow"].error and not told["slow"].permanent
    slow = [request for request in deployed.services.received if "/slow/" in request.path]
    assert 1 <= len(slow) <= 3  # another test may have forgotten the first
    assert deployed.report(hanging.run, "flags").outcome is Outcome.STORED


def test_what_a_channel_hung_on_lies_in_the_queue_and_is_sent_again(deployed: Deployed, hanging: Started) -> None:
    letters = [letter for letter in redrive(deployed, "--dry-run")[1] if letter["channel"] == "slow"]
    (letter,) = letters
    assert (letter["job"], letter["run"]) == ("flags", hanging.run)
    assert "no answer within 10 s" in letter["reason"]
    deployed.hooks.set()
    try:
        code, sent, said = redrive(deployed)
    finally:
        deployed.hooks.clear()
    assert (code, {one["channel"]: one["status"] for one in sent}["slow"]) == (0, "sent")
    body = [request.json for request in deployed.services.received if "/slow/" in request.path][-1]
    assert (body["event"], body["report"]["run"]) == ("run finished", hanging.run)
    assert not [secret for secret in (SLOW_TOKEN, HOOK_KEY) if secret in said]


def test_flag_files_get_a_new_age_by_good_runs_only(deployed: Deployed, hanging: Started) -> None:
    s3 = deployed.cloud.client("s3")

    def ages() -> tuple[object, object]:
        return flag(deployed).stat().st_mtime_ns, s3.head_object(Bucket="far-copies", Key=FLAG_KEY)["LastModified"]

    assert flag(deployed).read_bytes() == b"OK"
    assert flag(deployed).stat().st_mode & 0o777 == 0o644
    assert s3.get_object(Bucket="far-copies", Key=FLAG_KEY)["Body"].read() == b"OK"
    before = ages()
    deployed.hooks.set()
    try:
        bad = deployed.schedule("2026-11-21T05:00:00Z", job="flags", sources=["data", "gone"])
        deployed.ended(bad.execution)
        assert ages() == before
        told = {answer.channel: answer.status for answer in deployed.state.notified("flags", bad.run)}
        assert told["on-host"] == told["in-bucket"] == "not wanted"
        good = deployed.schedule("2026-11-22T05:00:00Z", job="flags", sources=["data"])
        assert deployed.ended(good.execution)["status"] == "SUCCEEDED"
    finally:
        deployed.hooks.clear()
    assert all(now > then for now, then in zip(ages(), before, strict=True))  # type: ignore[operator]
    assert [entry.name for entry in deployed.host.directory.iterdir() if "backups-flag" in entry.name] == []
