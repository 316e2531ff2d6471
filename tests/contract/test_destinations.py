"""What every destination must do, each against its real server."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import logging
import random
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr

from backups.context import Context
from backups.destinations import Destination, Upload
from backups.errors import DeniedError, MissingError, VerificationError
from tests.contract.places import PLACES, WITH_SECRET, Place

MIB = 1 << 20
PART = 5 * MIB
BIG = 2 * PART + 4321
SIZES = [0, 1, 1000, PART, 2 * PART, BIG]
KEY = "host/2026-11-23/db.sql.gpg"


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest parts that S3 takes, and such chunks for Google, so that little data makes several."""
    monkeypatch.setattr("backups.destinations.s3_parts.SMALLEST", PART)
    monkeypatch.setattr("backups.destinations.retrying.PAUSES", (0.01, 0.01))
    monkeypatch.setattr("backups.destinations.gs_upload.CHUNK", PART)


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return PLACES[request.param](request, tmp_path)


@pytest.fixture
def destination(place: Place, context: Context) -> Iterator[Destination]:
    with place.config().connect(context) as opened:
        yield opened


def content(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


def push(upload: Upload, data: bytes) -> None:
    """In blocks as the pipeline makes them: mostly 1 MiB, never aligned to parts."""
    for start in range(0, len(data), MIB):
        upload.write(data[start : start + MIB])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def store(destination: Destination, key: str, data: bytes) -> str:
    upload = destination.create(key)
    push(upload, data)
    return upload.commit(len(data), sha256(data))


def fetch(destination: Destination, key: str) -> bytes:
    return b"".join(destination.read(key))


def keys(destination: Destination, prefix: str = "") -> list[str]:
    return [found.key for found in destination.list(prefix)]


@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_reads_back(destination: Destination, place: Place, size: int) -> None:
    data = content(size)
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5)
    assert "size" in store(destination, KEY, data)
    assert fetch(destination, KEY) == data
    (found,) = destination.list("")
    assert (found.key, found.size) == (KEY, size)
    assert before < found.modified < dt.datetime.now(dt.UTC) + dt.timedelta(seconds=5)
    assert not place.leftovers()


def test_blocks_of_any_size_make_the_same_object(destination: Destination) -> None:
    data, upload, at = content(BIG), destination.create(KEY), 0
    for size in (1, 0, 4096, PART - 1, 3 * MIB + 7, BIG):
        upload.write(data[at : at + size])
        at += size
    upload.commit(len(data), sha256(data))
    assert fetch(destination, KEY) == data


@pytest.mark.parametrize("bound", [BIG, 200 << 30, 1 << 50])
def test_a_bound_of_the_size_changes_nothing_that_shows(destination: Destination, bound: int) -> None:
    data = content(BIG)
    upload = destination.create(KEY, size_bound=bound)
    push(upload, data)
    upload.commit(len(data), sha256(data))
    assert fetch(destination, KEY) == data


@pytest.mark.parametrize("size", [0, 1000, BIG])
def test_nothing_shows_before_the_commit(destination: Destination, size: int) -> None:
    data = content(size)
    upload = destination.create(KEY)
    push(upload, data)
    assert keys(destination) == []
    with pytest.raises(MissingError):
        fetch(destination, KEY)
    upload.commit(size, sha256(data))
    assert keys(destination) == [KEY]


@pytest.mark.parametrize("size", [0, 1000, BIG])
def test_abort_leaves_nothing(destination: Destination, place: Place, size: int) -> None:
    upload = destination.create(KEY)
    push(upload, content(size))
    upload.abort()
    upload.abort()
    assert keys(destination) == []
    assert place.leftovers() == []


@pytest.mark.parametrize("size", [1000, BIG])
def test_the_old_object_stays_until_the_commit_and_after_an_abort(destination: Destination, size: int) -> None:
    old, new = content(size, 1), content(size + 1, 2)
    store(destination, KEY, old)
    upload = destination.create(KEY)
    push(upload, new)
    assert fetch(destination, KEY) == old
    upload.abort()
    assert fetch(destination, KEY) == old
    store(destination, KEY, new)
    assert fetch(destination, KEY) == new
    assert keys(destination) == [KEY]


