"""One suite that every channel over HTTP passes: busy, broken, hanging and false services, long texts, no leaks."""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Iterator

import pytest

from backups.context import Context
from backups.errors import NotificationError
from backups.notifications import NOTIFICATIONS
from backups.records import Outcome, Pruned, RunReport
from tests.contract.channels import SERVICES, Service, started, told
from tests.servers.sink import Answer, Sink, sink
from tests.unit.reports import FAILURE, SUCCESS, lost, report, result, stored

EVIL = "<!channel> @everyone @all <@12> <b>bold</b> & *x* _y_ `z` [a](https://evil.example) \\ \" ' 日本 🙂"
ABOUT = {
    "success": SUCCESS,
    "failure": FAILURE,
    "partial": report(result(outcome=Outcome.PARTIAL, destinations=(stored(), lost(hint="ask them")))),
    "nothing": report(),
    "skipped": report(outcome=Outcome.SKIPPED, error="run-0 is still going"),
    "evil": report(
        result(name=EVIL, label=EVIL, hostname=EVIL, outcome=Outcome.FAILED, error=EVIL, hint=EVIL, warnings=(EVIL,)),
        link="https://console.example/run-1?a=1&b=<2>",
        job="nightly",
    ),
    "one long": report(
        result(
            outcome=Outcome.FAILED, name="🙂" * 500, error="&🙂" * 5000, hint="<" * 5000, warnings=('"🙂' * 900,) * 30
        )
    ),
    "many": report(
        *(
            result(f"s{n}", Outcome.FAILED, name=f"{EVIL} {n}", error="&<>🙂*" * 150, destinations=(lost(), stored()))
            for n in range(300)
        ),
        pruned=tuple(Pruned(source=f"s{n}", destination="a", error="🙂" * 900) for n in range(20)),
        link="https://console.example/" + "x" * 3000,
    ),
}  # fmt: skip


@pytest.fixture(params=SERVICES, ids=lambda service: service.type_)
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Service:
    """Each in turn, with servers that never answer given up after a moment."""
    for module in ("exchange", "sns", "apprise"):
        monkeypatch.setattr(f"backups.notifications.{module}.REQUEST_SECONDS", 0.3)
    found = request.param
    assert isinstance(found, Service)
    return found


@pytest.fixture(scope="module")
def one_server() -> Iterator[Sink]:
    with sink() as running:
        yield running


@pytest.fixture
def server(one_server: Sink, service: Service, monkeypatch: pytest.MonkeyPatch) -> Sink:
    """The service, with nothing left of the test before."""
    vars(one_server).update(vars(Sink(one_server.port, service.judge)) | {"closing": one_server.closing})
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", one_server.base)
    return one_server


def test_the_suite_has_every_channel_over_http() -> None:
    types = {str(model.model_fields["type"].default) for model in NOTIFICATIONS}
    assert {service.type_ for service in SERVICES} == types - {"smtp", "flagfile"}


@pytest.mark.parametrize("about", ABOUT.values(), ids=ABOUT)
def test_every_report_is_taken_whatever_is_in_it(
    service: Service, server: Sink, context: Context, about: RunReport
) -> None:
    answer = told(service.channel(server.base), about, context)
    assert answer.error == ""
    assert answer.status == "sent"
    assert server.accepted


def test_every_channel_that_can_tells_that_a_run_begins(service: Service, server: Sink, context: Context) -> None:
    if service.type_ == "prometheus":
        with pytest.raises(ValueError, match="this type can't tell of starts"):
            service.channel(server.base, notify_on_start=True)
        return
    assert started(service.channel(server.base, notify_on_start=True), context) == ()
    assert len(server.accepted) == 1


def test_a_service_that_is_broken_is_tried_again_once(service: Service, server: Sink, context: Context) -> None:
    server.answers = [Answer(503, service.refusal("overloaded"))]
    assert told(service.channel(server.base), SUCCESS, context).status == "sent"
    server.answers = [Answer(500, service.refusal("broken"))] * 2
    answer = told(service.channel(server.base), SUCCESS, context)
    assert answer.status == "failed"
    assert answer.error.startswith(service.name)
    assert server.answers == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_refusal_is_told_with_what_to_do(service: Service, server: Sink, context: Context, status: int) -> None:
    server.answers = [Answer(status, service.refusal("no such thing"))] * 2
    answer = told(service.channel(server.base), FAILURE, context)
    assert answer.status == "failed"
    assert answer.error.startswith(service.name)
    assert server.accepted == []
    # Apprise does not tell what it was refused for, so that its second try is worth it.
    assert server.requests == (2 if service.type_ == "apprise" else 1)


