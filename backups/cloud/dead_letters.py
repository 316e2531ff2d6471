"""The dead-letter queue of a deployed stack: what lies in it, and sending again what can be sent again.

A message of a channel, and the event of a run that was cut off, hold all that is needed. They are handed to the
function that could not do its work, and only what it then did is deleted. Everything else stays as it is.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Generator, Iterator
from typing import Any, Literal

from pydantic import ValidationError

from backups.cloud.delivery import Channel
from backups.cloud.reporting import Stopped
from backups.cloud.stack import Stack, asking
from backups.records import Record

_HIDDEN_SECONDS = 900
"""How long a message that was received is hidden from others: longer than ten of them take."""
_ANSWER_SECONDS = 320  # more than any function may take
_LONGEST_REASON = 1_000


class Letter(Record):
    """Something that could not be delivered, and what became of it now."""

    kind: Literal["message", "run cut off", "schedule", "unknown"]
    job: str = ""
    run: str = ""
    channel: str = ""
    about: str = ""
    reason: str = ""
    """Why it lies there."""
    status: Literal["sent", "failed", "kept"] = "kept"
    """``failed``: it was tried and stays. ``kept``: it was not tried."""
    error: str = ""
    """Why it failed now."""
    hint: str = ""


def redrive(stack: Stack, *, dry_run: bool) -> Generator[Letter, None, None]:
    """Send again what can be sent again, one after the other; with ``dry_run`` only look.

    Raises BackupsError when AWS refuses. What was received and not deleted shows in the queue again at the end, or
    when the generator is closed.
    """
    received: dict[str, str] = {}
    try:
        for message in _received(stack.dead_letters, received):
            letter = _read(message)
            if not dry_run and letter.kind in ("message", "run cut off"):
                letter = _sent(stack, letter, message["Body"])
                if letter.status == "sent":
                    with asking("delete a message that was sent from the dead-letter queue"):
                        _sqs().delete_message(QueueUrl=stack.dead_letters, ReceiptHandle=message["ReceiptHandle"])
                    received.pop(message["MessageId"])
            yield letter
    finally:
        for handle in received.values():
            _show_again(stack.dead_letters, handle)


def _received(queue: str, received: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Every message once, hidden from others meanwhile; ``received`` gets its id and handle."""
    seen: set[str] = set()
    while True:
        with asking("read the dead-letter queue"):
            batch = (
                _sqs()
                .receive_message(
                    QueueUrl=queue,
                    MaxNumberOfMessages=10,
                    VisibilityTimeout=_HIDDEN_SECONDS,
                    WaitTimeSeconds=1,  # asks all of the queue's servers: then an empty answer means an empty queue
                    MessageAttributeNames=["All"],
                )
                .get("Messages", [])
            )
        fresh = [message for message in batch if message["MessageId"] not in seen]
        if not fresh:
            return
        seen.update(message["MessageId"] for message in fresh)
        received.update((message["MessageId"], message["ReceiptHandle"]) for message in batch)
        yield from fresh


def _read(message: dict[str, Any]) -> Letter:
    """What a message is. Never raises: whatever lies in the queue must not keep the rest from being sent."""
    attributes = message.get("MessageAttributes", {})
    names = ("ERROR_MESSAGE", "ErrorMessage", "ERROR_CODE")
    reason = next((attributes[name].get("StringValue", "") for name in names if name in attributes), "")
    try:
        body = json.loads(message["Body"])
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return Letter(kind="unknown", reason=reason, hint="look at it in the queue; delete it there")
    with contextlib.suppress(ValidationError):
        due = Channel.model_validate(body)
        reason = reason or _reason(body.get("failure"))
        return Letter(kind="message", job=due.job, run=due.run, channel=due.channel, about=due.about, reason=reason)
    with contextlib.suppress(ValidationError):
        stopped = Stopped.model_validate(body.get("detail"))
        given = stopped.given()
        return Letter(kind="run cut off", job=str(given.get("job", "")), run=stopped.name, reason=reason)
    if "scheduled_time" in body:
        job = str(body.get("job", ""))
        hint = f"that backup was not made: backups start {job}; then delete the message in the queue"
        return Letter(kind="schedule", job=job, run=str(body["scheduled_time"]), reason=reason, hint=hint)
    return Letter(kind="unknown", reason=reason, hint="look at it in the queue; delete it there")


def _reason(failure: Any) -> str:
    """The words of what Step Functions caught."""
    if not isinstance(failure, dict):
        return ""
    cause = str(failure.get("Cause", ""))
    with contextlib.suppress(ValueError):
        parsed = json.loads(cause)
        cause = str(parsed.get("errorMessage", cause)) if isinstance(parsed, dict) else cause
    return (cause or str(failure.get("Error", "")))[:_LONGEST_REASON]


def _sent(stack: Stack, letter: Letter, body: str) -> Letter:
    """Have the function do its work now."""
    import boto3
    from botocore.config import Config

    once: Any = {"total_max_attempts": 1}  # a second invocation would send a second message
    function = stack.notify if letter.kind == "message" else stack.ended
    with asking(f"invoke function {function}"):
        client = boto3.client("lambda", config=Config(read_timeout=_ANSWER_SECONDS, retries=once))
        answer = client.invoke(FunctionName=function, Payload=body.encode())
        content = answer["Payload"].read()
    if not answer.get("FunctionError"):
        return letter.model_copy(update={"status": "sent"})
    return letter.model_copy(update={"status": "failed", "error": _reason({"Cause": content.decode(errors="replace")})})


def _show_again(queue: str, handle: str) -> None:
    """Best effort: a message that can't be shown at once shows by itself after a quarter of an hour."""
    from botocore.exceptions import BotoCoreError, ClientError

    with contextlib.suppress(BotoCoreError, ClientError):
        _sqs().change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0)


def _sqs() -> Any:
    import boto3

    return boto3.client("sqs")
