"""Checks of copies at every kind of destination, each on its real server: ``backups verify --due`` as a library."""

from __future__ import annotations

import datetime as dt
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from backups.context import Context
from backups.destinations import Destination, DestinationConfig
from backups.encryption import encrypting
from backups.job import Job
from backups.naming import Compression
from backups.records import Manifest
from tests.contract.objects import content, keys, sha256, store
from tests.contract.places import Place
from tests.integration.test_checks import Memory, checked
from tests.jobs import parsed

DAYS = ("2026-11-21", "2026-11-22", "2026-11-23")
ENDS = (".manifest.json", "")
NOW = dt.datetime(2026, 11, 23, 3, 0, tzinfo=dt.UTC)


@pytest.fixture
def job(place: Place) -> Job:
    """Of a folder; each check reads all copies."""
    job = parsed(
        {
            "hostname": "web1",
            "compression": "none",
            "encryption": {"passphrase": "pass'phrase"},
            "sources": [{"id": "data", "type": "folder", "path": "/nowhere"}],
            "destinations": [{"type": "local", "path": "/nowhere"}],
            "verification": {"every_days": 1},
        }
    )
    return replace(job, destinations=(place.config(id="there"),))


@pytest.fixture
def encrypted(job: Job, context: Context) -> bytes:
    """More than a block of what a copy holds."""
    with encrypting(job.encryption_for(job.source("data")), Compression.NONE, context) as call:
        done = subprocess.run(
            call.argv, input=content(2_100_000), pass_fds=call.pass_fds, capture_output=True, check=True
        )
    return done.stdout


@pytest.fixture
def stored(job: Job, encrypted: bytes, destination: Destination) -> Iterator[Destination]:
    """Copies of three days."""
    for day in DAYS:
        put(destination, day, encrypted, encrypted)
    yield destination


def put(destination: Destination, day: str, data: bytes, described: bytes) -> None:
    """A copy, and a manifest that describes perhaps another one."""
    key = f"web1/{day}/data.tar.gpg"
    store(destination, data, key)
    manifest = Manifest(
        **{"job": "nightly", "run": "r", "hostname": "web1", "source": "data", "type": "folder", "key": key},
        **{"started": NOW, "finished": NOW, "plain_size": 2_100_000, "size": len(described)},
        **{"sha256": sha256(described), "compression": "none", "encryption": "passphrase", "tools": {}},
    )
    store(destination, manifest.model_dump_json().encode(), f"{key}.manifest.json")


def due(job: Job, memory: Memory, context: Context, *, days: float) -> dict[str, str]:
    """What is known after a check, by day."""
    checked(job, memory, context.tmpdir, days=days)
    known = memory.kept["data", "there"].copies
    return {key.split("/")[1]: one.check.status if one.check else "ok" for key, one in known.items()}


def test_every_copy_is_read_back_and_what_becomes_of_it_is_found(
    job: Job, place: Place, stored: Destination, encrypted: bytes, context: Context
) -> None:
    memory = Memory()
    assert due(job, memory, context, days=0) == dict.fromkeys(DAYS, "ok")
    assert memory.status
    assert (memory.status.checked, memory.status.checked_size, memory.status.good) == (3, 3 * len(encrypted), True)

    harmed = bytearray(encrypted)
    harmed[-3] ^= 1
    put(stored, DAYS[0], bytes(harmed), encrypted)
    gone = [f"web1/{DAYS[1]}/data.tar.gpg.manifest.json", *(f"web1/{DAYS[2]}/data.tar.gpg{end}" for end in ENDS)]
    assert stored.remove(gone) == {}
    found = {DAYS[0]: "damaged", DAYS[1]: "damaged", DAYS[2]: "missing"}
    assert due(job, memory, context, days=1) == found

    away: DestinationConfig = place.missing().model_copy(update={"id": "there"})
    assert due(replace(job, destinations=(away,)), memory, context, days=2) == found
    assert memory.status.left_out.keys() == {"there"}
    # It only reads: whatever is there, and nothing else, is there afterwards.
    manifest = f"web1/{DAYS[0]}/data.tar.gpg.manifest.json"
    assert sorted(keys(stored)) == [f"web1/{DAYS[0]}/data.tar.gpg", manifest, f"web1/{DAYS[1]}/data.tar.gpg"]
    assert place.leftovers() == []