def test_a_redirect_gets_nothing(service: Service, server: Sink, context: Context) -> None:
    with sink() as elsewhere:
        server.answers = [Answer(307, "", {"Location": elsewhere.base})] * 2
        assert told(service.channel(server.base), SUCCESS, context).status == "failed"
        assert elsewhere.requests == 0


def test_a_busy_service_is_given_the_pause_it_asks_for(
    service: Service, server: Sink, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    server.answers = [Answer(429, service.refusal("slow down"), {"Retry-After": "7"})]
    answer = told(service.channel(server.base), SUCCESS, context)
    assert answer.status == "sent"
    assert (7 in pauses) == service.obeys_pauses  # the others wait as long as for any temporary failure


def test_a_service_that_hangs_is_given_up(service: Service, server: Sink, context: Context) -> None:
    server.answers = [Answer(200, hang=True)] * 2
    answer = told(service.channel(server.base), SUCCESS, context)
    assert answer.status == "failed"
    assert re.search(r"no answer within 0.3 s|could not send", answer.error)
    assert server.requests == 2


def test_a_certificate_that_can_not_be_trusted_gets_nothing(
    service: Service, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sink(service.judge, tls=True) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", server.base)
        answer = told(service.channel(server.base), SUCCESS, context)
        assert server.requests == 0
    assert answer.status == "failed"
    assert "certificate can't be trusted" in answer.error or service.type_ == "apprise"


@pytest.mark.parametrize("fault", ["gone", "echo", "tls", "redirect", "hang", "broken", "busy"])
def test_its_secrets_are_in_no_error_and_no_log(
    service: Service,
    server: Sink,
    context: Context,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    caplog.set_level(logging.INFO)
    base = server.base
    if fault == "gone":
        base = f"http://127.0.0.1:{unused_port()}"
    if fault == "tls":
        base = base.replace("http:", "https:")
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", base)
    secrets = " ".join(service.secrets)
    answers = {
        "echo": Answer(404, service.refusal(f"nothing at {server.base} for {secrets}")),
        "redirect": Answer(307, f"see {secrets}", {"Location": f"{server.base}/{service.secrets[0]}"}),
        "hang": Answer(200, hang=True),
        "broken": Answer(500, "x" * 4090 + secrets),
        "busy": Answer(429, service.refusal(f"{secrets} is busy"), {"Retry-After": "3600"}),
    }
    server.answers = [answers[fault]] * 2 if fault in answers else []
    channel = service.channel(base)
    answer = told(channel, SUCCESS, context)
    assert answer.status == "failed"
    assert answer.error.startswith(service.name)
    direct = ""
    if fault == "echo":  # for callers that scrub nothing
        server.answers = [answers[fault]]
        with pytest.raises(NotificationError) as caught:
            channel.send(SUCCESS, context)
        direct = str(caught.value)
    assert not [s for s in service.secrets if s in answer.error + caplog.text + direct + f"{channel!r}{channel.id}"]


def test_planted_secrets_are_in_no_message(service: Service, server: Sink, context: Context) -> None:
    planted = "hunter2-planted"
    context.secrets.scrub.add(planted)
    about = report(
        result(
            name=f"data {planted}",
            outcome=Outcome.PARTIAL,
            error=planted,
            hint=planted,
            warnings=(planted,),
            destinations=(lost("there", planted), stored(planted)),
        ),
        pruned=(Pruned(source="db", destination="there", error=planted, refused={planted: planted}),),
        link=f"https://there/?p={planted}",
    )
    assert told(service.channel(server.base), about, context).status == "sent"
    assert server.received
    for request in server.received:
        assert planted not in request.path + str(request.headers)
        assert planted.encode() not in request.body


def test_its_secrets_are_in_no_body(service: Service, server: Sink, context: Context) -> None:
    assert told(service.channel(server.base), SUCCESS, context).status == "sent"
    assert not [s for s in service.secrets for request in server.received if s.encode() in request.body]


def unused_port() -> int:
    """A port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
