"""Each channel against its server: what arrives, what is refused, and what errors say and do not say."""

from __future__ import annotations

import logging
import resource
import socket
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from backups.context import Context
from backups.errors import NotificationError
from backups.job import Job, JobSettings
from backups.notifications import NOTIFICATIONS, Notification
from backups.notifications.flagfile import FlagFile
from backups.notifications.slack import Slack
from backups.notifications.smtp import Smtp
from backups.notifying import Patience, notify, notify_start, tell_notice
from backups.records import Finding, Notice, Notified, Outcome, RunReport, Told
from tests.servers.slack import PATH, Answer, SlackServer, slack_server
from tests.servers.smtp import PASSWORD, USER, SmtpServer, smtp_server
from tests.unit.reports import FAILURE, START, SUCCESS, report, result

# the server warns that it takes passwords without STARTTLS: over SMTPS they are encrypted all the same
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")

AT_ONCE = Patience(retry_after=0)
TOKENS = (PATH, *PATH.split("/")[2:])


@pytest.fixture(scope="module")
def starttls_server() -> Iterator[SmtpServer]:
    with smtp_server("starttls") as server:
        yield server


@pytest.fixture
def mail_server(starttls_server: SmtpServer) -> SmtpServer:
    """STARTTLS and AUTH, with nothing left of the test before."""
    fresh = SmtpServer(starttls_server.port, starttls_server.ca_pem)
    vars(starttls_server).update(vars(fresh))
    return starttls_server


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    with slack_server() as server:
        yield server


def smtp(server: SmtpServer, **changes: Any) -> Smtp:
    """A channel as the manual writes it."""
    fields: dict[str, Any] = {
        "id": "mail",
        "host": "localhost",
        "port": server.port,
        "credentials": {"username": USER, "password": PASSWORD},
        "use_tls": 1,
        "use_ssl": 0,
        "ca_file": server.ca_pem,
        "success_to": "archive@mycompany.com",
        "failure_to": ["sysadmin@mycompany.com", "boss@mycompany.com"],
    }
    return Smtp.model_validate({key: value for key, value in (fields | changes).items() if value is not None})


def told(channel: Notification, about: RunReport, context: Context) -> Notified:
    """Send through ``notify``, as a run does."""
    job = Job("nightly", JobSettings(hostname="web1"), (), (), (channel,))
    return notify(job, channel.id, about, context, patience=AT_ONCE)


def started(channel: Notification, context: Context) -> tuple[Notified, ...]:
    """Tell that a run begins, as a run does; what is returned failed."""
    job = Job("nightly", JobSettings(hostname="web1"), (), (), (channel,))
    return notify_start(job, START, context, patience=AT_ONCE)()


def sent(server: SmtpServer) -> EmailMessage:
    """The one mail that arrived."""
    (mail,) = server.mails
    return mail.message


def plain(mail: EmailMessage) -> str:
    """What programs show that know no HTML."""
    return part(mail, "plain")


def page(mail: EmailMessage) -> str:
    """What the other programs show."""
    return part(mail, "html")


def part(mail: EmailMessage, kind: str) -> str:
    """One of the two forms of a mail."""
    found = mail.get_body((kind,))
    assert isinstance(found, EmailMessage)
    return str(found.get_content())


