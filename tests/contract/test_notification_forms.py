"""What each service over HTTP is sent, as its manual has it. What is refused, every channel's suite shows."""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from moto import mock_aws
from pydantic import ValidationError

from backups.context import Context
from backups.notifications.sns import subject
from backups.notifications.webhook_json import SIGNATURE_HEADER, TIMESTAMP_HEADER, HookBody, signature
from backups.records import Outcome, Pruned
from tests.contract.channels import APPRISE_PATH, HOOK_KEY, PING_PATH, SERVICES, Service, started, told
from tests.servers.sink import Answer, Sink, sink
from tests.unit.reports import FAILURE, SIZE, START, SUCCESS, lost, report, result, stored

ALL = {service.type_: service for service in SERVICES}
GOOD = "Backup of 'Live Company Data' (MySQL) on 'web1' was successful [size: 12.3 MB]."
BAD = "Backup of 'Live Company Data' (MySQL) on 'web1' failed: mysqldump ended with status 2 (check dbuser)"
TIME = "7 min 0 s, from 2026-11-23 02:00 to 02:07 UTC"
PARTIAL = report(
    result(outcome=Outcome.PARTIAL, destinations=(stored(), lost(hint="ask them")), warnings=("tar: odd",)),
    pruned=(Pruned(source="db", destination="myamazon", refused={"old.gpg": "locked"}),),
    link="https://console.example/run-1",
)
FACTS = ("12.3 MB", TIME, "'myamazon' in 0 s", "'offsite': offsite: access denied (ask them)", "tar: odd")
"""What every rich form of PARTIAL shows, with the removal that was refused and the link."""


@pytest.fixture
def server() -> Iterator[Sink]:
    with sink() as running:
        yield running


def send(service: Service, server: Sink, about: Any, context: Context, **changes: object) -> None:
    """Tell of runs, one after the other."""
    server.judge = service.judge
    for one in about if isinstance(about, list) else [about]:
        assert told(service.channel(server.base, **changes), one, context).error == ""


@pytest.mark.parametrize("type_", ["slack", "discord", "hipchat", "matrix", "telegram", "webhook"])
def test_rich_forms_carry_the_same_facts(server: Sink, context: Context, type_: str) -> None:
    send(ALL[type_], server, PARTIAL, context)
    (body,) = server.messages
    text = json.dumps(body, ensure_ascii=False).replace("\\\\", "").replace("&#x27;", "'")
    facts = ("offsite: access denied", "ask them", "tar: odd", "old.gpg", "locked", "https://console.example/run-1")
    for fact in facts if type_ == "webhook" else (*FACTS, *facts):
        assert fact in text, fact


def test_discord_is_sent_the_words_and_a_coloured_embed(server: Sink, context: Context) -> None:
    send(ALL["discord"], server, [SUCCESS, FAILURE], context)
    good, bad = server.messages
    assert good["content"].replace("\\", "") == GOOD
    assert good["allowed_mentions"] == {"parse": []}
    (embed,) = good["embeds"]
    assert embed["title"].replace("\\", "") == "Live Company Data (MySQL) on web1"
    assert {f["name"]: f["value"].replace("\\", "") for f in embed["fields"]} == {
        "Size": "12.3 MB",
        "Time": TIME,
        "Stored at": "'myamazon' in 0 s",
    }
    assert bad["content"].replace("\\", "") == BAD
    names = [f["name"] for f in bad["embeds"][0]["fields"]]
    assert names == ["Error", "Way out", "Source", "Time"]
    assert embed["color"] != bad["embeds"][0]["color"]


def test_hipchat_is_sent_the_old_tools_form(server: Sink, context: Context) -> None:
    send(ALL["hipchat"], server, [SUCCESS, FAILURE], context)
    good, bad = server.messages
    assert good["message"].replace("&#x27;", "'").split("<br>")[0] == f"<b>{GOOD}</b>"
    del good["message"], bad["message"]
    assert good == {"from": "Backup Agent", "message_format": "html", "notify": False, "color": "green"}
    assert bad == {**good, "notify": True, "color": "red"}


def test_telegram_is_sent_the_words_in_bold_and_the_facts_below(server: Sink, context: Context) -> None:
    send(ALL["telegram"], server, SUCCESS, context)
    (message,) = server.messages
    assert message["chat_id"] == "38123456"
    assert message["text"].replace("&#x27;", "'").splitlines() == [
        f"<b>{GOOD}</b>", f"Time: {TIME}", "Stored at: 'myamazon' in 0 s",
    ]  # fmt: skip
    server.answers = [Answer(429, json.dumps({"ok": False, "parameters": {"retry_after": 0}}))]
    send(ALL["telegram"], server, SUCCESS, context)
    assert server.requests == 3


