"""The watch of a stack: what it reads, remembers and has told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from backups.cloud.delivery import Channel, deliver
from backups.cloud.watch import Look, look
from backups.context import Context
from backups.errors import BackupsError
from backups.notifications import NOTIFICATIONS
from backups.records import Outcome
from backups.verification.status import Check, Verification
from tests.jobs import job_with
from tests.servers.slack import slack_server
from tests.unit.deployment import Deployment, deployment
from tests.unit.reports import report, result, stored

NOW = dt.datetime(2026, 11, 23, 9, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)
GROUP = "Backups"
CHATS: list[dict[str, Any]] = [
    {"id": "ops", "type": "discord", "url": "https://chat.example/hook"},
    {"id": "good", "type": "discord", "url": "https://chat.example/good", "notify_on_failure": False},
    {"id": "ping", "type": "healthchecks", "ping_url": "https://ping.example/x"},
]


def schedule(state: str = "ENABLED") -> None:
    client = boto3.client("scheduler")
    target = {
        "Arn": "arn:aws:lambda:eu-central-1:123456789012:function:x",
        "RoleArn": "arn:aws:iam::123456789012:role/x",
    }
    given = {"Name": "nightly", "GroupName": GROUP, "Target": target, "FlexibleTimeWindow": {"Mode": "OFF"}}
    call = client.update_schedule if state != "ENABLED" else client.create_schedule
    call(ScheduleExpression="cron(30 2 * * ? *)", State=state, **given)


@pytest.fixture
def stack() -> Iterator[Deployment]:
    with deployment() as made:
        boto3.client("ssm").delete_parameter(Name="/Backups/jobs/nightly")
        made.deploy({**job_with("notifications", *CHATS), "hostname": "web1", "schedule": "30 2 * * *"})
        boto3.client("scheduler").create_schedule_group(Name=GROUP)
        schedule()
        yield made


def run(stack: Deployment, ended: dt.datetime) -> None:
    """A run that stored."""
    one = result("etc", finished=ended, plain_size=9, destinations=(stored("disk"),))
    stack.state.put_report(report(one, run=f"{ended:%Y%m%dT%H%M%SZ}", finished=ended))


def at(stack: Deployment, now: dt.datetime, ended: str = "") -> Look:
    return look(stack.cloud, "nightly", GROUP, now=now, ended=ended)


def test_a_job_that_is_well_is_told_of_to_nobody(stack: Deployment) -> None:
    run(stack, NOW - 6 * HOUR)
    assert at(stack, NOW) == Look(at(stack, NOW).seen, (), False)
    assert stack.sent() == []


def test_what_is_late_is_told_once_then_daily_and_when_it_is_over(stack: Deployment) -> None:
    run(stack, NOW - 30 * HOUR)
    failed = report(result("etc", Outcome.FAILED), run="20261124T023000Z")  # the next night: begun, but nothing new
    stack.state.put_report(failed)
    told = [at(stack, NOW + hours * HOUR).told for hours in (0, 1, 2, 24)]
    assert told == [True, False, False, True]
    run(stack, NOW + 24 * HOUR)
    over = at(stack, NOW + 25 * HOUR)
    assert (over.found, over.told) == ((), True)
    messages = [Channel.model_validate(message) for message in stack.sent()]
    # Not to who hears of successes only, and not to a monitor, for which a ping is a run.
    assert [(message.channel, message.about) for message in messages] == [("ops", "notice")] * 3
    notices = [stack.state.notice("nightly", run) for run in sorted(message.run for message in messages)]
    assert [(len(n.findings), n.reminder) for n in notices if n] == [(1, False), (1, True), (0, False)]


def test_a_schedule_that_someone_disabled_is_noticed(stack: Deployment) -> None:
    run(stack, NOW - HOUR)
    schedule("DISABLED")
    assert [finding.kind for finding in at(stack, NOW).found] == ["disabled"]
    boto3.client("scheduler").delete_schedule(Name="nightly", GroupName=GROUP)
    assert "is gone" in at(stack, NOW).found[0].text


def status(**changes: Any) -> Verification:
    """How a check left the copies."""
    fields = {"job": "nightly", "run": "20261123T080000Z", "hostname": "web1", "started": NOW, "finished": NOW}
    return Verification.model_validate({**fields, "within_days": 30, "copies": 3, "checked": 2, **changes})


def test_what_a_check_found_is_told_and_counted_once(stack: Deployment) -> None:
    run(stack, NOW - HOUR)
    bad = Check(source="etc", destination="disk", key="web1/2026-11-20/etc.tar.gpg", status="damaged", error="rotten")
    stack.state.put_verification(status(bad=(bad,), damaged=1, going=True))
    first = at(stack, NOW)
    assert ([f.kind for f in first.found], first.told, first.new_check) == (["damaged"], True, False)
    stack.state.put_verification(status(bad=(bad,), damaged=1))
    looks = [at(stack, NOW + hours * HOUR) for hours in (1, 2)]
    assert [(look.told, look.new_check) for look in looks] == [(False, True), (False, False)]
    stack.state.put_verification(status(run="20261124T080000Z"))
    over = at(stack, NOW + 3 * HOUR)
    assert (over.found, over.told, over.new_check) == ((), True, True)


def test_a_check_that_was_killed_is_told_and_no_other(stack: Deployment) -> None:
    run(stack, NOW - HOUR)
    stack.state.put_verification(status(going=True, execution="second"))
    assert at(stack, NOW, ended="first").found == ()  # one that was refused, since another is at work
    killed = at(stack, NOW + HOUR, ended="second")
    assert [finding.text for finding in killed.found] == [
        "the last check of the copies was not whole: it was killed; the next one goes on where it ended"
    ]
    assert (killed.told, killed.new_check) == (True, True)
    later = at(stack, NOW + 2 * HOUR)
    assert (len(later.found), later.told, later.new_check) == (1, False, False)
    stack.state.put_verification(status(run="20261124T080000Z", going=True, execution="third"))
    assert at(stack, NOW + 3 * HOUR).found == ()


def test_checks_that_never_come_are_noticed_unless_the_job_wants_none(stack: Deployment) -> None:
    for days in range(5):
        run(stack, NOW + days * 24 * HOUR - HOUR)
        found = [f.kind for f in at(stack, NOW + days * 24 * HOUR).found]
        assert found == (["unverified"] if days > 3 else [])
    job = {**job_with("notifications", *CHATS), "hostname": "web1", "schedule": "30 2 * * *", "verification": None}
    stack.state.put_verification(status(damaged=1))
    boto3.client("ssm").delete_parameter(Name="/Backups/jobs/nightly")
    stack.deploy(job)
    look = at(stack, NOW + 4 * 24 * HOUR)
    assert (look.found, look.verification, look.seen.checks_since) == ((), None, None)


def test_only_reports_that_are_new_are_read(stack: Deployment) -> None:
    run(stack, NOW - 30 * HOUR)
    at(stack, NOW)
    boto3.client("s3").put_object(
        Bucket="state", Key=f"runs/nightly/{NOW - 30 * HOUR:%Y%m%dT%H%M%SZ}/report.json", Body=b"?"
    )
    run(stack, NOW - HOUR)
    assert at(stack, NOW).seen.places[0].copies[0].at == NOW - HOUR


def test_a_run_that_is_going_is_read_when_it_has_ended(stack: Deployment) -> None:
    name = f"{NOW - 30 * HOUR:%Y%m%dT%H%M%SZ}"
    stack.state.put_job_file("nightly", name, b"{}")
    assert at(stack, NOW).seen.read == ()
    run(stack, NOW - 30 * HOUR)
    assert at(stack, NOW).seen.read == (name,)


def test_a_notice_that_could_not_be_sent_is_told_at_the_next_look(
    stack: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(stack, NOW - 30 * HOUR)

    def refused(*_: object) -> None:
        raise BackupsError("could not send messages")

    with monkeypatch.context() as patch, pytest.raises(BackupsError):
        patch.setattr(type(stack.cloud), "send", refused)
        at(stack, NOW)
    assert stack.state.seen("nightly") is None
    assert at(stack, NOW + HOUR).told


def test_a_notice_reaches_the_channel_in_words(stack: Deployment, context: Context) -> None:
    with slack_server() as slack:
        chat = {"id": "ops", "type": "slack", "url": slack.url}
        boto3.client("ssm").delete_parameter(Name="/Backups/jobs/nightly")
        stack.deploy({**job_with("notifications", chat), "hostname": "web1", "schedule": "30 2 * * *"})
        run(stack, NOW - 30 * HOUR)
        at(stack, NOW)
        (message,) = stack.sent()
        assert deliver(stack.state, Channel.model_validate(message), context).status == "sent"
        run(stack, NOW)
        at(stack, NOW + HOUR)
        (over,) = [sent for sent in stack.sent() if sent != message]
        deliver(stack.state, Channel.model_validate(over), context)
    late, well = (sent["text"] for sent in slack.messages)
    assert "Backups of 'nightly' (Job) on 'web1': 'etc' at 'disk' has had no good copy for 30 h 0 min" in late
    assert "#dashboards/dashboard/Backups" in late
    assert "Backups of 'nightly' (Job) on 'web1' are as they should be again." in well


def test_monitors_that_count_runs_hear_of_no_notice() -> None:
    types = [NOTIFICATIONS.get(name) for name in ("healthchecks", "prometheus", "flagfile", "slack", "webhook")]
    assert [type_.tells_notices for type_ in types if type_] == [False, False, False, True, True]


def test_a_failed_run_is_no_success(stack: Deployment) -> None:
    stack.state.put_report(report(result("etc", Outcome.FAILED), run="20261123T020000Z"))
    assert at(stack, NOW).seen.success is None
