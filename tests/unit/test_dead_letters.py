"""The dead-letter queue: what is sent again is deleted, and nothing else ever is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from backups.cloud.dead_letters import Letter, redrive
from backups.errors import BackupsError
from tests.unit.deployment import deployment
from tests.unit.test_stopped import NAME, event

POINTER = {"bucket": "state", "key": "runs/nightly/run-1/job.json"}
CAUSE = json.dumps({"errorMessage": "channel ops was not told: gone", "errorType": "PermanentError"})
MESSAGE = {
    **{"job": "nightly", "run": "run-1", "channel": "ops", "job_file": POINTER, "about": "end", "execution": ""},
    "failure": {"Error": "PermanentError", "Cause": CAUSE},
}
SCHEDULE = {"job": "nightly", "scheduled_time": "2026-11-23T02:30:00Z"}


class Functions:
    """Answers as Lambda does; moto would need Docker for it."""

    def __init__(self) -> None:
        self.invoked: list[tuple[str, Any]] = []
        self.refuse: Callable[[dict[str, Any]], bool] = lambda _: False

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:  # noqa: N803
        body = json.loads(Payload)
        self.invoked.append((FunctionName, body))
        failed = self.refuse(body)
        answer = json.dumps({"errorMessage": "still gone", "errorType": "FunctionError"} if failed else {})
        return {"Payload": SimpleNamespace(read=answer.encode), **({"FunctionError": "Unhandled"} if failed else {})}


@pytest.fixture
def functions(monkeypatch: pytest.MonkeyPatch) -> Functions:
    made = Functions()
    real = boto3.client

    def client(service: str, **options: Any) -> Any:
        return made if service == "lambda" else real(service, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(boto3, "client", client)
    return made


@pytest.fixture
def queue() -> Iterator[str]:
    with deployment():
        yield boto3.client("sqs").create_queue(QueueName="dead")["QueueUrl"]


def stack(queue: str) -> Any:
    return SimpleNamespace(dead_letters=queue, notify="Backups-notify", ended="Backups-ended")


def put(queue: str, *bodies: object) -> None:
    for body in bodies:
        text = body if isinstance(body, str) else json.dumps(body)
        boto3.client("sqs").send_message(QueueUrl=queue, MessageBody=text)


def left(queue: str) -> list[Any]:
    """What shows in the queue now."""
    client = boto3.client("sqs")
    found: list[Any] = []
    while messages := client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", []):
        found += [json.loads(message["Body"]) for message in messages]
    return found


def numbered(count: int) -> list[dict[str, Any]]:
    return [{**MESSAGE, "run": f"run-{number}"} for number in range(count)]


def test_what_is_sent_again_is_deleted(queue: str, functions: Functions) -> None:
    put(queue, MESSAGE)
    assert list(redrive(stack(queue), dry_run=False)) == [
        Letter(
            kind="message",
            job="nightly",
            run="run-1",
            channel="ops",
            about="end",
            reason="channel ops was not told: gone",
            status="sent",
        )
    ]
    assert functions.invoked == [("Backups-notify", MESSAGE)]
    assert left(queue) == []


def test_every_message_is_taken_once_however_many_there_are(queue: str, functions: Functions) -> None:
    put(queue, *numbered(23))
    functions.refuse = lambda body: body["run"] in ("run-3", "run-17")
    letters = list(redrive(stack(queue), dry_run=False))
    assert sorted(letter.run for letter in letters) == sorted(f"run-{number}" for number in range(23))
    assert {letter.run: letter.error for letter in letters if letter.status != "sent"} == {
        "run-3": "still gone",
        "run-17": "still gone",
    }
    assert {body["run"] for body in left(queue)} == {"run-3", "run-17"}


def test_a_dry_run_sends_and_deletes_nothing(queue: str, functions: Functions) -> None:
    put(queue, MESSAGE, SCHEDULE)
    letters = list(redrive(stack(queue), dry_run=True))
    assert {letter.kind: letter.status for letter in letters} == {"message": "kept", "schedule": "kept"}
    assert functions.invoked == []
    assert len(left(queue)) == 2


def test_a_run_that_was_cut_off_is_told_by_the_function_for_it(queue: str, functions: Functions) -> None:
    put(queue, event({"job": "nightly", "verdict": "run"}))
    (letter,) = redrive(stack(queue), dry_run=False)
    assert (letter.kind, letter.job, letter.run, letter.status) == ("run cut off", "nightly", NAME, "sent")
    assert [name for name, _ in functions.invoked] == ["Backups-ended"]
    assert left(queue) == []


@pytest.mark.parametrize("body", [SCHEDULE, {"odd": 1}, [1], "no JSON {", '"text"'], ids=str)
def test_what_is_no_message_stays_with_a_hint(queue: str, functions: Functions, body: object) -> None:
    put(queue, body)
    (letter,) = redrive(stack(queue), dry_run=False)
    assert letter.status == "kept" and letter.hint and functions.invoked == []
    assert boto3.client("sqs").receive_message(QueueUrl=queue)["Messages"]


def test_a_schedule_s_event_says_how_to_make_up_for_it(queue: str) -> None:
    put(queue, SCHEDULE)
    (letter,) = redrive(stack(queue), dry_run=False)
    assert letter.kind == "schedule" and "backups start nightly" in letter.hint


def test_one_that_lambda_refuses_loses_nothing(
    queue: str, functions: Functions, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(queue, *numbered(3))
    before = functions.invoke

    def refused(**_: Any) -> Any:
        raise ClientError({"Error": {"Code": "TooManyRequestsException", "Message": "slow down"}}, "Invoke")

    monkeypatch.setattr(functions, "invoke", refused)
    with pytest.raises(BackupsError, match="could not invoke function Backups-notify"):
        list(redrive(stack(queue), dry_run=False))
    monkeypatch.setattr(functions, "invoke", before)
    assert {letter.status for letter in redrive(stack(queue), dry_run=False)} == {"sent"}
    assert len(functions.invoked) == 3


def test_whoever_stops_in_the_middle_leaves_the_rest(queue: str, functions: Functions) -> None:
    put(queue, *numbered(2))
    going = redrive(stack(queue), dry_run=False)
    first = next(going)
    going.close()
    assert first.status == "sent" and len(functions.invoked) == 1
    assert [body["run"] for body in left(queue)] == [next(run for run in ("run-0", "run-1") if run != first.run)]


def test_a_queue_that_is_not_there_is_told(queue: str) -> None:
    boto3.client("sqs").delete_queue(QueueUrl=queue)
    with pytest.raises(BackupsError, match="could not read the dead-letter queue"):
        list(redrive(stack(queue), dry_run=False))