def unused_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that never answers is given up after a moment."""
    monkeypatch.setattr("backups.notifications.smtp.REQUEST_SECONDS", 0.3)
    monkeypatch.setattr("backups.notifications.exchange.REQUEST_SECONDS", 0.3)


# Mail


def test_success_is_mailed_over_starttls_with_a_login(mail_server: SmtpServer, context: Context) -> None:
    assert told(smtp(mail_server), SUCCESS, context).status == "sent"
    (mail,) = mail_server.mails
    assert mail.encrypted
    assert mail.user == USER
    assert mail.recipients == ["archive@mycompany.com"]
    message = mail.message
    assert message["Subject"] == "Backup of Live Company Data (MySQL) on web1 was successful"
    assert message["X-Backup-Id"] == "db"
    assert message["X-Backup-Type"] == "MySQL"
    assert message["X-Backup-Hostname"] == "web1"
    assert message["From"] == "backups@web1"
    assert message["Date"].datetime == SUCCESS.finished
    assert message["Message-ID"].endswith("@web1>")
    assert message.get_content_type() == "multipart/alternative"
    assert plain(message) == ("Backup of 'Live Company Data' (MySQL) on 'web1' was successful [size: 12.3 MB].\n")


@pytest.mark.parametrize("password", ['plain-ascii "quoted"', "pässwörd 日本", PASSWORD])
def test_any_password_logs_in(mail_server: SmtpServer, context: Context, password: str) -> None:
    mail_server.password = password
    channel = smtp(mail_server, credentials={"username": USER, "password": password})
    assert told(channel, SUCCESS, context) == Notified(channel="mail", type="smtp", status="sent")
    assert mail_server.logins[-1] == password


def test_failure_is_mailed_to_everyone_it_is_for(mail_server: SmtpServer, context: Context) -> None:
    assert told(smtp(mail_server), FAILURE, context).status == "sent"
    assert mail_server.mails[0].recipients == ["sysadmin@mycompany.com", "boss@mycompany.com"]
    assert sent(mail_server)["Subject"] == "ERROR: Backup of Live Company Data (MySQL) on web1 failed"


def test_one_mail_tells_of_several_sources(mail_server: SmtpServer, context: Context) -> None:
    about = report(result("a"), result("b", Outcome.FAILED, label="Folder", error="gone"))
    assert told(smtp(mail_server), about, context).status == "sent"
    assert sent(mail_server)["X-Backup-Id"] == "a, b"
    assert sent(mail_server)["X-Backup-Type"] == "MySQL, Folder"
    assert len(plain(sent(mail_server)).splitlines()) == 2


@pytest.mark.parametrize("mode", ["smtps", "plain"])
def test_mail_goes_over_smtps_and_to_a_plain_relay(mode: Any, context: Context) -> None:
    with smtp_server(mode, login=mode == "smtps") as server:
        changes: dict[str, Any] = {"use_tls": 0, "use_ssl": mode == "smtps"}
        if mode == "plain":
            changes |= {"credentials": {}, "ca_file": None}
        assert told(smtp(server, **changes), SUCCESS, context).status == "sent"
        assert server.mails[0].encrypted is (mode == "smtps")


def test_the_authority_may_be_given_as_a_file(mail_server: SmtpServer, context: Context, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(mail_server.ca_pem)
    assert told(smtp(mail_server, ca_file=str(file)), SUCCESS, context).status == "sent"
    missing = told(smtp(mail_server, ca_file=str(tmp_path / "none.pem")), SUCCESS, context)
    assert missing.error == f"'ca_file' {tmp_path}/none.pem does not exist"


@pytest.mark.parametrize("mode", ["starttls", "smtps"])
@pytest.mark.parametrize("wrong", ["authority", "name"])
def test_a_certificate_that_can_not_be_trusted_gets_no_password_and_no_mail(
    mode: Any, wrong: str, context: Context
) -> None:
    with smtp_server(mode) as server:
        changes: dict[str, Any] = {"use_tls": mode == "starttls", "use_ssl": mode == "smtps"}
        changes |= {"ca_file": None} if wrong == "authority" else {"host": "127.0.0.1"}
        answer = told(smtp(server, **changes), SUCCESS, context)
        assert answer.status == "failed"
        assert (
            "unable to get local issuer certificate" if wrong == "authority" else "IP address mismatch"
        ) in answer.error
        assert "'ca_file'" in answer.error
        assert (server.logins, server.mails) == ([], [])


def test_a_server_without_starttls_gets_no_password_and_no_mail(context: Context) -> None:
    with smtp_server("plain") as server:
        answer = told(smtp(server), SUCCESS, context)
        assert answer.status == "failed"
        assert "STARTTLS" in answer.error
        assert (server.logins, server.mails) == ([], [])


def test_smtps_on_a_port_that_begins_in_plain_says_which_switch_to_use(
    mail_server: SmtpServer, context: Context
) -> None:
    answer = told(smtp(mail_server, use_tls=0, use_ssl=1), SUCCESS, context)
    assert answer.status == "failed"
    assert "'use_tls' for the others" in answer.error


def test_a_wrong_password_is_told_once_and_never_shown(
    mail_server: SmtpServer, context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    mail_server.login_refusal = "535 5.7.8 no such user with {password}"
    wrong = "planted-wrong-password"
    answer = told(smtp(mail_server, credentials={"username": USER, "password": wrong}), SUCCESS, context)
    assert answer.status == "failed"
    assert "refused the user name or password: 535 5.7.8 no such user with ****" in answer.error
    assert set(mail_server.logins) == {wrong}
    with pytest.raises(NotificationError) as caught:
        smtp(mail_server, credentials={"username": USER, "password": wrong}).send(SUCCESS, context)
    assert wrong not in str(caught.value)
    logged = [record.getMessage() for record in caplog.records if record.name != "mail.log"]  # the server's own
    assert wrong not in answer.error + str(logged)
    assert mail_server.mails == []


def test_the_page_of_a_mail_shows_every_fact_and_runs_nothing(mail_server: SmtpServer, context: Context) -> None:
    evil = "<script>alert(1)</script>"
    failed = result("b", Outcome.FAILED, name=evil, error=f"tar: {evil}", hint="look there", warnings=("odd",))
    about = report(result(), failed, link="https://console.example/run-1?a=1&b=2")
    assert told(smtp(mail_server), about, context).status == "sent"
    shown = page(sent(mail_server))
    for fact in (
        "12.3 MB",
        "7 min 0 s, from 2026-11-23 02:00 to 02:07 UTC",
        "&#x27;myamazon&#x27;",
        "look there",
        "odd",
    ):
        assert fact in shown
    assert '<a href="https://console.example/run-1?a=1&amp;b=2">' in shown
    assert "<script>" not in shown
    assert "&lt;script&gt;" in shown


def test_a_mail_tells_that_a_run_begins_to_those_who_are_told_of_success(
    mail_server: SmtpServer, context: Context
) -> None:
    channel = smtp(mail_server, notify_on_start=1)
    assert started(channel, context) == ()
    assert mail_server.mails[0].recipients == ["archive@mycompany.com"]
    assert sent(mail_server)["Subject"] == "Backup of nightly (Job) on web1 has started"
    assert plain(sent(mail_server)) == "Backup of 'nightly' (Job) on 'web1' has started [sources: 2].\n"
    assert told(channel, SUCCESS, context).status == "sent"
    assert len({mail.message["Message-ID"] for mail in mail_server.mails}) == 2
    assert started(smtp(mail_server, notify_on_start=1, success_to=None), context) == ()
    assert len(mail_server.mails) == 2


def test_what_is_over_is_mailed_to_those_who_heard_of_it(mail_server: SmtpServer, context: Context) -> None:
    admin = ["sysadmin@mycompany.com", "boss@mycompany.com"]
    only = smtp(mail_server, success_to=None, notify_on="change")
    before = Told(at=SUCCESS.started, failing=("db",))
    job = Job("nightly", JobSettings(hostname="web1"), (), (), (only,))
    assert notify(job, only.id, SUCCESS, context, previous=before, patience=AT_ONCE).status == "sent"
    assert mail_server.mails[-1].recipients == admin
    both = smtp(mail_server, notify_on="change")
    job = Job("nightly", JobSettings(hostname="web1"), (), (), (both,))
    assert notify(job, both.id, SUCCESS, context, previous=before, patience=AT_ONCE).status == "sent"
    assert mail_server.mails[-1].recipients == ["archive@mycompany.com", *admin]
    about: dict[str, Any] = {"job": "nightly", "run": "20261123T033000Z", "hostname": "web1", "at": SUCCESS.finished}
    late = Finding(severity="error", kind="late", source="db", destination="main", text="'db' at 'main' is late")
    for found in ((late,), ()):
        assert tell_notice(job, both.id, Notice(**about, findings=found), context, patience=AT_ONCE).status == "sent"
        assert mail_server.mails[-1].recipients == admin
    assert mail_server.mails[-1].message["Subject"] == "Backups of nightly (Job) on web1 are as they should be again"


def test_greylisting_is_tried_again_with_the_same_message_id(mail_server: SmtpServer, context: Context) -> None:
    mail_server.data += ["250 OK", "451 4.7.1 greylisted"]
    channel = smtp(mail_server)
    assert told(channel, SUCCESS, context).status == "sent"
    assert told(channel, SUCCESS, context).status == "sent"
    first, second = mail_server.mails
    assert mail_server.data == []
    assert first.message["Message-ID"] == second.message["Message-ID"]


def test_greylisted_recipients_are_tried_again(mail_server: SmtpServer, context: Context) -> None:
    mail_server.recipients["archive@mycompany.com"] = ["450 4.2.0 greylisted"]
    assert told(smtp(mail_server), SUCCESS, context).status == "sent"
    assert len(mail_server.mails) == 1


def test_greylisting_that_goes_on_is_a_failure(mail_server: SmtpServer, context: Context) -> None:
    mail_server.data += ["451 4.7.1 greylisted"] * 2
    answer = told(smtp(mail_server), SUCCESS, context)
    assert answer.status == "failed"
    assert answer.error.endswith("refused the mail: 451 4.7.1 greylisted")


def test_a_refused_mail_is_not_tried_again(mail_server: SmtpServer, context: Context) -> None:
    mail_server.data += ["554 5.7.1 spam", "250 OK"]
    answer = told(smtp(mail_server), SUCCESS, context)
    assert "554 5.7.1 spam" in answer.error
    assert mail_server.data == ["250 OK"]


def test_a_refused_recipient_is_told_and_the_others_get_the_mail_once(
    mail_server: SmtpServer, context: Context
) -> None:
    mail_server.recipients["boss@mycompany.com"] = ["550 5.1.1 no such user"]
    answer = told(smtp(mail_server), FAILURE, context)
    assert answer.status == "failed"
    assert "refused boss@mycompany.com: 550 5.1.1 no such user" in answer.error
    assert [mail.recipients for mail in mail_server.mails] == [["sysadmin@mycompany.com"]]


def test_a_connection_that_is_cut_is_tried_again(mail_server: SmtpServer, context: Context) -> None:
    mail_server.data += ["drop"]
    assert told(smtp(mail_server), SUCCESS, context).status == "sent"
    mail_server.data += ["drop", "drop"]
    assert "closed the connection" in told(smtp(mail_server), SUCCESS, context).error


def test_a_server_that_is_gone_is_told(mail_server: SmtpServer, context: Context) -> None:
    port = unused_port()
    answer = told(smtp(mail_server, port=port), SUCCESS, context)
    assert answer == Notified(
        channel="mail", type="smtp", status="failed", error=f"mail server localhost:{port}: Connection refused"
    )


@pytest.mark.usefixtures("impatient")
def test_a_mail_server_that_hangs_is_given_up(mail_server: SmtpServer, context: Context) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        answer = told(smtp(mail_server, port=silent.getsockname()[1]), SUCCESS, context)
    assert answer.status == "failed"
    assert "localhost" in answer.error


def test_no_text_of_a_report_adds_a_header_or_a_recipient(mail_server: SmtpServer, context: Context) -> None:
    evil = "x\r\nBcc: thief@example.com\n\nbody"
    about = report(result(name=evil, source=evil, label=evil, hostname=evil, error=evil), job=evil)
    assert told(smtp(mail_server, sender="backups@mycompany.com"), about, context).status == "sent"
    assert mail_server.mails[0].recipients == ["archive@mycompany.com"]
    assert sent(mail_server)["Bcc"] is None
    assert len(plain(sent(mail_server)).splitlines()) == 1


def test_names_beyond_ascii_and_long_lines_arrive_whole(mail_server: SmtpServer, context: Context) -> None:
    name = "Größe 日本語 " + "x" * 150
    failed = result(name=name, outcome=Outcome.FAILED, error="ü" * 900)
    assert told(smtp(mail_server), report(failed), context).status == "sent"
    assert name in sent(mail_server)["Subject"]
    assert "ü" * 900 in plain(sent(mail_server))


def test_ten_thousand_sources_make_one_mail_of_bounded_size(mail_server: SmtpServer, context: Context) -> None:
    about = report(*(result(f"source-{number}") for number in range(10_000)))
    assert told(smtp(mail_server), about, context).status == "sent"
    assert len(plain(sent(mail_server))) <= 200_001  # and a line break
    assert "more lines" in plain(sent(mail_server))
    assert len(page(sent(mail_server))) <= 200_001
    assert "[cut: " in page(sent(mail_server))


def test_without_an_address_nothing_is_mailed(mail_server: SmtpServer, context: Context) -> None:
    assert told(smtp(mail_server, success_to=None), SUCCESS, context).status == "not wanted"
    assert told(smtp(mail_server, failure_to=""), FAILURE, context).status == "not wanted"
    assert told(smtp(mail_server, notify_on_success="0"), SUCCESS, context).status == "not wanted"
    assert told(smtp(mail_server, success_to=None), FAILURE, context).status == "sent"
    assert len(mail_server.mails) == 1


# Slack


def hook(server: SlackServer, **changes: Any) -> Slack:
    """A channel as the manual writes it."""
    fields = {"id": "chat", "url": server.url, "notify_on_success": 1, "notify_on_failure": "1"}
    return Slack.model_validate(fields | changes)


def test_success_reaches_slack_with_the_old_tools_form(slack: SlackServer, context: Context) -> None:
    assert told(hook(slack), SUCCESS, context).status == "sent"
    (message,) = slack.messages
    blocks = message.pop("blocks")
    assert message == {
        "username": "Backup Agent",
        "icon_emoji": ":+1:",
        "text": "Backup of 'Live Company Data' (MySQL) on 'web1' was successful [size: 12.3 MB].",
    }
    assert [block["type"] for block in blocks] == ["header", "section"]
    assert blocks[1]["text"]["text"].splitlines() == [
        ":large_green_circle: *Live Company Data (MySQL) on web1*",
        "*Size*: 12.3 MB",
        "*Time*: 7 min 0 s, from 2026-11-23 02:00 to 02:07 UTC",
        "*Stored at*: 'myamazon' in 0 s",
    ]


def test_failure_reaches_slack_with_the_other_icon(slack: SlackServer, context: Context) -> None:
    assert told(hook(slack), FAILURE, context).status == "sent"
    assert slack.messages[0]["icon_emoji"] == ":imp:"
    assert "failed: mysqldump ended" in slack.messages[0]["text"]


def test_markup_in_an_error_calls_nobody(slack: SlackServer, context: Context) -> None:
    failed = result(outcome=Outcome.FAILED, error="<!channel> tar & <https://evil.example|click>")
    assert told(hook(slack), report(failed), context).status == "sent"
    assert slack.messages[0]["text"].endswith("&lt;!channel&gt; tar &amp; &lt;https://evil.example|click&gt;")


def test_a_long_message_is_cut_to_what_slack_takes(slack: SlackServer, context: Context) -> None:
    results = (result(f"s{number}", Outcome.FAILED, error="<" * 900) for number in range(500))
    assert told(hook(slack), report(*results), context).status == "sent"
    assert "more lines" in slack.messages[0]["text"]
    assert "[cut: " in str(slack.messages[0]["blocks"])


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, "invalid_payload"),
        (403, "action_prohibited"),
        (404, "no_service"),
        (410, "channel_is_archived"),
        (302, ""),
    ],
)
def test_a_refusal_is_told_and_not_tried_again(slack: SlackServer, context: Context, status: int, body: str) -> None:
    slack.answers += [Answer(status, body, {"Location": slack.url} if status == 302 else {})]
    answer = told(hook(slack), SUCCESS, context)
    assert answer.status == "failed"
    assert answer.error.startswith(f"Slack answered {status}" + (f": {body}" if body else ""))
    assert slack.requests == 1


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_broken_service_is_tried_again_once(slack: SlackServer, context: Context, status: int) -> None:
    slack.answers += [Answer(status, "rollup_error")]
    assert told(hook(slack), SUCCESS, context).status == "sent"
    slack.answers += [Answer(status, "rollup_error")] * 2
    assert told(hook(slack), SUCCESS, context).error == f"Slack answered {status}: rollup_error"
    assert slack.requests == 4


def test_a_busy_service_is_given_the_pause_it_asks_for(
    slack: SlackServer, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    slack.answers += [Answer(429, "rate_limited", {"Retry-After": "7"})]
    assert told(hook(slack), SUCCESS, context).status == "sent"
    assert pauses == [7]


@pytest.mark.parametrize("pause", ["3600", "99999999999999999999"])
def test_a_service_that_asks_for_an_hour_is_not_waited_for(slack: SlackServer, context: Context, pause: str) -> None:
    slack.answers += [Answer(429, "rate_limited", {"Retry-After": pause})]
    assert "Slack answered 429: rate_limited" in told(hook(slack), SUCCESS, context).error
    assert slack.requests == 1


@pytest.mark.usefixtures("impatient")
def test_a_service_that_hangs_is_given_up(slack: SlackServer, context: Context) -> None:
    slack.answers += [Answer(200, hang=True)] * 2
    answer = told(hook(slack), SUCCESS, context)
    assert answer.error == "Slack: no answer within 0.3 s"


@pytest.mark.parametrize(
    "fault", ["gone", "no address", "echo", "tls", "redirect", "hang"], ids=lambda fault: fault.replace(" ", "_")
)
@pytest.mark.usefixtures("impatient")
def test_the_address_of_the_hook_is_in_no_error_and_no_log(
    slack: SlackServer, context: Context, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    caplog.set_level(logging.INFO)
    url = {
        "gone": f"http://127.0.0.1:{unused_port()}{PATH}",
        "no address": f"hooks.slack.com{PATH}",
        "tls": slack.url.replace("http:", "https:"),
    }.get(fault, slack.url)
    if fault == "echo":
        slack.answers += [Answer(404, f"no hook at {PATH}, token {TOKENS[-1]}")]
    if fault == "redirect":
        slack.answers += [Answer(307, f"see {slack.url}", {"Location": slack.url})]
    if fault == "hang":
        slack.answers += [Answer(200, hang=True)] * 2
    answer = told(hook(slack, url=url), SUCCESS, context)
    assert answer.status == "failed"
    assert answer.error.startswith("Slack")
    assert not [token for token in TOKENS if token in answer.error + caplog.text]


def test_an_answer_that_repeats_the_address_shows_it_to_no_caller(slack: SlackServer, context: Context) -> None:
    slack.answers += [Answer(404, f"no hook at {PATH}")]
    with pytest.raises(NotificationError) as caught:
        hook(slack).send(SUCCESS, context)
    assert str(caught.value).startswith("Slack answered 404: no hook at ****")


def test_planted_secrets_are_in_no_message(slack: SlackServer, mail_server: SmtpServer, context: Context) -> None:
    secrets = ["hunter2-planted", "line one of a key\nline two of a key", PASSWORD]
    for secret in secrets:
        context.secrets.scrub.add(secret)
    leaky = result(
        name=f"data {secrets[0]}",
        outcome=Outcome.FAILED,
        error=f"mysqldump: {secrets[0]} {secrets[1]}",
        hint=PASSWORD,
        warnings=(f"saw {secrets[0]}",),
    )
    about = report(leaky, link=f"https://there/?p={secrets[0]}")
    assert told(hook(slack), about, context).status == "sent"
    assert told(smtp(mail_server), about, context).status == "sent"
    for text in (str(slack.messages), sent(mail_server).as_string(), plain(sent(mail_server)), page(sent(mail_server))):
        assert "****" in text or "Subject" in text
        assert not [secret for secret in ("hunter2", "line one", "line two", PASSWORD) if secret in text]


# Flag file


def flag(path: Path, **changes: Any) -> FlagFile:
    """A channel as the manual's example writes it."""
    return FlagFile.model_validate({"id": "flag", "type": "flagfile", "flagfile": str(path)} | changes)