@pytest.mark.parametrize(
    ("body", "pause"),
    [
        ('{"ok": false, "parameters": {"retry_after": 5}}', 5),
        ('{"retry_after": 0.75, "global": false}', 0.75),
        ('{"errcode": "M_LIMIT_EXCEEDED", "retry_after_ms": 2500}', 2.5),
        ("too fast", 1),
        ('{"retry_after": []}', 1),
        ("[" * 4000, 1),
    ],
)
def test_a_pause_may_stand_in_the_answers_body(
    server: Sink, context: Context, monkeypatch: pytest.MonkeyPatch, body: str, pause: float
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    server.answers = [Answer(429, body)]
    send(ALL["discord"], server, SUCCESS, context)
    assert pauses == [pause]


def test_healthchecks_hears_of_begin_success_and_failure_of_the_same_run(server: Sink, context: Context) -> None:
    service = ALL["healthchecks"]
    assert started(service.channel(server.base), context) == ()
    send(service, server, [SUCCESS, FAILURE, PARTIAL, report(outcome=Outcome.SKIPPED)], context)
    paths = [urlsplit(request.path) for request in server.accepted]
    fail = f"{PING_PATH}/fail"
    assert [path.path for path in paths] == [f"{PING_PATH}/start", PING_PATH, fail, fail, fail]
    assert len({parse_qs(path.query)["rid"][0] for path in paths}) == 1
    assert server.accepted[1].body.decode() == GOOD
    assert server.accepted[2].body.decode() == BAD


def test_a_ping_has_at_most_ten_thousand_bytes_and_keeps_the_addresss_query(server: Sink, context: Context) -> None:
    about = report(*(result(f"s{n}", Outcome.FAILED, error="日" * 900) for n in range(50)))
    send(ALL["healthchecks"], server, about, context, ping_url=f"{server.base}{PING_PATH}/?create=1")
    (request,) = server.accepted
    assert 5_000 < len(request.body) <= 10_000
    assert "more lines" in request.body.decode()
    assert request.path.startswith(f"{PING_PATH}/fail?create=1&rid=")


def test_healthchecks_can_not_be_told_of_changes_only() -> None:
    with pytest.raises(ValidationError, match="monitoring counts on every run"):
        ALL["healthchecks"].channel("http://127.0.0.1", notify_on="change")


def test_a_web_hook_is_signed_with_its_time(server: Sink, context: Context) -> None:
    service = ALL["webhook"]
    before = dt.datetime.now(dt.UTC).timestamp()
    send(service, server, PARTIAL, context)
    (request,) = server.accepted
    time = request.headers[TIMESTAMP_HEADER]
    assert before - 1 <= int(time) <= dt.datetime.now(dt.UTC).timestamp()
    expected = hmac.new(HOOK_KEY.encode(), time.encode() + b"." + request.body, hashlib.sha256).hexdigest()
    assert request.headers[SIGNATURE_HEADER] == f"sha256={expected}"
    assert signature(HOOK_KEY, str(int(time) + 1), request.body) != request.headers[SIGNATURE_HEADER]
    body = HookBody.model_validate_json(request.body)
    assert (body.event, body.report, body.left_out) == ("run finished", PARTIAL, 0)
    assert body.text.startswith("Backup of 'Live Company Data' (MySQL) on 'web1' failed: stored at 'myamazon'")
    assert started(service.channel(server.base, notify_on_start=1), context) == ()
    begun = HookBody.model_validate_json(server.accepted[1].body)
    assert (begun.event, begun.started, begun.report) == ("run started", START, None)


def test_a_web_hook_of_ten_thousand_sources_leaves_out_good_ones(server: Sink, context: Context) -> None:
    results = [result(f"s{n}", warnings=("日" * 50,)) for n in range(10_000)]
    results[7_777] = result("bad", Outcome.FAILED, error="gone")
    about = report(*results, pruned=tuple(Pruned(source=f"s{n}", destination="a", kept=3) for n in range(10_000)))
    send(ALL["webhook"], server, about, context)
    (request,) = server.accepted
    assert 900_000 < len(request.body) <= 1_000_000
    body = HookBody.model_validate_json(request.body)
    assert body.report
    assert body.report.results[0].source == "bad"
    assert body.left_out == 10_000 - len(body.report.results)


def test_the_page_of_web_hooks_shows_their_schema() -> None:
    page = (Path(__file__).parents[2] / "docs" / "webhook.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in page.split("```json\n")[1:]]
    assert json.loads(blocks[-1]) == HookBody.model_json_schema(mode="serialization")
    example = HookBody.model_validate_json(blocks[0])
    assert example.report
    assert TIMESTAMP_HEADER in page
    assert SIGNATURE_HEADER in page


def test_the_pages_receiver_accepts_what_is_signed_and_nothing_else(server: Sink, context: Context) -> None:
    page = (Path(__file__).parents[2] / "docs" / "webhook.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    send(ALL["webhook"], server, SUCCESS, context)
    (request,) = server.accepted
    stamp, sign = request.headers[TIMESTAMP_HEADER], request.headers[SIGNATURE_HEADER]
    program = f"""{code}
import sys
body = sys.stdin.buffer.read()
print(is_genuine({HOOK_KEY!r}, {stamp!r}, {sign!r}, body))
print(is_genuine({HOOK_KEY!r}, {stamp!r}, {sign!r}, body + b" "))
print(is_genuine("another key of the signature", {stamp!r}, {sign!r}, body))
print(is_genuine({HOOK_KEY!r}, str(int({stamp!r}) - 301), {sign!r}, body))
"""
    done = subprocess.run([sys.executable, "-c", program], input=request.body, capture_output=True, check=True)
    assert done.stdout.decode().split() == ["True", "False", "False", "False"]


def test_apprise_reaches_a_service_of_its_own(server: Sink, context: Context) -> None:
    send(ALL["apprise"], server, [SUCCESS, FAILURE], context)
    assert [request.path for request in server.accepted] == [f"/{APPRISE_PATH}/"] * 2
    good, bad = server.messages
    assert (good["title"], good["message"], good["type"]) == (
        "Backup of Live Company Data (MySQL) on web1 was successful", GOOD, "success",
    )  # fmt: skip
    assert (bad["message"], bad["type"]) == (BAD, "failure")


def test_apprise_tells_why_it_failed_without_the_address(
    server: Sink, context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers = [Answer(403, "no")] * 2
    answer = told(ALL["apprise"].channel(server.base), SUCCESS, context)
    assert answer.error.startswith("Apprise could not send the message: Failed to send JSON")
    assert "error=403" in answer.error
    assert APPRISE_PATH not in answer.error + caplog.text


@pytest.mark.parametrize("url", ["nosuchservice://planted-token-value", "no address", "planted-token-value"])
def test_an_address_that_apprise_does_not_know_is_told(context: Context, url: str) -> None:
    answer = told(ALL["apprise"].channel("http://127.0.0.1", url=url), SUCCESS, context)
    assert answer.error.startswith("Apprise does not know a service for 'url'")
    assert "planted" not in answer.error


def test_without_apprise_the_way_out_is_told(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    answer = told(ALL["apprise"].channel("http://127.0.0.1"), SUCCESS, context)
    assert answer.error == "Apprise is not installed (pip install 'backups[apprise]')"


def test_sns_publishes_subject_and_words(context: Context) -> None:
    with mock_aws():
        topic = boto3.client("sns", region_name="eu-west-1").create_topic(Name="backups")["TopicArn"]
        queue = boto3.client("sqs", region_name="eu-west-1").create_queue(QueueName="mail")["QueueUrl"]
        arn = f"arn:aws:sqs:eu-west-1:{topic.split(':')[4]}:mail"
        boto3.client("sns", region_name="eu-west-1").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
        many = report(*(result(f"s{n}", Outcome.FAILED, error="日" * 900) for n in range(1000)), job="Größe " * 40)
        for about in (FAILURE, many):
            assert told(ALL["sns"].channel("", topic_arn=topic), about, context).error == ""
        found = boto3.client("sqs", region_name="eu-west-1").receive_message(QueueUrl=queue, MaxNumberOfMessages=10)
        messages = [json.loads(message["Body"]) for message in found["Messages"]]
        by_subject = {message["Subject"]: message["Message"] for message in messages}
        assert by_subject.pop("ERROR: Backup of Live Company Data (MySQL) on web1 failed") == BAD
        ((long_subject, long_text),) = by_subject.items()
        assert len(long_subject) <= 100
        assert long_subject.isascii()
        assert 100_000 < len(long_text.encode()) <= 262_144 - 100
        missing = told(ALL["sns"].channel("", topic_arn=f"{topic}x"), SUCCESS, context)
        assert missing.error.startswith("SNS refused the message: NotFound")
        assert missing.error.endswith("(the topic does not exist: check 'topic_arn')")


@pytest.mark.parametrize("text", ["ü" * 300, " x", "日本", "ERROR: Backup of a (b) on c failed"])
def test_a_subject_is_ascii_and_short(text: str) -> None:
    made = subject(text)
    assert 0 < len(made) <= 100
    assert made.isascii()
    assert made == made.strip()


@pytest.mark.parametrize(
    "changes",
    [
        {"topic_arn": "arn:aws:sns:eu-west-1:1:x"},
        {"topic_arn": "backups"},
        {"credentials": {"aws_access_key_id": "AKIA"}},
        {"credentials": {"aws_secret_access_key": "secret"}},
    ],
)
def test_a_wrong_topic_or_half_of_a_key_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ALL["sns"].channel("", **changes)


def test_a_size_is_told_as_it_is(server: Sink, context: Context) -> None:
    send(ALL["webhook"], server, SUCCESS, context)
    assert server.messages[0]["report"]["results"][0]["size"] == SIZE