@pytest.mark.parametrize("size", [1000, BIG])
def test_abort_after_the_commit_does_nothing(destination: Destination, size: int) -> None:
    data, upload = content(size), destination.create(KEY)
    push(upload, data)
    upload.commit(size, sha256(data))
    upload.abort()
    assert fetch(destination, KEY) == data


@pytest.mark.parametrize("size", [1000, BIG])
@pytest.mark.parametrize("wrong_by", [-1, 1])
def test_a_wrong_size_is_refused(destination: Destination, place: Place, size: int, wrong_by: int) -> None:
    old, new = content(10, 1), content(size, 2)
    store(destination, KEY, old)
    upload = destination.create(KEY)
    push(upload, new)
    with pytest.raises(VerificationError):
        upload.commit(size + wrong_by, sha256(new))
    upload.abort()
    assert fetch(destination, KEY) == old
    assert place.leftovers() == []


@pytest.mark.parametrize("size", [1000, BIG])
def test_another_sha256_is_refused_when_everything_is_to_be_verified(place: Place, context: Context, size: int) -> None:
    with place.config(verify="full").connect(context) as destination:
        old, new = content(10, 1), content(size, 2)
        store(destination, KEY, old)
        upload = destination.create(KEY)
        push(upload, new)
        with pytest.raises(VerificationError):
            upload.commit(size, sha256(old))
        upload.abort()
        assert fetch(destination, KEY) == old
        assert place.leftovers() == []
        assert "read back" in store(destination, KEY, new)


def test_two_writers_of_one_key_the_last_commit_wins_whole(destination: Destination, place: Place) -> None:
    one, two = content(BIG, 1), content(BIG - 99, 2)
    first, second = destination.create(KEY), destination.create(KEY)
    for start in range(0, BIG, MIB):
        first.write(one[start : start + MIB])
        second.write(two[start : start + MIB])
    second.commit(len(two), sha256(two))
    assert fetch(destination, KEY) == two
    first.commit(len(one), sha256(one))
    assert fetch(destination, KEY) == one
    assert place.leftovers() == []


def test_uploads_and_listings_in_several_threads(destination: Destination, place: Place) -> None:
    names = [f"host/2026-11-23/source {number}.tar.gpg" for number in range(4)]
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            store(destination, names[number], content(BIG, number))
            list(destination.list("host/"))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert keys(destination) == names
    assert [sha256(fetch(destination, name)) for name in names] == [sha256(content(BIG, n)) for n in range(4)]
    assert place.leftovers() == []


def test_a_listing_stays_under_its_prefix_and_in_order(destination: Destination) -> None:
    stored = [
        "host/2026-11-21/a.tar.gpg",
        "host/2026-11-21/a.tar.gpg.manifest.json",
        "host/2026-11-22/b.sql.gpg",
        "host/2026-11-22/c.sql.gpg",
        "host2/2026-11-21/a.tar.gpg",
        "other/2026-11-21/a.tar.gpg",
    ]
    for key in reversed(stored):
        store(destination, key, b"x")
    assert keys(destination) == stored
    assert keys(destination, "host/") == stored[:4]
    assert keys(destination, "host/2026-11-22/") == stored[2:4]
    assert keys(destination, "host/2026-11-2") == stored[:4]
    assert keys(destination, stored[0]) == stored[:2]
    assert keys(destination, "nothing/") == []


ODD = [
    "host/2026-11-23/with space.tar.gpg",
    "host/2026-11-23/plus+and%41percent.tar.gpg",
    "host/2026-11-23/ünïcode-日本.tar.gpg",
    "host/2026-11-23/quotes'\"&<x>;$(id).tar.gpg",
    "host/2026-11-23/-leading-hyphen=@,~.tar.gpg",
    "host/2026-11-23/" + "long" * 40 + ".tar.gpg",
]


