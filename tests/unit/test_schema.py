"""The schema for editors takes what the reader takes, and refuses what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from backups.jobfile.reader import LISTS
from backups.jobfile.schema import job_schema
from tests.jobs import DATA, KINDS, example, job_data, job_with, problems
from tests.unit.test_later_types import MANUAL

SCHEMA = job_schema()


def _accepts(data: Any) -> bool:
    return bool(Draft202012Validator(SCHEMA).is_valid(data))


def test_it_is_a_schema_of_its_draft() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA)) == SCHEMA


@pytest.mark.parametrize("path", [DATA / "complete.json", Path(__file__).parents[2] / "jobs" / "example.json"])
def test_it_takes_whole_files(path: Path) -> None:
    assert _accepts(json.loads(path.read_text()))


@pytest.mark.parametrize(("kind", "type_"), KINDS)
def test_it_takes_each_type_under_each_name(kind: str, type_: str) -> None:
    registry = LISTS[kind]
    for name in [name for name in registry.names() if registry.canonical(name) == type_]:
        data = job_with(kind, example(kind, type_, type=name))
        assert problems(data) == []
        assert _accepts(data)


@pytest.mark.parametrize(("kind", "item"), MANUAL)
def test_it_takes_every_spelling_of_the_old_manual(kind: str, item: dict[str, Any]) -> None:
    assert _accepts(job_with(kind, item))


@pytest.mark.parametrize(
    "data",
    [
        job_data(**{"$schema": "job.schema.json"}),
        job_data(encryption={"recipients": ["/etc/key.asc"]}),
        job_data(schedule="30 2 * * *", timezone="Etc/UTC", retention={"keep_daily": 7}, retention_minimum=2),
        job_with("sources", {"type": "folder", "path": "/x", "sudo": "0", "excludes": ["a"]}),
        job_with("sources", {"type": "folder", "path": "/x", "sudo": 1, "compression": None}),
        job_with("sources", {"type": "mysql", "dbhost": "h", "dbname": ["a", "b"], "dbuser": "u", "dbpass": "p"}),
    ],
)
def test_both_take_good_files(data: dict[str, Any]) -> None:
    assert problems(data) == []
    assert _accepts(data)


@pytest.mark.parametrize(
    "data",
    [
        {},
        job_data(sources=[]),
        job_data(destinations=[]),
        job_data(hostnam="x"),
        job_data(hostname="a/b"),
        job_data(compression="bzip2"),
        job_data(concurrency=0),
        job_data(encryption={}),
        job_data(encryption={"passphrase": "x", "recipients": ["y"]}),
        job_data(retention={"keep_dayly": 1}),
        job_data(sources=[{"type": "folder", "path": "/etc"}]),
        job_data(sources=["folder"]),
        job_with("sources", {"path": "/etc"}),
        job_with("sources", {"type": "foldr", "path": "/etc"}),
        job_with("sources", {"type": "folder"}),
        job_with("sources", {"type": "folder", "path": "/etc", "exclude": []}),
        job_with("sources", {"type": "folder", "path": "/etc", "sudo": "maybe"}),
        job_with("sources", {"type": "folder", "path": "/etc", "id": "a/b"}),
        job_with("sources", {"type": "pgsql", "dbhost": "h", "dbname": "d", "dbpass": "p"}),
        job_with("destinations", {"type": "samba", "share": "s", "username": "u", "password": "p"}),
        job_with("destinations", {"type": "samba", "host": "h", "share": "s", "credentials": {"username": "u"}}),
        job_with("destinations", {"type": "samba", "host": "h", "share": "s", "credentials": {"user": "u"}}),
        job_with("destinations", {"type": "s3", "bucket": "b", "retention_days": 0}),
        job_with("notifications", {"type": "slack"}),
        job_with("notifications", {"type": "telegram", "api_token": "x"}),
    ],
)
def test_both_refuse_bad_files(data: dict[str, Any]) -> None:
    assert problems(data)
    assert not _accepts(data)


def test_every_key_has_a_description_for_the_editor() -> None:
    for place, definition in SCHEMA["$defs"].items():
        for key, value in definition.get("properties", {}).items():
            assert value.get("description"), f"{place}.{key}"
    for key, value in SCHEMA["properties"].items():
        assert value.get("description"), key
