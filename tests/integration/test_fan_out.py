"""One pass to destinations of different kinds on real servers, of which most get into trouble of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.context import Context
from backups.destinations.base import DestinationConfig
from backups.fanout import Patience
from backups.records import Manifest, Outcome, StoredAt
from tests.contract.places import PLACES, Place
from tests.integration.scripted import KEY, MANIFEST, Faults, Faulty, Hang, Setup, fail, shell

DATA = "head -c 30000000 /dev/urandom"
KINDS = ["local", "s3", "samba", "gs", "rclone-sftp"]


@pytest.fixture
def servers(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Place]:
    """One of each kind."""
    monkeypatch.setattr("backups.destinations.retrying.PAUSES", (0.01, 0.01))
    return {kind: PLACES[kind].shared(request, tmp_path) for kind in KINDS}


@pytest.fixture
def places(servers: dict[str, Place]) -> dict[str, DestinationConfig]:
    """Each with its kind as its id."""
    return {kind: place.config(id=kind) for kind, place in servers.items()}


@pytest.fixture
def setup(tmp_path: Path, context: Context) -> Iterator[Setup]:
    made = Setup(tmp_path, context)
    made.patience = Patience(stall=4, commit=60, abort=1, slow_seconds=3)
    yield made
    assert list(context.tmpdir.rglob("*")) == []


def holds(config: DestinationConfig, context: Context, sha256: str) -> None:
    """What was stored reads back, with its manifest, and nothing else is there."""
    with config.connect(context) as destination:
        assert [stored.key for stored in destination.list("")] == [KEY, MANIFEST]
        assert hashlib.sha256(b"".join(destination.read(KEY))).hexdigest() == sha256
        assert Manifest.model_validate_json(b"".join(destination.read(MANIFEST))).sha256 == sha256


def test_one_dead_one_dying_one_stalling_and_one_slow_leave_the_others_alone(
    setup: Setup, places: dict[str, DestinationConfig]
) -> None:
    hang = Hang()
    faults = {
        "s3": Faults(connect=fail("no route to host")),
        "samba": Faults(write=[None, None, None, fail("the cable is out")]),
        "gs": Faults(write=[None, None, *[hang] * 1000]),
        "rclone-sftp": Faults(write=[hang.pause(1)] * 10),
    }
    given = [
        Faulty(id=kind, inner=places[kind], faults=faults[kind]) if kind in faults else places[kind] for kind in KINDS
    ]
    result = setup.start(shell(DATA), *given, slow_factor=1.2).result()
    hang.release()
    ends = {place.destination: place for place in result.destinations}

    assert result.outcome is Outcome.PARTIAL
    assert statuses(ends) == {
        "local": "stored",
        "s3": "failed",
        "samba": "stored",
        "gs": "failed",
        "rclone-sftp": "stored",
    }
    assert ends["s3"].error == "no route to host"
    assert (ends["samba"].copied_from, ends["samba"].error) == ("local", "at first: the cable is out")
    assert ends["rclone-sftp"].copied_from == "local"
    assert "was too slow for the others" in ends["rclone-sftp"].error
    assert any(words in ends["gs"].error for words in ("took no data for", "was too slow"))
    for kind in ("local", "samba", "rclone-sftp"):
        holds(places[kind], setup.context, result.sha256)


def statuses(ends: dict[str, StoredAt]) -> dict[str, str]:
    return {kind: place.status for kind, place in ends.items()}


@pytest.mark.parametrize("trio", [("local", "s3", "samba"), ("s3", "gs", "rclone-sftp")], ids="-".join)
@pytest.mark.parametrize("step", ["connect", "write", "commit"])
def test_each_of_three_kinds_gets_its_copy_from_the_others(
    setup: Setup, places: dict[str, DestinationConfig], trio: tuple[str, ...], step: str
) -> None:
    """The first fails once, the second holds the copy, the third stays broken."""
    first, good, broken = trio
    once = Faults(**{step: [None, fail("once")] if step == "write" else [fail("once")]})
    given = [
        Faulty(id=first, inner=places[first], faults=once),
        places[good],
        Faulty(id=broken, inner=places[broken], faults=Faults(**{step: fail("always")})),
    ]
    result = setup.start(shell(DATA), *given).result()
    ends = {place.destination: place for place in result.destinations}
    assert statuses(ends) == {first: "stored", good: "stored", broken: "failed"}
    assert (ends[first].copied_from, ends[good].copied_from) == (good, "")
    assert result.error == f"{broken}: always"
    for kind in (first, good):
        holds(places[kind], setup.context, result.sha256)