def test_the_flag_file_says_ok_after_a_good_run(tmp_path: Path, context: Context) -> None:
    path = tmp_path / "gitdata.ok"
    assert told(flag(path), SUCCESS, context).status == "sent"
    assert path.read_bytes() == b"OK"
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.endswith("ok")] == ["gitdata.ok"]


@pytest.mark.parametrize(
    "about",
    [
        FAILURE,
        report(result(outcome=Outcome.PARTIAL)),
        report(result(), result("b", Outcome.FAILED)),
        report(outcome=Outcome.SKIPPED),
        report(outcome=Outcome.FAILED, error="planning failed"),
    ],
    ids=["failed", "partial", "one of two", "skipped", "not planned"],
)
def test_the_flag_file_keeps_its_age_after_any_other_run(tmp_path: Path, context: Context, about: RunReport) -> None:
    path = tmp_path / "gitdata.ok"
    assert told(flag(path), about, context).status == "not wanted"
    flag(path).send(about, context)
    assert not path.exists()


def test_the_flag_file_gets_a_new_age_and_no_other_file_stays(tmp_path: Path, context: Context) -> None:
    directory = tmp_path / "flags"
    directory.mkdir()
    path = directory / "gitdata.ok"
    path.write_text("old content")
    before = path.stat().st_ino
    assert told(flag(path), SUCCESS, context).status == "sent"
    assert path.read_text() == "OK"
    assert path.stat().st_ino != before
    assert [entry.name for entry in directory.iterdir()] == ["gitdata.ok"]


