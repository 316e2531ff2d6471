"""One pass to destinations of different kinds on real servers, of which most get into trouble of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.context import Context
from backups.destinations.base import DestinationConfig
from backups.fanout import Patience
from backups.progress import Progress
from backups.records import Manifest, Outcome, StoredAt
from tests.contract.places import PLACES, Place, SambaPlace
from tests.integration.scripted import KEY, MANIFEST, Faults, Faulty, Setup, fail, shell, until
from tests.servers.faulty_proxy import FOREVER, Fault, faulty_proxy
from tests.servers.samba import samba

DATA = "head -c 30000000 /dev/urandom"
MUCH = "head -c 90000000 /dev/urandom"
"""More than programs keep on its way to a slow server: rclone alone reads 16 MiB ahead."""
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


@pytest.fixture
def own_samba(tmp_path: Path) -> Iterator[SambaPlace]:
    """On a server that the test may kill."""
    (tmp_path / "server").mkdir()
    with samba(tmp_path / "server") as server:
        yield SambaPlace(server, tmp_path)


def test_one_dead_one_dying_one_stalling_and_one_slow_leave_the_others_alone(
    setup: Setup, servers: dict[str, Place], own_samba: SambaPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The faults are those of the servers and of the lines to them."""
    monkeypatch.setattr("backups.destinations.samba.link.PAUSES", (0.01, 0.2, 0.2))
    monkeypatch.setattr("backups.destinations.s3.connect.ATTEMPTS", 1)
    monkeypatch.setattr("backups.destinations.gs.upload.CHUNK", 5 << 20)
    sftp, progress = servers["rclone-sftp"], Progress("data")
    with faulty_proxy(servers["gs"].server.front.port) as to_gs, faulty_proxy(sftp.server.port) as to_sftp:
        stall = to_gs.add(Fault(r"^PUT .*upload_id=", times=FOREVER, stall=True))
        to_sftp.add(Fault("", times=FOREVER, pace=0.05))  # 64 KiB at a time: 1.2 MiB/s
        given: dict[str, DestinationConfig] = {
            "local": servers["local"].config(id="local"),
            "s3": servers["s3"].config(id="s3", endpoint_url="http://127.0.0.1:9"),
            "samba": own_samba.config(id="samba"),
            "gs": servers["gs"].config(id="gs", endpoint_url=to_gs.url),
            "rclone-sftp": sftp.config(id="rclone-sftp", config=sftp.server.config(port=to_sftp.port)),
        }
        run = setup.start(shell(MUCH), *given.values(), slow_factor=1.2, progress=progress)
        until(lambda: any(path.stat().st_size >= 4 << 20 for path in own_samba.path.rglob(".backups-*")))
        own_samba.server.kill()
        until(lambda: progress.states.get("samba") == "failed")
        own_samba.server.start()
        until(lambda: progress.states.get("rclone-sftp") == "failed")
        to_sftp.heal()
        result = run.result()
        assert stall.hits
    ends = {place.destination: place for place in result.destinations}

    assert result.outcome is Outcome.PARTIAL
    assert statuses(ends) == {
        "local": "stored",
        "s3": "failed",
        "samba": "stored",
        "gs": "failed",
        "rclone-sftp": "stored",
    }
    assert "check endpoint_url" in ends["s3"].hint
    assert ends["samba"].copied_from == "local"
    assert ends["samba"].error.startswith("at first: \\\\127.0.0.1")
    assert ends["rclone-sftp"].copied_from == "local"
    assert "was too slow for the others" in ends["rclone-sftp"].error
    assert any(words in ends["gs"].error for words in ("took no data for", "was too slow"))
    for place in (servers["local"], own_samba, sftp):
        holds(place.config(), setup.context, result.sha256)


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
