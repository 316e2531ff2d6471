"""Channels that hang, raise, leak or are not there; the models of those that come with the tool."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import PrivateAttr, SecretStr, ValidationError

from backups.context import Context
from backups.errors import NotificationError
from backups.job import Job, JobSettings
from backups.jobfile.settings import Encryption
from backups.notifications import Notification
from backups.notifications.flagfile import FlagFile
from backups.notifications.prometheus import Prometheus
from backups.notifications.slack import Slack
from backups.notifications.smtp import Smtp
from backups.notifying import ONE_TRY, Patience, notify, notify_all, notify_start, scrubbed
from backups.records import Notified, Outcome, Pruned, RunReport, RunStart, Told
from tests.unit.reports import FAILURE, START, SUCCESS, lost, report, result

QUICK = Patience(retry_after=0, limit=30)


def raising(*errors: BaseException) -> Callable[[RunReport], None]:
    """Raise these, one each time, then succeed."""
    left = [*errors]

    def does(_report: RunReport) -> None:
        if left:
            raise left.pop(0)

    return does


class Probe(Notification):
    """A third party's channel that does what a test wants."""

    type: Literal["probe"] = "probe"
    token: SecretStr = SecretStr("")
    _does: Callable[[RunReport], None] = PrivateAttr(default_factory=raising)
    _told: list[tuple[str, RunReport]] = PrivateAttr(default_factory=list)

    def send(self, report: RunReport, context: Context) -> None:
        self._told.append((self.token.get_secret_value(), report))
        self._does(report)


def probe(id_: str = "probe", does: Callable[[RunReport], None] | None = None, **fields: Any) -> Probe:
    """A channel, and what it does when it is told."""
    channel = Probe(id=id_, **fields)
    if does:
        channel._does = does
    return channel


def waits(until: threading.Event | threading.Barrier) -> None:
    """Wait for the others, or for the end of the test."""
    until.wait()


def job(*channels: Notification, **settings: Any) -> Job:
    """A job with these channels."""
    return Job("nightly", JobSettings(hostname="web1", **settings), (), (), channels)


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """Set when the test is over, so that what hangs ends."""
    event = threading.Event()
    yield event
    event.set()


def test_every_channel_is_told_and_the_records_have_the_jobs_order(context: Context) -> None:
    channels = [probe("a"), probe("b", notify_on_success=False), probe("c")]
    assert notify_all(job(*channels), SUCCESS, context, patience=QUICK) == (
        Notified(channel="a", type="probe", status="sent"),
        Notified(channel="b", type="probe", status="not wanted"),
        Notified(channel="c", type="probe", status="sent"),
    )
    assert [len(channel._told) for channel in channels] == [1, 0, 1]


def test_without_channels_there_is_nothing_to_tell(context: Context) -> None:
    assert notify_all(job(), SUCCESS, context) == ()


@pytest.mark.parametrize(
    "error",
    [
        NotificationError("channel: refused", permanent=True),
        RuntimeError("a bug"),
        SystemExit(3),
        KeyboardInterrupt(),
        RecursionError(),
    ],
    ids=repr,
)
def test_a_channel_that_raises_hurts_no_other_and_is_told_once(context: Context, error: BaseException) -> None:
    bad, good = probe("bad", raising(error)), probe("good")
    answers = notify_all(job(bad, good), FAILURE, context, patience=QUICK)
    assert [answer.status for answer in answers] == ["failed", "sent"]
    told = str(error) if isinstance(error, NotificationError) else f"{type(error).__name__}: {error}"
    assert answers[0].error == told
    assert len(bad._told) == 1


def test_a_channel_that_hangs_hurts_no_other(context: Context, never: threading.Event) -> None:
    hanging, good = probe("hanging", lambda _report: waits(never)), probe("good")
    answers = notify_all(job(hanging, good), SUCCESS, context, patience=Patience(retry_after=0, limit=0.5))
    assert [(a.channel, a.type, a.status) for a in answers] == [
        ("hanging", "probe", "failed"),
        ("good", "probe", "sent"),
    ]
    assert "no answer within 0.5 s" in answers[0].error


