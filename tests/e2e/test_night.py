"""The nightly job as it is deployed: from the schedule to copies that come back byte for byte."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from backups.records import Manifest, Outcome
from local_cloud import stock
from local_cloud.night import until
from tests.e2e.conftest import (
    DATABASE,
    DB_PASSWORD,
    HOST,
    MAIN,
    PASSPHRASE,
    SECOND,
    SLACK_PATH_SECRET,
    Scene,
    running_task,
)
from tests.servers.faulty_proxy import Fault
from tests.servers.slack import Answer
from tests.servers.smtp import Received

pytestmark = pytest.mark.xdist_group("night")

WHEN = dt.datetime(2026, 11, 20, 2, 30, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def nightly(scene: Scene) -> tuple[str, dict[str, Any]]:
    """One good run of the whole job, fired by its schedule."""
    for day in ("2026-11-17", "2026-11-18", "2026-11-19"):
        _earlier_copy(scene, f"{HOST}/{day}/files.tar.zst.gpg")
    _earlier_copy(scene, "other.example.org/2020-01-01/files.tar.zst.gpg")
    run = scene.night.fire("nightly", at=WHEN)
    return run, scene.night.ended("nightly", run)


def test_the_schedule_starts_a_run_that_stores_every_source_everywhere(
    scene: Scene, nightly: tuple[str, dict[str, Any]]
) -> None:
    run, execution = nightly
    report = scene.night.report("nightly", run)
    assert execution["status"] == "SUCCEEDED", report.model_dump_json(indent=1)
    assert report.outcome is Outcome.STORED
    assert {result.source for result in report.results} == {"files", "work", "db"}
    for result in report.results:
        for place, bucket in zip(result.destinations, (MAIN, SECOND), strict=True):
            assert place.status == "stored"
            assert place.verified
            manifest = _manifest(scene, bucket, result.key)
            assert (manifest.sha256, manifest.size) == (result.sha256, result.size)


def test_every_copy_comes_back_with_stock_tools_only(
    scene: Scene, nightly: tuple[str, dict[str, Any]], tmp_path: Path
) -> None:
    run, _ = nightly
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    originals = {"files": (scene.folder, ()), "work": (scene.work / "work", ("*.tmp",))}
    for result in scene.night.report("nightly", run).results:
        for bucket in (MAIN, SECOND):
            copy = tmp_path / bucket / Path(result.key).name
            scene.night.download(bucket, result.key, copy)
            if result.source in originals:
                original, excludes = originals[result.source]
                target = tmp_path / f"{bucket}-{result.source}"
                target.mkdir()
                stock.pipeline(copy, passphrase, "tar", "-x", "-i", "-p", "-f", "-", "-C", str(target))
                assert stock.differences(original, target / original.name, excludes) == []
            else:
                scene.database.execute("DROP DATABASE restored; CREATE DATABASE restored")
                stock.pipeline(copy, passphrase, "mysql", f"--defaults-file={scene.database.admin_options}", "restored")
                options = ("--routines", "--events", "--triggers", "--skip-comments", "--hex-blob")
                assert scene.database.dump(*options, DATABASE) == scene.database.dump(*options, "restored")


def test_retention_keeps_what_the_rules_keep_and_touches_no_other_host(
    scene: Scene, nightly: tuple[str, dict[str, Any]]
) -> None:
    run, _ = nightly
    days = {key.split("/")[1] for key in scene.keys(MAIN, f"{HOST}/") if "/files." in key}
    assert days == {"2026-11-19", "2026-11-20"}
    assert scene.keys(MAIN, "other.example.org/") == [
        "other.example.org/2020-01-01/files.tar.zst.gpg",
        "other.example.org/2020-01-01/files.tar.zst.gpg.manifest.json",
    ]
    pruned = {(record.source, record.destination): record for record in scene.night.report("nightly", run).pruned}
    assert len([key for key in pruned["files", "main"].removed if not key.endswith(".json")]) == 2


def test_every_channel_tells_of_the_run_once_in_the_words_of_old(
    scene: Scene, nightly: tuple[str, dict[str, Any]]
) -> None:
    run, _ = nightly
    notified = {one.channel: one.status for one in scene.night.state.notified("nightly", run)}
    assert notified == {"team": "sent", "mail": "sent"}
    text = next(m["text"] for m in scene.slack.messages if "Live Company Data" in m["text"])
    assert f"Backup of 'Live Company Data' (MySQL) on '{HOST}' was successful [size: " in text
    mails = [mail for mail in scene.mail.mails if f"nightly-{run}" in _text(mail)]
    assert [mail.recipients for mail in mails] == [["team@example.org"]]
    assert mails[0].message["X-Backup-Hostname"] == HOST


def test_the_same_scheduled_time_makes_no_second_run(scene: Scene, nightly: tuple[str, dict[str, Any]]) -> None:
    _, execution = nightly
    before = _executions(scene)
    orchestrator = scene.night.outputs["OrchestratorName"]
    again = {"job": "nightly", "scheduled_time": WHEN.strftime("%Y-%m-%dT%H:%M:%SZ")}
    answer = scene.night.cloud.client("lambda").invoke(FunctionName=orchestrator, Payload=json.dumps(again).encode())
    told = json.loads(answer["Payload"].read())
    assert (told["verdict"], told["execution"]) == ("started before", execution["executionArn"])
    assert _executions(scene) == before


def test_no_secret_shows_anywhere(scene: Scene, nightly: tuple[str, dict[str, Any]]) -> None:
    _, execution = nightly
    planted = (PASSPHRASE, DB_PASSWORD, SLACK_PATH_SECRET, scene.mail.password)
    places = {
        "template": (scene.assembly / "Backups.template.json").read_text(),
        "execution": json.dumps(execution, default=str) + _history(scene, execution["executionArn"]),
        "logs": _logs(scene),
        "functions": json.dumps(scene.night.cloud.client("lambda").list_functions(), default=str),
        "tasks": json.dumps(_task_definitions(scene), default=str),
        "records": _objects(scene, scene.night.outputs["StateBucket"]),
        "messages": json.dumps(scene.slack.messages) + "".join(str(mail.message) for mail in scene.mail.mails),
    }
    assert all(places.values())
    for secret in planted:
        forms = {secret, json.dumps(secret)[1:-1], json.dumps(json.dumps(secret)[1:-1])[1:-1]}
        found = [name for name, content in places.items() if any(form in content for form in forms)]
        assert not found, f"a planted secret shows in {found}"


def test_a_person_starts_a_run_with_the_job_s_name_alone(scene: Scene) -> None:
    client = scene.night.cloud.client("stepfunctions")
    machine = scene.night.outputs["StateMachineArn"]
    arn = client.start_execution(stateMachineArn=machine, input=json.dumps({"job": "mute"}))["executionArn"]
    ended = until(
        lambda: e if (e := client.describe_execution(executionArn=arn))["status"] != "RUNNING" else None, "no end", 120
    )
    assert ended["status"] == "SUCCEEDED", ended
    assert any("mute.example.org" in message["text"] for message in scene.slack.messages)


def test_one_destination_down_leaves_the_other_good_and_the_run_partly_failed(scene: Scene) -> None:
    run = scene.night.fire("partly", at=WHEN)
    ended = scene.night.ended("partly", run)
    (result,) = scene.night.report("partly", run).results
    assert (ended["status"], ended["error"]) == ("FAILED", "BackupPartlyFailed")
    assert result.outcome is Outcome.PARTIAL
    assert [place.status for place in result.destinations] == ["stored", "failed"]
    assert _manifest(scene, MAIN, result.key).sha256 == result.sha256
    assert any("partly.example.org" in m["text"] and "failed" in m["text"] for m in scene.slack.messages)


def test_a_source_that_is_not_there_fails_the_run_and_says_what_to_do(scene: Scene) -> None:
    run = scene.night.fire("broken", at=WHEN)
    ended = scene.night.ended("broken", run)
    (result,) = scene.night.report("broken", run).results
    assert (ended["status"], ended["error"]) == ("FAILED", "BackupFailed")
    assert "no such folder" in result.error
    assert scene.keys(MAIN, "broken.example.org/") == []


def test_a_dead_channel_changes_no_outcome_and_its_message_is_kept(scene: Scene) -> None:
    scene.slack.answers = [Answer(404, "no_service") for _ in range(12)]
    try:
        run = scene.night.fire("mute", at=WHEN)
        ended = scene.night.ended("mute", run)
    finally:
        scene.slack.answers = []
    assert ended["status"] == "SUCCEEDED"
    queue = scene.night.outputs["DeadLetterQueue"]
    received = scene.night.cloud.client("sqs").receive_message(QueueUrl=queue, WaitTimeSeconds=5)
    (message,) = received["Messages"]
    assert '"team"' in message["Body"]
    assert SLACK_PATH_SECRET not in message["Body"]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_dies_is_reported_at_once_and_leaves_nothing_half(
    scene: Scene, stall: Fault, number: signal.Signals
) -> None:
    when = WHEN + dt.timedelta(days=1, hours=int(number))
    run = scene.night.fire("held", at=when)
    assert stall.stalled.wait(120), "the worker never wrote"
    task = running_task(scene, run)
    pids = scene.night.cloud.task_processes(task)
    assert pids, "the worker's process is not known"
    os.kill(pids[0], number)
    died = dt.datetime.now(dt.UTC)
    ended = scene.night.ended("held", run, timeout=60)  # the promise: reported within a minute
    scene.proxy.heal()
    assert (ended["status"], ended["error"]) == ("FAILED", "BackupFailed"), ended
    assert ended["stopDate"] - died < dt.timedelta(minutes=1)
    (result,) = scene.night.report("held", run).results
    assert result.outcome is Outcome.FAILED
    assert result.error
    until(lambda: None if scene.night.cloud.task_processes(task) else True, "the worker's children go on", 30)
    day = f"held.example.org/{when.date()}/"
    assert scene.keys(MAIN, day) == scene.keys(SECOND, day) == []
    assert any("held.example.org" in m["text"] and "failed" in m["text"] for m in scene.slack.messages)


def test_the_run_after_a_killed_one_stores_everything(scene: Scene) -> None:
    run = scene.night.fire("held", at=WHEN + dt.timedelta(days=3))
    ended = scene.night.ended("held", run)
    assert ended["status"] == "SUCCEEDED", scene.night.report("held", run).model_dump_json(indent=1)
    (result,) = scene.night.report("held", run).results
    assert result.outcome is Outcome.STORED
    assert {MAIN, SECOND} == {b for b in (MAIN, SECOND) if result.key in scene.keys(b, "held.example.org/")}


def test_a_run_that_is_due_while_another_goes_is_told_as_skipped(scene: Scene, stall: Fault) -> None:
    first = scene.night.fire("held", at=WHEN + dt.timedelta(days=5))
    assert stall.stalled.wait(120)
    second = scene.night.fire("held", at=WHEN + dt.timedelta(days=6))
    skipped = scene.night.ended("held", second)
    assert skipped["status"] == "SUCCEEDED"
    report = scene.night.report("held", second)
    assert report.outcome is Outcome.SKIPPED
    assert first in report.error
    client = scene.night.cloud.client("stepfunctions")
    task = running_task(scene, first)
    going = scene.night.execution("held", first)
    assert going is not None
    client.stop_execution(executionArn=going["executionArn"])
    until(lambda: None if scene.night.cloud.task_processes(task) else True, "the aborted run's worker goes on", 60)
    scene.proxy.heal()
    assert scene.keys(MAIN, f"held.example.org/{(WHEN + dt.timedelta(days=5)).date()}/") == []


def _text(mail: Received) -> str:
    body = mail.message.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def _earlier_copy(scene: Scene, key: str) -> None:
    """A copy of an earlier night, whose content nobody reads."""
    for bucket in (MAIN, SECOND):
        for name in (key, f"{key}.manifest.json"):
            scene.night.cloud.client("s3").put_object(Bucket=bucket, Key=name, Body=b"{}")


def _manifest(scene: Scene, bucket: str, key: str) -> Manifest:
    body = scene.night.cloud.client("s3").get_object(Bucket=bucket, Key=f"{key}.manifest.json")["Body"].read()
    return Manifest.model_validate_json(body)


def _executions(scene: Scene) -> int:
    machine = scene.night.outputs["StateMachineArn"]
    return len(scene.night.cloud.client("stepfunctions").list_executions(stateMachineArn=machine)["executions"])


def _history(scene: Scene, arn: str) -> str:
    client = scene.night.cloud.client("stepfunctions")
    return json.dumps(client.get_execution_history(executionArn=arn)["events"], default=str)


def _logs(scene: Scene) -> str:
    client = scene.night.cloud.client("logs")
    groups = [group["logGroupName"] for group in client.describe_log_groups()["logGroups"]]
    return json.dumps([client.filter_log_events(logGroupName=name)["events"] for name in groups], default=str)


def _task_definitions(scene: Scene) -> list[Any]:
    client = scene.night.cloud.client("ecs")
    arns = client.list_task_definitions()["taskDefinitionArns"]
    return [client.describe_task_definition(taskDefinition=arn)["taskDefinition"] for arn in arns]


def _objects(scene: Scene, bucket: str) -> str:
    client = scene.night.cloud.client("s3")
    bodies = (
        client.get_object(Bucket=bucket, Key=key)["Body"].read().decode(errors="replace") for key in scene.keys(bucket)
    )
    return "\n".join(bodies)