@pytest.mark.parametrize("key", ODD, ids=range(len(ODD)))
@pytest.mark.parametrize("size", [10, PART + 1])
def test_keys_with_odd_characters(destination: Destination, key: str, size: int) -> None:
    store(destination, key, content(size))
    assert fetch(destination, key) == content(size)
    assert keys(destination, key) == [key]
    assert destination.remove([key]) == {}
    assert keys(destination) == []


def test_remove(destination: Destination, place: Place) -> None:
    for name in ("a/1/x", "a/1/x.manifest.json", "a/2/y"):
        store(destination, name, b"x")
    assert destination.remove(["a/1/x", "never/was/there", "a/1/never"]) == {}
    assert keys(destination) == ["a/1/x.manifest.json", "a/2/y"]
    assert destination.remove(iter(["a/1/x.manifest.json", "a/2/y"])) == {}
    assert destination.remove(["a/2/y"]) == {}
    assert destination.remove([]) == {}
    assert keys(destination) == []
    assert place.leftovers() == []


def test_a_missing_object_is_told_of(destination: Destination) -> None:
    with pytest.raises(MissingError, match=r"db\.sql\.gpg"):
        fetch(destination, KEY)


@pytest.mark.parametrize("size", [10, BIG])
def test_a_missing_place_is_told_of_and_never_made(place: Place, context: Context, size: int) -> None:
    for _ in range(2):
        with pytest.raises(MissingError) as caught, place.missing().connect(context) as destination:
            store(destination, KEY, content(size))
        assert caught.value.permanent
        assert caught.value.hint
    with pytest.raises(MissingError), place.missing().connect(context) as destination:
        list(destination.list(""))


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
    place, secret = PLACES[name](request, tmp_path), "wr0ng/s3cret+value"
    caplog.set_level(logging.INFO)
    shown = []
    with place.wrong_secret(secret).connect(context) as destination:
        for use in (
            lambda: store(destination, KEY, content(size)),
            lambda: keys(destination),
            lambda: fetch(destination, KEY),
            lambda: destination.remove([KEY]),
        ):
            with pytest.raises(DeniedError) as caught:
                use()
            assert caught.value.permanent
            shown += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
    assert secret not in "".join(shown) + caplog.text
    assert place.leftovers() == []


_PUSH = """
import hashlib, json, pathlib, sys
import google.auth.credentials
from backups.context import Context
from backups.destinations import DESTINATIONS
def high_water():
    # Not getrusage: what it says begins with the memory of the process that forked this one.
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in status if line.startswith("VmHWM")))
config = json.load(sys.stdin)
# Google's library asks googleapis.com in the background.
kind = google.auth.credentials.CredentialsWithRegionalAccessBoundary
kind._maybe_start_regional_access_boundary_refresh = lambda *given: None
context = Context(tmpdir=pathlib.Path(sys.argv[1]))
with DESTINATIONS.get(config["type"]).model_validate(config).connect(context) as destination:
    upload = destination.create("first")
    upload.write(b"so that everything is loaded")
    upload.abort()
    before = high_water()
    upload = destination.create("host/large", size_bound=1 << 40)
    size, digest = 0, hashlib.sha256()
    for number in range(128):
        block = number.to_bytes(4, "big") * (1 << 18)
        size += len(block)
        digest.update(block)
        upload.write(block)
    upload.commit(size, digest.hexdigest())
    print(high_water() - before)
"""


def test_large_data_needs_little_memory_and_leaves_no_file(place: Place, tmp_path: Path) -> None:
    """128 MiB in a process of its own, which has the real sizes of parts."""
    config = place.config(verify="full")
    given = {name: _plain(value) for name, value in config.model_dump(exclude_defaults=True).items()}
    (tmp_path / "private").mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", _PUSH, str(tmp_path / "private")],
        input=json.dumps({**given, "type": config.type}),
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(done.stdout) * 1024 < 100 * MIB
    assert list((tmp_path / "private").iterdir()) == []


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