def test_a_channel_that_hangs_does_not_keep_the_process_alive() -> None:
    program = """
import pathlib, threading
from backups.context import Context
from backups.notifying import Patience, notify
from tests.unit.reports import SUCCESS
from tests.unit.test_notifying import job, probe, waits
channel = probe(does=lambda report: waits(threading.Event()))
answer = notify(job(channel), "probe", SUCCESS, Context(pathlib.Path()), patience=Patience(limit=0.2))
print(answer.status)
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "failed\n"


def test_channels_are_told_at_once(context: Context) -> None:
    together = threading.Barrier(3, timeout=20)
    channels = [probe(id_, lambda _report: waits(together)) for id_ in "abc"]
    assert {answer.status for answer in notify_all(job(*channels), SUCCESS, context, patience=QUICK)} == {"sent"}


def test_what_may_succeed_the_second_time_is_tried_twice(context: Context) -> None:
    channel = probe(does=raising(NotificationError("busy")))
    assert notify(job(channel), "probe", SUCCESS, context, patience=QUICK).status == "sent"
    assert len(channel._told) == 2


@pytest.mark.parametrize("error", [NotificationError("later", busy=True), NotificationError("no", permanent=True)])
def test_what_can_not_succeed_at_once_is_not_tried_again_at_once(context: Context, error: NotificationError) -> None:
    channel = probe(does=raising(error))
    answer = notify(job(channel), "probe", SUCCESS, context, patience=QUICK)
    assert (answer.status, answer.permanent, len(channel._told)) == ("failed", error.permanent, 1)


def test_whoever_tries_again_by_other_means_tries_once(context: Context) -> None:
    channel = probe(does=raising(NotificationError("broken")))
    answer = notify(job(channel), "probe", SUCCESS, context, patience=ONE_TRY)
    assert (answer.status, answer.permanent, len(channel._told)) == ("failed", False, 1)


def test_a_try_has_ten_seconds_unless_the_type_needs_more() -> None:
    assert (ONE_TRY.limit_for(probe()), Patience().limit_for(probe())) == (10, 25)
    assert ONE_TRY.limit_for(Prometheus(id="p", url="http://localhost:9091")) == 90


def test_a_pause_that_the_service_asks_for_is_not_counted(context: Context) -> None:
    class Pausing(Probe):
        type: Literal["probe"] = "probe"

        def send(self, report: RunReport, context: Context) -> None:
            context.pause(0.6)

    answer = notify(job(Pausing(id="probe")), "probe", SUCCESS, context, patience=Patience(None, limit=0.5))
    assert answer.status == "sent"


def test_what_fails_twice_has_failed(context: Context) -> None:
    channel = probe(does=raising(NotificationError("busy", hint="wait"), NotificationError("still busy")))
    answer = notify(job(channel), "probe", SUCCESS, context, patience=QUICK)
    assert (answer.status, answer.error) == ("failed", "still busy")
    assert len(channel._told) == 2


def test_a_channel_that_the_job_has_not_is_told(context: Context) -> None:
    answer = notify(job(probe()), "other", SUCCESS, context, patience=QUICK)
    error = "the job has no notification 'other' (it has: probe)"
    assert answer == Notified(channel="other", type="", status="failed", error=error, permanent=True)


def test_references_are_resolved_for_the_channel_alone(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_TOKEN", "resolved-token")
    channel = probe(token="{{resolve:env:CHAT_TOKEN}}")
    assert notify(job(channel), "probe", SUCCESS, context, patience=QUICK).status == "sent"
    assert channel._told[0][0] == "resolved-token"


def test_a_reference_that_can_not_be_resolved_is_told(context: Context) -> None:
    missing, good = probe("missing", token="{{resolve:env:NO_SUCH_VARIABLE}}"), probe("good")
    answers = notify_all(job(missing, good), SUCCESS, context, patience=QUICK)
    assert "environment variable NO_SUCH_VARIABLE is not set" in answers[0].error
    assert answers[1].status == "sent"
    assert missing._told == []


def test_no_error_of_a_channel_shows_its_secrets(context: Context) -> None:
    url = "https://chat.example/hooks/T0PLANTED/b0planted?key=q0planted"
    leaks = f"HTTPSConnectionPool(host='chat.example'): url: /hooks/T0PLANTED/b0planted?key=q0planted, {url}"
    answer = notify(job(probe(does=raising(OSError(leaks)), token=url)), "probe", SUCCESS, context, patience=QUICK)
    assert answer.status == "failed"
    assert "planted" not in answer.error.lower()


def test_a_report_is_told_without_secrets_that_the_job_file_holds(context: Context) -> None:
    leaky = report(
        result(name="planted-1", error="planted-1", warnings=("saw planted-1",), destinations=(lost("planted-1"),)),
        pruned=(Pruned(source="s", destination="d", refused={"planted-1": "planted-1"}),),
        link="https://there/planted-1",
    )
    channel = probe()
    encryption = Encryption(passphrase=SecretStr("planted-1"))
    notify(job(channel, encryption=encryption), "probe", leaky, context, patience=QUICK)
    ((_, seen),) = channel._told
    assert "planted" not in seen.model_dump_json()
    assert seen.pruned[0].refused == {"****": "****"}


def test_a_secret_that_is_a_word_of_the_records_changes_no_outcome(context: Context) -> None:
    for word in ("stored", "failed", "nightly"):
        context.secrets.scrub.add(word)
    about = report(result(outcome=Outcome.PARTIAL, destinations=(lost(),)))
    clean = scrubbed(about, context.secrets.scrub)
    assert clean.outcome is Outcome.PARTIAL
    assert clean.results[0].destinations[0].status == "failed"
    assert clean.job == "****"
    assert RunReport.model_validate_json(clean.model_dump_json()) == clean


MANUAL = {
    "host": "smtp.mycompany.com",
    "port": 587,
    "credentials": {"username": "backups", "password": "relaypassword"},
    "use_tls": 1,
    "use_ssl": 0,
    "success_to": "archive@mycompany.com",
    "failure_to": "sysadmin@mycompany.com",
}


def test_the_manuals_mail_is_read() -> None:
    channel = Smtp.model_validate(MANUAL)
    assert (channel.use_tls, channel.use_ssl) == (True, False)
    assert channel.username == "backups"
    assert channel.password.get_secret_value() == "relaypassword"
    assert channel.success_to == ("archive@mycompany.com",)
    assert "relaypassword" not in f"{channel!r}{channel.id}"
    flat = {key: value for key, value in MANUAL.items() if key != "credentials"}
    assert Smtp.model_validate(flat | {"username": "backups", "password": "relaypassword"}) == channel


@pytest.mark.parametrize(
    ("given", "port"),
    [({}, 25), ({"use_tls": 1}, 587), ({"use_ssl": "1"}, 465), ({"use_tls": "0"}, 25), ({"port": 2525}, 2525)],
)
def test_the_port_follows_the_encryption(given: dict[str, object], port: int) -> None:
    assert Smtp.model_validate({"host": "h"} | given)._port == port


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"use_ssl": 1}, "not both"),
        ({"credentials": {"username": "backups"}}, "both 'username' and 'password'"),
        ({"credentials": {"password": "x"}}, "both 'username' and 'password'"),
        ({"port": 0}, "greater than 0"),
        ({"port": 70000}, "less than 65536"),
        ({"host": ""}, "at least 1 character"),
        ({"success_to": "a@b\r\nBcc: c@d"}, "match pattern"),
        ({"failure_to": ["a@b", "x\ny"]}, "match pattern"),
        ({"sender": "a@b\nX: y"}, "match pattern"),
        ({"succes_to": "a@b"}, "Extra inputs"),
    ],
)
def test_a_wrong_mail_is_refused(changes: dict[str, object], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Smtp.model_validate(MANUAL | changes)


@pytest.mark.parametrize("model", [{"flagfile": "/backups/x.ok"}, {"filename": "/backups/x.ok"}])
def test_the_flag_files_two_spellings_are_read(model: dict[str, str]) -> None:
    assert FlagFile.model_validate(model).filename == "/backups/x.ok"


@pytest.mark.parametrize(
    ("flags", "wanted"),
    [
        ({}, [True, True]),
        ({"notify_on_success": "0"}, [False, True]),
        ({"notify_on_failure": 0}, [True, False]),
        ({"notify_on_success": 0, "notify_on_failure": "false"}, [False, False]),
    ],
)
def test_flags_say_which_runs_are_told(flags: dict[str, object], wanted: list[bool]) -> None:
    channel = Slack.model_validate({"url": "https://hooks.slack.com/services/T000/B000/XXXX"} | flags)
    assert [channel.wants(about) for about in (SUCCESS, FAILURE)] == wanted
    assert channel.wants(report(outcome=Outcome.SKIPPED)) is wanted[1]


def test_two_hooks_have_two_ids() -> None:
    ids = {Slack.model_validate({"url": f"https://hooks.slack.com/services/T/B/{n}"}).id for n in "ab"}
    assert len(ids) == 2


class Beginner(Probe):
    """A third party's channel that can tell of starts."""

    type: Literal["beginner"] = "beginner"  # type: ignore[assignment]
    tells_starts: ClassVar[bool] = True

    def start(self, begun: RunStart, context: Context) -> None:
        self._told.append((self.token.get_secret_value(), report(job=begun.job, error=" ".join(begun.sources))))
        self._does(SUCCESS)


