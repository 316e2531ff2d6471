"""Events: what they hold, that they fit, and that losing them is no matter to anyone."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import boto3
import pytest

from backups.cloud import events
from backups.cloud.events import EVENTS, RunFinished, source_finished, tell
from backups.records import Outcome, Pruned
from tests.unit.deployment import deployment
from tests.unit.reports import lost, report, result, stored

PAGE = Path(__file__).parents[2] / "docs" / "events.md"
EXECUTION = "arn:aws:states:eu-central-1:123456789012:execution:Backups-run:x"


class Bus:
    """Takes events in the place of EventBridge, and refuses what it refuses."""

    def __init__(self, *refusals: int) -> None:
        self.requests: list[list[dict[str, Any]]] = []
        self.refusals = list(refusals)
        """How many entries each request refuses, from its end."""

    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803 - as boto3 has it
        assert 1 <= len(Entries) <= 10
        assert all(len(entry["Detail"].encode()) < 256 << 10 for entry in Entries)
        assert len({entry["DetailType"] for entry in Entries}) == 1
        self.requests.append(Entries)
        good = len(Entries) - (self.refusals.pop(0) if self.refusals else 0)
        refused = {"ErrorCode": "InternalFailure", "ErrorMessage": "busy"}
        return {"Entries": [{"EventId": "1"} if n < good else refused for n in range(len(Entries))]}


@pytest.fixture
def bus(monkeypatch: pytest.MonkeyPatch) -> Bus:
    made = Bus()
    monkeypatch.setattr(events, "_client", lambda: made)
    return made


def details(bus: Bus) -> list[dict[str, Any]]:
    return [json.loads(entry["Detail"]) for request in bus.requests for entry in request]


def test_the_page_shows_every_event_with_an_example_and_its_schema() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for event in EVENTS:
        section = page.split(f"\n### {event.detail_type}\n", 1)[1].split("\n### ")[0]
        example, schema = (json.loads(block.split("```")[0]) for block in section.split("```json\n")[1:])
        assert schema == event.model_json_schema(mode="serialization")
        assert json.loads(event.model_validate(example).model_dump_json()) == example
        assert f"| `{event.detail_type}` |" in page


def test_an_event_of_a_source_says_what_its_record_says(bus: Bus) -> None:
    partly = result(
        outcome=Outcome.PARTIAL,
        destinations=(stored("main"), lost("far", "no such bucket")),
        warnings=tuple(f"warning {number}" for number in range(12)),
    )
    tell([source_finished(partly)])
    (sent,) = details(bus)
    assert (sent["outcome"], sent["source"], sent["size"]) == ("partial", partly.source, partly.size)
    assert [(at["destination"], at["status"], at["error"]) for at in sent["destinations"]] == [
        ("main", "stored", ""),
        ("far", "failed", "no such bucket"),
    ]
    assert sent["warnings"] == [f"warning {number}" for number in range(10)]


def test_an_event_of_a_run_counts_its_sources(bus: Bus) -> None:
    told = report(
        result("a"),
        result("b", Outcome.FAILED),
        result("c"),
        pruned=(Pruned(source="a", destination="main", removed=("x", "y"), refused={"z": "locked"}),),
    )
    tell([events.run_finished(told, EXECUTION)])
    (entry,) = bus.requests[0]
    sent = RunFinished.model_validate_json(entry["Detail"])
    assert (entry["Source"], entry["DetailType"]) == ("backups", "Backup Run Finished")
    assert entry["Resources"] == [EXECUTION]
    assert sent.sources == {"stored": 2, "failed": 1}
    assert (sent.not_stored, sent.removed, sent.refused) == (("b",), 2, 1)


def test_thousands_of_sources_go_in_tens_and_each_type_by_itself(bus: Bus) -> None:
    results = [result(f"s{number}", Outcome.FAILED) for number in range(1_005)]
    tell([*map(source_finished, results), events.run_finished(report(*results), EXECUTION)])
    assert len(bus.requests) == 101 + 1
    (finished,) = [sent for sent in details(bus) if "sources" in sent]
    assert (finished["sources"], len(finished["not_stored"])) == ({"failed": 1_005}, 200)


def test_texts_are_cut_with_a_note_until_the_event_fits(bus: Bus) -> None:
    tell([source_finished(result(outcome=Outcome.FAILED, error="日" * 2_000))])
    many = tuple(lost(f"d{number}", "日" * 900) for number in range(300))
    tell([source_finished(result(outcome=Outcome.FAILED, destinations=many))])
    one, other = details(bus)
    assert len(one["error"]) == 1_000 and one["error"].endswith("… [cut]")
    assert len(other["destinations"]) == 300 and other["destinations"][0]["error"].endswith("… [cut]")


def test_what_the_bus_refuses_is_sent_once_more_and_then_logged(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    bus.refusals = [1]
    tell([source_finished(result("a")), source_finished(result("b"))])
    assert [len(request) for request in bus.requests] == [2, 1]
    assert not caplog.records
    bus.refusals = [1, 1]
    tell([source_finished(result("a"))])
    assert "events were lost: InternalFailure: busy" in caplog.text


def test_no_error_comes_out_of_it(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> None:
        raise RuntimeError("nobody knows this region")

    monkeypatch.setattr(events, "_client", broken)
    with caplog.at_level(logging.WARNING):
        tell([source_finished(result())])
    assert "events were lost: RuntimeError: nobody knows this region" in caplog.text
    tell([])
    assert len(caplog.records) == 1


def test_the_client_takes_what_is_sent() -> None:
    with deployment():
        client = boto3.client("events")
        client.put_rule(Name="all", EventPattern=json.dumps({"source": ["backups"]}))
        assert events._put(events._client(), [source_finished(result())]) == ""
