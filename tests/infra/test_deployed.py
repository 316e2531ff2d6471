"""The stack deployed to the embedded cloud, where every role may do what the template says and nothing else."""

from __future__ import annotations

import json
import os
import signal

import pytest

from backups.records import Outcome
from tests.infra.deployed_stack import CROWD, PASSPHRASE, Deployed, crowd, workers
from tests.servers.local_cloud import wait_for
from tests.servers.slack import PATH

pytestmark = pytest.mark.xdist_group("deployed")


def test_a_scheduled_run_stores_everywhere_once(deployed: Deployed) -> None:
    told = len(deployed.slack.messages)
    started = deployed.schedule("2026-11-20T02:30:00Z", sources=["data"])
    assert started.verdict == "run"
    assert deployed.ended(started.execution)["status"] == "SUCCEEDED"
    report = deployed.report(started.run)
    (result,) = report.results
    assert (report.outcome, [at.status for at in result.destinations]) == (Outcome.STORED, ["stored", "stored"])
    assert [(p.destination, p.kept, p.error) for p in report.pruned] == [("main", 1, ""), ("far", 1, "")]
    size = deployed.cloud.client("s3").head_object(Bucket="copies", Key=f"team-a/{result.key}")["ContentLength"]
    assert size == result.size
    again = deployed.schedule("2026-11-20T02:30:00Z", sources=["data"])
    assert (again.verdict, again.execution) == ("started before", started.execution)
    assert len(deployed.slack.messages) == told + 1


def test_retention_follows_the_next_run(deployed: Deployed) -> None:
    for day in ("21", "22"):
        started = deployed.schedule(f"2026-11-{day}T02:30:00Z", sources=["data"])
        assert deployed.ended(started.execution)["status"] == "SUCCEEDED"
    listed = deployed.cloud.client("s3").list_objects_v2(Bucket="copies", Prefix="team-a/")["Contents"]
    assert [item["Key"] for item in listed if not item["Key"].endswith(".json")] == [
        "team-a/web1/2026-11-22/data.tar.zst.gpg"
    ]


def test_retention_among_thousands_goes_on_from_turn_to_turn(deployed: Deployed) -> None:
    others = f"{CROWD}-other/2019-01-01/data.tar.zst.gpg"
    s3 = deployed.cloud.client("s3")
    s3.put_object(Bucket=CROWD, Key=others, Body=b"of another host")
    started = deployed.schedule("2026-11-20T02:30:00Z", job="crowded", sources=["data"])
    assert deployed.ended(started.execution)["status"] == "SUCCEEDED"
    (record,) = deployed.report(started.run, "crowded").pruned
    today, *before = ["crowd1/2026-11-20/data.tar.zst.gpg", *reversed(crowd())]
    yearly = [max(key for key in before if key.startswith(f"crowd1/{year}")) for year in (2025, 2024, 2023, 2022)]
    kept = {today, *before[:2], *yearly}
    assert (record.error, record.refused, record.kept) == ("", {}, len(kept))
    assert record.removed_count == len(before) + 1 - len(kept)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=CROWD)
    left = {found["Key"] for page in pages for found in page["Contents"]}
    assert left == {others, *kept, *(f"{key}.manifest.json" for key in kept)}
    turns = 0
    while deployed.state.retention("crowded", started.run, "main", turns + 1):
        turns += 1
    assert turns >= 5  # five thousand to list, a thousand in a turn


def test_a_source_that_fails_hurts_no_other(deployed: Deployed) -> None:
    execution = deployed.by_hand({"job": "nightly", "sources": ["data", "gone"]})
    ended = deployed.ended(execution)
    assert (ended["status"], ended["error"]) == ("FAILED", "BackupPartlyFailed")
    assert ended["cause"] == "1 of 2 sources not stored everywhere: gone"
    assert "gone" in deployed.slack.messages[-1]["text"]


def test_a_killed_worker_is_told_and_meanwhile_no_second_run_starts(deployed: Deployed) -> None:
    started = deployed.schedule("2026-11-25T02:30:00Z", sources=["endless"])
    wait_for(lambda: deployed.state.progress("nightly", started.run), "the worker did not begin")
    second = deployed.schedule("2026-11-25T02:31:00Z", sources=["data"])
    assert second.verdict == "skipped"
    assert deployed.ended(second.execution)["status"] == "SUCCEEDED"
    assert deployed.report(second.run).outcome is Outcome.SKIPPED
    for pid in workers(started.run):
        os.kill(pid, signal.SIGKILL)
    ended = deployed.ended(started.execution)
    assert (ended["status"], ended["error"]) == ("FAILED", "BackupFailed")
    (result,) = deployed.report(started.run).results
    assert result.error == "the worker was killed"
    assert "the worker was killed" in deployed.slack.messages[-1]["text"]
    assert deployed.report(started.run).pruned == ()


def test_a_job_that_nobody_deployed_fails_and_says_so(deployed: Deployed) -> None:
    ended = deployed.ended(deployed.by_hand({"job": "nope"}))
    assert (ended["status"], ended["error"], ended["cause"]) == (
        "FAILED",
        "BackupFailed",
        "no job 'nope' is deployed",
    )


def test_a_channel_that_refuses_ends_in_the_queue_and_changes_no_outcome(deployed: Deployed) -> None:
    deployed.cloud.client("sqs").purge_queue(QueueUrl=deployed.outputs["DeadLetterQueue"])
    deployed.cloud.client("ssm").put_parameter(
        Name="/slack", Value=f"{deployed.slack.url}-revoked", Type="SecureString", Overwrite=True
    )
    try:
        started = deployed.schedule("2026-11-26T02:30:00Z", sources=["data"])
        assert deployed.ended(started.execution)["status"] == "SUCCEEDED"
    finally:
        deployed.cloud.client("ssm").put_parameter(
            Name="/slack", Value=deployed.slack.url, Type="SecureString", Overwrite=True
        )
    assert [told.status for told in deployed.state.notified("nightly", started.run)] == ["failed"]
    received = deployed.cloud.client("sqs").receive_message(QueueUrl=deployed.outputs["DeadLetterQueue"])
    (message,) = received["Messages"]
    body = json.loads(message["Body"])
    assert (body["channel"], body["run"]) == ("ops", started.run)
    assert PATH not in message["Body"]


def test_no_secret_is_in_any_input_history_record_or_log(deployed: Deployed) -> None:
    started = deployed.schedule("2026-11-27T02:30:00Z", sources=["data", "gone"])
    deployed.ended(started.execution)
    seen = [
        json.dumps(
            deployed.cloud.client("stepfunctions").describe_execution(executionArn=started.execution), default=str
        )
    ]
    history = deployed.cloud.client("stepfunctions").get_execution_history(executionArn=started.execution)
    seen.append(json.dumps(history, default=str))
    s3 = deployed.cloud.client("s3")
    records = s3.list_objects_v2(Bucket=deployed.outputs["StateBucket"], Prefix=f"runs/nightly/{started.run}/")
    seen += [
        s3.get_object(Bucket=deployed.outputs["StateBucket"], Key=item["Key"])["Body"].read().decode()
        for item in records["Contents"]
    ]
    logs = deployed.cloud.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        seen += [event["message"] for event in logs.filter_log_events(logGroupName=group["logGroupName"])["events"]]
    assert len(seen) > 20
    assert not [text for text in seen if PASSPHRASE in text or PATH in text]