def beginner(id_: str = "beginner", does: Callable[[RunReport], None] | None = None, **fields: Any) -> Beginner:
    """A channel that wants to know of starts."""
    channel = Beginner(id=id_, notify_on_start=True, **fields)
    if does:
        channel._does = does
    return channel


def test_those_who_want_to_know_are_told_that_a_run_begins(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHAT_TOKEN", "resolved-token")
    wants, other = beginner(token="{{resolve:env:CHAT_TOKEN}}"), probe("other")
    assert notify_start(job(wants, other), START, context, patience=QUICK)() == ()
    assert other._told == []
    ((token, seen),) = wants._told
    assert (token, seen.error) == ("resolved-token", "Live Company Data Etc")


def test_a_run_does_not_wait_for_those_who_are_told_that_it_begins(context: Context) -> None:
    begun = threading.Event()
    channel = beginner(does=lambda _report: waits(begun))
    wait = notify_start(job(channel), START, context, patience=QUICK)
    begun.set()  # only now may the message be sent: had the call waited for it, this would never come
    assert wait() == ()


def test_a_start_that_could_not_be_told_is_returned_without_secrets(context: Context) -> None:
    bad = beginner("bad", raising(NotificationError("no planted-token here", permanent=True)), token="planted-token")
    late = beginner("late", raising(NotificationError("busy")))
    assert notify_start(job(bad, late), START, context, patience=QUICK)() == (
        Notified(channel="bad", type="beginner", status="failed", error="no **** here", permanent=True),
    )
    assert len(late._told) == 2


def test_a_start_that_hangs_is_given_up(context: Context, never: threading.Event) -> None:
    channel = beginner(does=lambda _report: waits(never))
    (answer,) = notify_start(job(channel), START, context, patience=Patience(retry_after=0, limit=0.5))()
    assert "no answer within 0.5 s" in answer.error


def test_a_type_that_can_not_tell_of_starts_says_so(context: Context) -> None:
    with pytest.raises(NotificationError, match="type 'probe' can't tell of starts"):
        probe().start(START, context)


def test_a_channel_that_wants_changes_is_told_by_what_it_knew(context: Context) -> None:
    channel = probe(notify_on="change", remind_days=0)
    knows = Told(at=FAILURE.started, failing=("db",))
    assert notify(job(channel), "probe", FAILURE, context, previous=knows, patience=QUICK).status == "not wanted"
    assert notify(job(channel), "probe", SUCCESS, context, previous=knows, patience=QUICK).status == "sent"
    assert notify(job(channel), "probe", SUCCESS, context, patience=QUICK).status == "not wanted"
    (answer,) = notify_all(job(channel), FAILURE, context, previous={"probe": knows}, patience=QUICK)
    assert answer.status == "not wanted"