def test_a_symbolic_link_stays_one(tmp_path: Path, context: Context) -> None:
    target, link = tmp_path / "real.ok", tmp_path / "link.ok"
    link.symlink_to(target)
    assert told(flag(link), SUCCESS, context).status == "sent"
    assert link.is_symlink()
    assert target.read_text() == "OK"


@pytest.mark.parametrize("where", ["missing/gitdata.ok", "file/gitdata.ok", "directory"])
def test_a_flag_file_that_can_not_be_written_is_told(tmp_path: Path, context: Context, where: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "directory").mkdir()
    answer = told(flag(tmp_path / where), SUCCESS, context)
    assert answer.status == "failed"
    assert answer.error.startswith(f"flag file {tmp_path / where}: ")
    assert not [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")]


def test_a_write_that_breaks_off_leaves_the_flag_file_as_it_was(tmp_path: Path, context: Context) -> None:
    path = tmp_path / "flags" / "gitdata.ok"
    path.parent.mkdir()
    path.write_text("old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))  # the second byte is refused
    try:
        answer = told(flag(path), SUCCESS, context)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert answer.status == "failed"
    assert "File too large" in answer.error
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


# All


def test_every_type_of_the_manual_that_runs_is_known() -> None:
    assert {"smtp", "email", "slack", "flagfile"} <= set(NOTIFICATIONS.names())
    assert NOTIFICATIONS.get("email") is Smtp


def test_secrets_of_channels_are_no_part_of_their_text(slack: SlackServer) -> None:
    channel = Slack.model_validate({"url": slack.url})
    assert isinstance(channel.url, SecretStr)
    assert not [token for token in TOKENS if token in f"{channel!r} {channel} {channel.id}"]
