"""Messages of the deployed stack: that a run begins, that it was cut off, and what could not be delivered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backups.cloud.orchestration import Started
from backups.records import Outcome
from tests.infra.deployed_stack import HOOK_KEY, HOOK_TOKEN, PASSPHRASE, PING_TOKEN, Deployed
from tests.servers.local_cloud import wait_for
from tests.servers.slack import PATH

pytestmark = pytest.mark.xdist_group("deployed")


def redrive(deployed: Deployed, *arguments: str) -> tuple[int, list[dict[str, Any]], str]:
    """The installed command: its exit code, what it says of each message, and everything that it printed."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("backups")), "notify", "--redrive", "--json", *arguments],
        env={**os.environ, **deployed.cloud.environment(), "RUN_AS_USER": "nobody-in-particular"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout), done.stdout + done.stderr


def empty(deployed: Deployed) -> None:
    """Forget what other tests left in the queue."""
    deployed.cloud.client("sqs").purge_queue(QueueUrl=deployed.outputs["DeadLetterQueue"])


def pings(deployed: Deployed) -> list[str]:
    """What the monitor was told, in order."""
    return [r.path.split("?")[0].rpartition(PING_TOKEN)[2] for r in deployed.services.received if "/ping/" in r.path]


def notices_told(deployed: Deployed) -> set[str]:
    """Channels that were told of a notice."""
    listed = deployed.cloud.client("s3").list_objects_v2(Bucket=deployed.outputs["StateBucket"], Prefix="notices/loud/")
    return {Path(item["Key"]).stem for item in listed.get("Contents", []) if "/notified/" in item["Key"]}


@pytest.fixture(scope="module")
def refused(deployed: Deployed) -> Started:
    """A good run, one of whose channels refuses for good."""
    empty(deployed)
    deployed.services.received.clear()
    started = deployed.schedule("2026-11-20T04:30:00Z", job="loud", sources=["data"])
    assert deployed.ended(started.execution)["status"] == "SUCCEEDED"
    return started


def test_a_run_tells_that_it_begins_and_how_it_ended(deployed: Deployed, refused: Started) -> None:
    assert pings(deployed) == ["/start", ""]
    begun = next(request for request in deployed.services.received if "/start" in request.path)
    assert (
        f"See https://eu-central-1.console.aws.amazon.com/states/home?region=eu-central-1#/v2/executions/details/{refused.execution}"
        in begun.body.decode()
    )


def test_what_is_refused_for_good_is_not_tried_again_and_hurts_no_other(deployed: Deployed, refused: Started) -> None:
    hooks = [request for request in deployed.services.received if "/hook/" in request.path]
    assert len(hooks) == 1
    told = {answer.channel: answer for answer in deployed.state.notified("loud", refused.run)}
    assert {id_: answer.status for id_, answer in told.items()} == {"hook": "failed", "ping": "sent", "ops": "sent"}
    assert told["hook"].permanent and told["hook"].error.startswith("Web hook answered 404")
    assert deployed.report(refused.run, "loud").outcome is Outcome.STORED


def test_what_was_refused_is_sent_again_once_the_reason_is_gone(deployed: Deployed, refused: Started) -> None:
    code, (looked,), everything = redrive(deployed, "--dry-run")
    assert (code, looked["kind"], looked["job"], looked["run"]) == (0, "message", "loud", refused.run)
    assert (looked["channel"], looked["status"]) == ("hook", "kept")
    assert "Web hook answered 404" in looked["reason"]
    code, (tried,), said = redrive(deployed)
    assert (code, tried["status"]) == (1, "failed") and "Web hook answered 404" in tried["error"]
    deployed.hooks.set()
    try:
        code, (sent,), _ = redrive(deployed)
    finally:
        deployed.hooks.clear()
    assert (code, sent["status"]) == (0, "sent")
    (body,) = deployed.services.messages[-1:]
    assert (body["event"], body["report"]["run"]) == ("run finished", refused.run)
    assert {a.channel: a.status for a in deployed.state.notified("loud", refused.run)}["hook"] == "sent"
    queue = deployed.cloud.client("sqs")
    assert "Messages" not in queue.receive_message(QueueUrl=deployed.outputs["DeadLetterQueue"])
    assert not [secret for secret in (HOOK_TOKEN, HOOK_KEY, PING_TOKEN) if secret in everything + said]


