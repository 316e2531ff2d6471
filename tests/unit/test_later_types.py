"""A type whose work comes later is read and checked, and the job says plainly that it can't run yet."""

from __future__ import annotations

from typing import Any

import pytest

from backups.jobfile.reader import LISTS
from tests.jobs import example, job_with, parsed

TYPES = [("sources", "folder"), ("destinations", "local"), ("notifications", "slack")]


def test_every_type_of_ours_can_run() -> None:
    assert [model for registry in LISTS.values() for model in registry if model.unavailable] == []


@pytest.mark.parametrize(("kind", "type_"), TYPES)
def test_the_job_says_before_anything_is_touched_that_a_type_can_not_run_yet(
    kind: str, type_: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = parsed(job_with(kind, example(kind, type_)))
    monkeypatch.setattr(type(getattr(job, kind)[0]), "unavailable", "its server is not built")
    (line,) = job.unavailable()
    assert line == f"{kind}[0]: type '{type_}' is understood but can't run yet: its server is not built"


@pytest.mark.parametrize(("type_", "extension"), [("rds", "sql"), ("snapshot", "json")])
def test_what_their_data_will_be(type_: str, extension: str) -> None:
    assert parsed(job_with("sources", example("sources", type_))).sources[0].extension == extension


# Every example of the old manual that is JSON, with the type and encryption that it leaves out.
MANUAL: list[tuple[str, dict[str, Any]]] = [
    (
        "sources",
        {"id": "db", "name": "Live", "type": "pgsql", "dbhost": "h", "dbname": "c", "dbuser": "b", "dbpass": "z"},
    ),
    (
        "sources",
        {
            "id": "db", "name": "Live", "type": "rds", "dbhost": "h", "dbname": "c", "dbuser": "b", "dbpass": "z",
            "instancename": "livedb1", "region": "eu-west-1", "security_group": "livedbbackup",
            "instance_class": "db.m1.small", "noevents": 1,
            "aws_access_key_id": "a", "aws_secret_access_key": "b", "passphrase": "64b0",
        },
    ),
    ("sources", {"type": "rds", "instancename": "x", "dbname": "c", "defaults": "/home/backups/.my.cnf"}),
    (
        "sources",
        {
            "id": "db", "type": "snapshot", "instancename": "maindb1",
            "credentials": {"aws_access_key_id": "a", "aws_secret_access_key": "b"},
        },
    ),
    ("sources", {"type": "snapshot", "volume_id": "vol-1", "availability_zone": "eu-west-1a"}),
    (
        "destinations",
        {
            "type": "gs", "bucket": "b", "gs_service_client_id": "c", "gs_service_key_file": "/k.p12",
            "gs_service_key_file_password": "p", "retention_copies": 3, "retention_days": 30,
        },
    ),
    (
        "destinations",
        {
            "id": "bigshare", "type": "samba", "hostname": "server1.local.lan", "share": "TheShare",
            "workgroup": "WORKGROUP", "credentials": {"username": "backups", "password": "getyourown"},
        },
    ),
    ("destinations", {"type": "samba", "host": "h", "share": "s", "username": "u", "password": "p"}),
    ("notifications", {"type": "hipchat", "url": "https://www.hipchat.com/...", "notify_on_success": 0}),
    ("notifications", {"type": "discord", "url": "https://discordapp.com/api/webhooks/...", "notify_on_failure": "0"}),
    (
        "notifications",
        {"type": "matrix", "url": "https://matrix.org", "access_token": "A", "room_id": "!r@matrix.org"},
    ),
    ("notifications", {"type": "telegram", "api_token": "295432120:own", "chat_id": "38123456"}),
    (
        "notifications",
        {"type": "prometheus", "url": "http://pushgw:9091/", "credentials": {"username": "p", "password": "y"}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "item"), MANUAL)
def test_the_old_manuals_keys_are_read(kind: str, item: dict[str, Any]) -> None:
    plugin = getattr(parsed(job_with(kind, item)), kind)[0]
    flat = {**item, **item.get("credentials", {})}
    for key in set(flat) - {"credentials", "id"}:
        value = getattr(plugin, type(plugin).aliases.get(key, key))
        value = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        expected = bool(int(flat[key])) if isinstance(value, bool) else flat[key]
        assert value == expected, key
