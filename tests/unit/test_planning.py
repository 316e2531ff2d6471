from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from backups.errors import UsageError
from backups.job import Job, parse_job
from backups.planning import plan, run_id

NOW = dt.datetime(2026, 11, 23, 23, 30, tzinfo=dt.UTC)


def job(**settings: Any) -> Job:
    content = {
        "hostname": "web1",
        "timezone": "UTC",
        "encryption": {"passphrase": "x"},
        "sources": [
            {"id": "www", "type": "folder", "path": "/var/www", "name": "The web pages"},
            {"id": "etc", "type": "folder", "path": "/etc", "compression": "gzip"},
        ],
        "destinations": [{"id": "a", "type": "local", "path": "/a"}, {"id": "b", "type": "local", "path": "/b"}],
    }
    return parse_job(json.dumps({**content, **settings}).encode(), name="nightly", where="nightly.json")


def test_a_plan_says_what_goes_where() -> None:
    made = plan(job(compression="zstd"), run="r", now=NOW)
    assert (made.job, made.run, made.hostname, made.date) == ("nightly", "r", "web1", dt.date(2026, 11, 23))
    assert [item.key for item in made.items] == [
        "web1/2026-11-23/www.tar.zst.gpg",
        "web1/2026-11-23/etc.tar.gz.gpg",
    ]
    assert [item.name for item in made.items] == ["The web pages", "etc"]
    assert {item.destinations for item in made.items} == {("a", "b")}


@pytest.mark.parametrize(
    ("zone", "day"),
    [("UTC", "2026-11-23"), ("Europe/Berlin", "2026-11-24"), ("America/New_York", "2026-11-23")],
)
def test_the_date_is_that_of_the_time_zone_of_the_job(zone: str, day: str) -> None:
    assert {item.key.split("/")[1] for item in plan(job(timezone=zone), run="r", now=NOW).items} == {day}


def test_some_sources_may_be_chosen_each_once() -> None:
    assert [item.source for item in plan(job(), run="r", now=NOW, sources=["etc", "etc"]).items] == ["etc"]


def test_an_unknown_source_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="the job has no source 'ect'") as caught:
        plan(job(), run="r", now=NOW, sources=["ect"])
    assert "www, etc" in caught.value.hint


def test_the_same_time_in_any_zone_names_the_same_run() -> None:
    berlin = dt.timezone(dt.timedelta(hours=1))
    assert run_id(NOW) == run_id(NOW.astimezone(berlin)) == "20261123T233000Z"
