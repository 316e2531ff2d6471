"""Matrix and Prometheus against the real ones: a homeserver, a push gateway, and a Prometheus that scrapes it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import pytest

from backups.context import Context
from backups.notifications.matrix import Matrix
from backups.notifications.prometheus import Prometheus
from backups.records import Outcome, Pruned, RunReport
from tests.contract.channels import started, told
from tests.servers.matrix import MatrixServer, matrix_server
from tests.servers.pushgateway import PASSWORD, USER, PushGateway, prometheus, push_gateway
from tests.unit.reports import FAILURE, FINISHED, SIZE, STARTED, SUCCESS, lost, report, result, stored

GOOD = "Backup of 'Live Company Data' (MySQL) on 'web1' was successful [size: 12.3 MB]."
NIGHT = dt.timedelta(days=1)

pytestmark = pytest.mark.xdist_group("notification servers")  # each of them is started once


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MatrixServer]:
    with matrix_server(tmp_path_factory.mktemp("matrix")) as server:
        yield server


@pytest.fixture
def room(matrix: MatrixServer) -> str:
    """A room of this test."""
    return matrix.new_room()


@pytest.fixture(scope="module")
def one_gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PushGateway]:
    with push_gateway(tmp_path_factory.mktemp("gateway")) as server:
        yield server


@pytest.fixture
def gateway(one_gateway: PushGateway) -> PushGateway:
    """Nothing was pushed yet."""
    one_gateway.wipe()
    return one_gateway


def to_room(matrix: MatrixServer, room: str, **changes: object) -> Matrix:
    """A channel as the manual writes it."""
    fields = {"id": "room", "url": matrix.url, "access_token": matrix.token, "room_id": room}
    return Matrix.model_validate(fields | changes)


def pushing(gateway: PushGateway, **changes: object) -> Prometheus:
    """A channel as the manual writes it."""
    login = {"username": USER, "password": PASSWORD}
    return Prometheus.model_validate({"id": "push", "url": f"{gateway.url}/", "credentials": login} | changes)


def later(about: RunReport, time: dt.timedelta = NIGHT) -> RunReport:
    """The same on another night."""
    moved = {"started": STARTED + time, "finished": FINISHED + time}
    return about.model_copy(update={"results": tuple(r.model_copy(update=moved) for r in about.results), **moved})


# Matrix


def test_a_room_shows_the_words_and_the_facts(matrix: MatrixServer, room: str, context: Context) -> None:
    channel = to_room(matrix, room, notify_on_start=1)
    assert started(channel, context) == ()
    assert told(channel, SUCCESS, context).error == ""
    begun, message = matrix.messages(room)
    assert begun["body"] == "Backup of 'nightly' (Job) on 'web1' has started [sources: 2]."
    assert (message["msgtype"], message["body"]) == ("m.text", GOOD)
    assert message["formatted_body"].replace("&#x27;", "'").split("<br>") == [
        f"<b>{GOOD}</b>",
        "Time: 7 min 0 s, from 2026-11-23 02:00 to 02:07 UTC",
        "Stored at: 'myamazon' in 0 s",
    ]


def test_a_repetition_makes_no_second_message(matrix: MatrixServer, room: str, context: Context) -> None:
    for _ in range(3):
        assert told(to_room(matrix, room), SUCCESS, context).status == "sent"
    assert len(matrix.messages(room)) == 1
    assert told(to_room(matrix, room), SUCCESS.model_copy(update={"run": "run-2"}), context).status == "sent"
    assert told(to_room(matrix, room, id="second channel"), SUCCESS, context).status == "sent"
    assert len(matrix.messages(room)) == 3


def test_the_longest_message_fits_into_an_event(matrix: MatrixServer, room: str, context: Context) -> None:
    many = report(*(result(f"s{n}", Outcome.FAILED, error='"🙂' * 450, warnings=("🙂" * 999,) * 9) for n in range(60)))
    assert told(to_room(matrix, room), many, context).error == ""
    (message,) = matrix.messages(room)
    assert "more lines" in message["body"]
    assert "[cut: " in message["formatted_body"]


def test_a_wrong_token_and_a_foreign_room_say_what_to_do(matrix: MatrixServer, room: str, context: Context) -> None:
    wrong = told(to_room(matrix, room, access_token="planted-wrong-token"), SUCCESS, context)
    assert wrong.error.startswith("Matrix answered 401: ")
    assert wrong.error.endswith("(the home server does not know 'access_token')")
    assert "planted" not in wrong.error
    stranger = matrix.register("stranger")
    foreign = told(to_room(matrix, room, access_token=stranger), SUCCESS, context)
    assert foreign.error.startswith("Matrix answered 403: ")
    assert "must have joined the room" in foreign.error
    assert matrix.messages(room) == []


# Prometheus


def test_success_has_the_old_tools_series_and_the_new_ones(gateway: PushGateway, context: Context) -> None:
    places = (stored("a").model_copy(update={"seconds": 12.5}), stored("b").model_copy(update={"seconds": 30.0}))
    kept = (Pruned(source="db", destination="a", kept=14), Pruned(source="db", destination="b", kept=7))
    about = report(result(destinations=places), pruned=kept)
    assert told(pushing(gateway), about, context).error == ""
    time = FINISHED.timestamp()
    where = 'instance="web1",job="db"'
    a, b = (f'destination="{place}",{where}' for place in "ab")
    run = 'instance="web1",job="nightly",scope="run"'
    assert gateway.series() == {
        'backup_size_sum{instance="",job="db"}': SIZE,
        'backup_size_count{instance="",job="db"}': 1,
        'backup_dumptime_sum{instance="",job="db"}': 420,
        'backup_dumptime_count{instance="",job="db"}': 1,
        'backup_uploadtime_sum{instance="",job="db"}': 30,
        'backup_uploadtime_count{instance="",job="db"}': 1,
        'backup_retained_copies{instance="",job="db"}': 7,
        'backup_timestamp{instance="",job="db"}': time,
        f"backup_last_status{{{where}}}": 1,
        f"backup_last_run_timestamp{{{where}}}": time,
        f"backup_last_success_timestamp{{{where}}}": time,
        f"backup_last_duration_seconds{{{where}}}": 420,
        f"backup_last_warnings{{{where}}}": 0,
        f"backup_destination_last_status{{{a}}}": 1,
        f"backup_destination_last_status{{{b}}}": 1,
        f"backup_destination_last_success_timestamp{{{a}}}": time,
        f"backup_destination_last_success_timestamp{{{b}}}": time,
        f"backup_destination_size_bytes{{{a}}}": SIZE,
        f"backup_destination_size_bytes{{{b}}}": SIZE,
        f"backup_destination_duration_seconds{{{a}}}": 12.5,
        f"backup_destination_duration_seconds{{{b}}}": 30,
        f"backup_destination_retained_copies{{{a}}}": 14,
        f"backup_destination_retained_copies{{{b}}}": 7,
        f"backup_run_last_status{{{run}}}": 1,
        f"backup_run_last_timestamp{{{run}}}": time,
        f"backup_run_last_success_timestamp{{{run}}}": time,
        f"backup_run_last_duration_seconds{{{run}}}": 420,
    }


def test_a_failure_is_pushed_and_leaves_the_last_success_as_it_was(gateway: PushGateway, context: Context) -> None:
    assert told(pushing(gateway), SUCCESS, context).status == "sent"
    before = gateway.series()
    failed = result(outcome=Outcome.FAILED, error="gone", destinations=(lost("myamazon"),), warnings=("odd",))
    assert told(pushing(gateway), later(report(failed)), context).error == ""
    changed = {name: value for name, value in gateway.series().items() if before.get(name) != value}
    then = (FINISHED + NIGHT).timestamp()
    assert changed == {
        'backup_last_status{instance="web1",job="db"}': 0,
        'backup_last_run_timestamp{instance="web1",job="db"}': then,
        'backup_last_warnings{instance="web1",job="db"}': 1,
        'backup_destination_last_status{destination="myamazon",instance="web1",job="db"}': 0,
        'backup_run_last_status{instance="web1",job="nightly",scope="run"}': 0,
        'backup_run_last_timestamp{instance="web1",job="nightly",scope="run"}': then,
    }
    assert set(gateway.series()) == set(before)


def test_a_copy_in_part_counts_where_it_is(gateway: PushGateway, context: Context) -> None:
    both = report(result(destinations=(stored("a"), stored("b"))))
    half = report(result(outcome=Outcome.PARTIAL, destinations=(stored("a"), lost("b"))))
    assert told(pushing(gateway), both, context).status == "sent"
    assert told(pushing(gateway), later(half), context).status == "sent"
    series = gateway.series()
    last = 'backup_destination_last_success_timestamp{{destination="{}",instance="web1",job="db"}}'
    assert series[last.format("a")] == (FINISHED + NIGHT).timestamp()
    assert series[last.format("b")] == FINISHED.timestamp()
    assert series['backup_timestamp{instance="",job="db"}'] == FINISHED.timestamp()


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.SKIPPED])
def test_a_run_without_results_is_pushed(gateway: PushGateway, context: Context, outcome: Outcome) -> None:
    assert told(pushing(gateway), report(outcome=outcome, error="planning failed"), context).error == ""
    assert gateway.series()['backup_run_last_status{instance="web1",job="nightly",scope="run"}'] == 0


def test_any_name_makes_a_group(gateway: PushGateway, context: Context) -> None:
    name = 'a/b c.é"\\..%2F'
    about = report(result(name, hostname="web 1/x", destinations=(stored("../off site"),)), job=name, hostname="")
    assert told(pushing(gateway, url=f"{gateway.url}/metrics/"), about, context).error == ""
    shown = name.replace("\\", "\\\\").replace('"', '\\"')
    series = gateway.series()
    assert series[f'backup_size_sum{{instance="",job="{shown}"}}'] == SIZE
    assert series[f'backup_last_status{{instance="web 1/x",job="{shown}"}}'] == 1
    where = f'destination="../off site",instance="web 1/x",job="{shown}"'
    assert series[f"backup_destination_size_bytes{{{where}}}"] == SIZE
    assert series[f'backup_run_last_status{{instance="",job="{shown}",scope="run"}}'] == 1


def test_a_wrong_password_is_told_and_never_shown(gateway: PushGateway, context: Context) -> None:
    channel = pushing(gateway, credentials={"username": USER, "password": "planted-wrong-word"})
    answer = told(channel, SUCCESS, context)
    assert answer.error == "Push gateway answered 401: Unauthorized (check 'username' and 'password')"
    assert gateway.series() == {}
    with pytest.raises(ValueError, match="both 'username' and 'password'"):
        pushing(gateway, credentials={"username": USER})


def test_prometheus_scrapes_what_was_pushed(
    gateway: PushGateway, context: Context, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert told(pushing(gateway), SUCCESS, context).status == "sent"
    assert told(pushing(gateway), later(FAILURE), context).status == "sent"
    with prometheus(tmp_path_factory.mktemp("prometheus"), gateway) as server:
        ((labels, status),) = server.wait_for('backup_last_status{job="db"}')
        assert status == 0
        assert labels == {"__name__": "backup_last_status", "instance": "web1", "job": "db"}
        # The two rules that an alarm is made of: bad news, and the age of good news.
        ((_, age),) = server.query('backup_last_run_timestamp{job="db"} - backup_last_success_timestamp')
        assert age == NIGHT.total_seconds()
        ((_, size),) = server.query('sum(backup_size_sum{job="db"}) / sum(backup_size_count{job="db"})')
        assert size == SIZE
