"""What every destination must do when something goes wrong, each against its real server."""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.context import Context
from backups.destinations import Destination
from backups.errors import DeniedError, DestinationError
from backups.records import Outcome
from tests.contract.apart import KILLED, MEASURED, run_apart
from tests.contract.objects import BIG, KEY, MIB, PART, content, fetch, keys, push, sha256, store
from tests.contract.places import PLACES, SERVED, WITH_SECRET, Place
from tests.integration.scripted import Setup, shell
from tests.servers.local_cloud import wait_for

pytestmark = pytest.mark.usefixtures("small_parts")

MUCH = 64 * MIB
"""More than everything on the way to a server holds."""


# ---------------------------------------------------------------------- what is not finished


@pytest.mark.parametrize("size", [0, 1, PART, PART + 1, 2 * PART, 6 * PART])
def test_abort_at_any_point_leaves_nothing(destination: Destination, place: Place, size: int) -> None:
    upload = destination.create(KEY)
    push(upload, content(size))
    upload.abort()
    upload.abort()
    assert keys(destination) == []
    assert place.leftovers() == []


@pytest.mark.parametrize(
    ("script", "says"),
    [("exit 1", "sh ended with exit status 1"), ("kill -9 $$", "sh was killed by SIGKILL")],
    ids=["fails", "killed"],
)
def test_a_stream_that_fails_at_its_end_leaves_nothing(
    place: Place, tmp_path: Path, context: Context, script: str, says: str
) -> None:
    stream = shell(f"head -c {BIG} /dev/urandom; {script}")
    result = Setup(tmp_path, context).run(stream, place.config(id="there"))
    assert (result.outcome, result.error) == (Outcome.FAILED, says)
    with place.config().connect(context) as destination:
        assert keys(destination) == []
    assert place.leftovers() == []


def test_a_writer_that_is_killed_shows_nothing_and_a_later_one_clears_up(
    place: Place, tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    with place.config().connect(context) as destination:
        store(destination, b"the old one")
        killed = run_apart(place.config(), KILLED, tmp_path, KEY, str(MUCH))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert fetch(destination) == b"the old one"
        assert keys(destination) == [KEY]

    def cleared_up() -> bool:
        """By the next run after what was left has become old; a child of the dead one may still be writing to it."""
        place.make_old(monkeypatch)
        with place.config().connect(context) as later:
            store(later, content(BIG))
        return not place.leftovers()

    wait_for(cleared_up, "what the killed one left is still there")
    with place.config().connect(context) as destination:
        assert fetch(destination) == content(BIG)
        assert keys(destination) == [KEY]


# ---------------------------------------------------------------------- servers


@pytest.fixture(params=SERVED)
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """A place whose server may be killed."""
    (tmp_path / "server").mkdir()
    kind = PLACES[request.param]
    with kind.serve(tmp_path / "server") as server:
        yield kind(server, tmp_path)


def test_a_server_that_dies_in_the_middle_shows_nothing_half_when_it_is_back(mortal: Place, context: Context) -> None:
    old, new = content(MUCH // 2, 1), content(BIG, 2)
    with mortal.config().connect(context) as destination:
        store(destination, old)
        for moment in ("write", "commit"):
            upload = destination.create(KEY)
            push(upload, new)
            mortal.server.kill()
            with pytest.raises(DestinationError) as caught:
                if moment == "write":
                    push(upload, content(MUCH))
                upload.commit(BIG, sha256(new))
            assert not caught.value.permanent
            upload.abort()
            mortal.server.start()
            assert keys(destination) == [KEY]
            assert sha256(fetch(destination)) == sha256(old)
        store(destination, new)
        assert fetch(destination) == new
        assert keys(destination) == [KEY]
        store(destination, old)
        blocks = destination.read(KEY)
        read = len(next(blocks))
        mortal.server.kill()
        with pytest.raises(DestinationError):
            for block in blocks:
                read += len(block)
        assert read < len(old)


@pytest.mark.parametrize("name", WITH_SECRET)
@pytest.mark.parametrize("size", [10, BIG])
def test_a_wrong_secret_is_denied_and_never_shown(
    name: str,
    size: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    context: Context,
    caplog: pytest.LogCaptureFixture,
) -> None:
    place, secret = PLACES[name].shared(request, tmp_path), "wr0ng/s3cret+value"
    caplog.set_level(logging.INFO)
    shown = []
    with place.wrong_secret(secret).connect(context) as destination:
        for use in (
            lambda: store(destination, content(size)),
            lambda: keys(destination),
            lambda: fetch(destination),
            lambda: destination.remove([KEY]),
        ):
            with pytest.raises(DeniedError) as caught:
                use()
            assert caught.value.permanent
            shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    assert secret not in "".join(shown) + caplog.text
    assert place.leftovers() == []


# ---------------------------------------------------------------------- memory


def test_large_data_needs_little_memory_and_leaves_no_file(place: Place, tmp_path: Path) -> None:
    """In a process of its own, which has the real sizes of parts; ``python -m benchmarks.memory`` stores 5 GiB so."""
    (tmp_path / "private").mkdir(exist_ok=True)
    done = run_apart(place.config(verify="full"), MEASURED, tmp_path / "private", "256")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["size"] == 256 * MIB
    assert told["grown"] < 96 * MIB
    assert list((tmp_path / "private").iterdir()) == []