def test_a_run_that_is_stopped_is_told(deployed: Deployed) -> None:
    empty(deployed)
    deployed.services.received.clear()
    started = deployed.schedule("2026-11-21T04:30:00Z", job="loud", sources=["endless", "data"])
    wait_for(lambda: deployed.state.progress("loud", started.run), "the worker did not begin")
    wait_for(lambda: deployed.state.result("loud", started.run, "data"), "the other source was not stored")
    deployed.cloud.client("stepfunctions").stop_execution(executionArn=started.execution)
    wait_for(lambda: pings(deployed) == ["/start", "/fail"], "the end was not told", 60)
    report = deployed.report(started.run, "loud")
    assert (report.outcome, report.error) == (Outcome.PARTIAL, "the run was stopped by someone")
    assert {result.source: result.outcome for result in report.results}["data"] is Outcome.STORED
    wait_for(lambda: len(deployed.state.notified("loud", started.run)) == 3, "not every channel was told", 60)
    letters = wait_for(lambda: redrive(deployed, "--dry-run")[1], "the refused message is not in the queue", 60)
    assert [(letter["channel"], letter["run"]) for letter in letters] == [("hook", started.run)]
    assert any("the run was stopped by someone" in message["text"] for message in deployed.slack.messages)


def test_the_watch_tells_of_a_schedule_that_someone_disabled(deployed: Deployed, refused: Started) -> None:
    scheduler = deployed.cloud.client("scheduler")
    found = scheduler.get_schedule(Name="loud", GroupName="Backups")
    kept = {name: found[name] for name in ("Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target")}
    scheduler.update_schedule(**kept, State="DISABLED")
    deployed.hooks.set()
    try:
        looked = [watch(deployed) for _ in range(2)]
        jobs = len(list((deployed.directory / "jobs").glob("*.json")))
        assert looked == [{"jobs": jobs, "problems": 1}] * 2, "a job could not be looked at"
        wait_for(lambda: notices_told(deployed) == {"hook", "ops"}, "the notice was not told", 60)
    finally:
        deployed.hooks.clear()
        scheduler.update_schedule(**kept, State="ENABLED")
    text = "Backups of 'loud' (Job) on 'loud1': the schedule is disabled: no run begins"
    assert len([message for message in deployed.slack.messages if text in message["text"]]) == 1
    assert deployed.services.messages[-1]["notice"]["findings"][0]["kind"] == "disabled"
    seen = deployed.state.seen("loud")
    assert seen is not None and refused.run in seen.read
    assert {place.source: bool(place.copies) for place in seen.places} == {
        "data": True,
        "gone": False,
        "endless": False,
    }


def test_what_the_watch_counts_is_what_alarms_look_for(deployed: Deployed) -> None:
    client = deployed.cloud.client("cloudwatch")
    names = {"HoursWithoutGoodCopy", "Looks", "RunsFailed", "RunsPartlyFailed", "RemovalsRefused"}
    alarms = [alarm for alarm in client.describe_alarms()["MetricAlarms"] if alarm["MetricName"] in names]
    assert {alarm["MetricName"] for alarm in alarms} == names
    counted = {
        (metric["MetricName"], *sorted((d["Name"], d["Value"]) for d in metric["Dimensions"]))
        for metric in client.list_metrics(Namespace="Backups")["Metrics"]
    }
    for alarm in alarms:
        dimensions = sorted((d["Name"], d["Value"]) for d in alarm["Dimensions"])
        job = dict(dimensions).get("job", "loud")
        if job == "loud":  # whether others ran is up to other tests
            assert (alarm["MetricName"], *dimensions) in counted


def watch(deployed: Deployed) -> dict[str, Any]:
    """What the schedule does every hour."""
    schedule = deployed.cloud.client("scheduler").get_schedule(Name="hourly.watch", GroupName="Backups")
    payload = schedule["Target"]["Input"].encode()
    answer = deployed.cloud.client("lambda").invoke(FunctionName=deployed.outputs["WatchName"], Payload=payload)
    return dict(json.loads(answer["Payload"].read()))


def test_no_secret_is_in_any_message_queue_record_or_log(deployed: Deployed) -> None:
    seen = [message["text"] for message in deployed.slack.messages]
    seen += [request.body.decode() for request in deployed.services.received]
    queue = deployed.cloud.client("sqs").receive_message(QueueUrl=deployed.outputs["DeadLetterQueue"])
    seen += [message["Body"] for message in queue.get("Messages", [])]
    assert queue["Messages"]
    s3, bucket = deployed.cloud.client("s3"), deployed.outputs["StateBucket"]
    for item in s3.list_objects_v2(Bucket=bucket, Prefix="runs/loud/")["Contents"]:
        seen.append(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read().decode())
    logs = deployed.cloud.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        seen += [event["message"] for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]]
    steps = deployed.cloud.client("stepfunctions")
    for found in steps.list_state_machines()["stateMachines"]:
        for execution in steps.list_executions(stateMachineArn=found["stateMachineArn"])["executions"]:
            history = steps.get_execution_history(executionArn=execution["executionArn"])
            seen.append(json.dumps(history, default=str))
    planted = (HOOK_TOKEN, HOOK_KEY, PING_TOKEN, PASSPHRASE, PATH)
    assert not [(secret, text) for text in seen for secret in planted if secret in text]
