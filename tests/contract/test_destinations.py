"""What every destination must do, each against its real server."""

from __future__ import annotations

import datetime as dt
import threading

import pytest

from backups.context import Context
from backups.destinations import Destination
from backups.errors import MissingError, VerificationError
from tests.contract.objects import BIG, KEY, MIB, PART, content, fetch, keys, push, sha256, store
from tests.contract.places import Place

SIZES = [0, 1, 1000, PART, 2 * PART, BIG]

pytestmark = pytest.mark.usefixtures("small_parts")


@pytest.mark.parametrize("size", SIZES)
def test_what_was_written_reads_back(destination: Destination, place: Place, size: int) -> None:
    data = content(size)
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5)
    assert "size" in store(destination, data)
    assert fetch(destination) == data
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
    assert fetch(destination) == data


@pytest.mark.parametrize("bound", [BIG, 200 << 30, 1 << 50])
def test_a_bound_of_the_size_changes_nothing_that_shows(destination: Destination, bound: int) -> None:
    data = content(BIG)
    upload = destination.create(KEY, size_bound=bound)
    push(upload, data)
    upload.commit(len(data), sha256(data))
    assert fetch(destination) == data


@pytest.mark.parametrize("size", [0, 1000, BIG])
def test_nothing_shows_before_the_commit(destination: Destination, size: int) -> None:
    data = content(size)
    upload = destination.create(KEY)
    push(upload, data)
    assert keys(destination) == []
    with pytest.raises(MissingError):
        fetch(destination)
    upload.commit(size, sha256(data))
    assert keys(destination) == [KEY]


@pytest.mark.parametrize("size", [1000, BIG])
def test_the_old_object_stays_until_the_commit_and_after_an_abort(destination: Destination, size: int) -> None:
    old, new = content(size, 1), content(size + 1, 2)
    store(destination, old)
    upload = destination.create(KEY)
    push(upload, new)
    assert fetch(destination) == old
    upload.abort()
    assert fetch(destination) == old
    store(destination, new)
    assert fetch(destination) == new
    assert keys(destination) == [KEY]


@pytest.mark.parametrize("size", [1000, BIG])
def test_abort_after_the_commit_does_nothing(destination: Destination, size: int) -> None:
    data, upload = content(size), destination.create(KEY)
    push(upload, data)
    upload.commit(size, sha256(data))
    upload.abort()
    assert fetch(destination) == data


@pytest.mark.parametrize("size", [1000, BIG])
@pytest.mark.parametrize("wrong_by", [-1, 1])
def test_a_wrong_size_is_refused(destination: Destination, place: Place, size: int, wrong_by: int) -> None:
    old, new = content(10, 1), content(size, 2)
    store(destination, old)
    upload = destination.create(KEY)
    push(upload, new)
    with pytest.raises(VerificationError):
        upload.commit(size + wrong_by, sha256(new))
    upload.abort()
    assert fetch(destination) == old
    assert place.leftovers() == []


@pytest.mark.parametrize("size", [1000, BIG])
def test_another_sha256_is_refused_when_everything_is_to_be_verified(place: Place, context: Context, size: int) -> None:
    with place.config(verify="full").connect(context) as destination:
        old, new = content(10, 1), content(size, 2)
        store(destination, old)
        upload = destination.create(KEY)
        push(upload, new)
        with pytest.raises(VerificationError):
            upload.commit(size, sha256(old))
        upload.abort()
        assert fetch(destination) == old
        assert place.leftovers() == []
        assert "read back" in store(destination, new)


def test_two_writers_of_one_key_the_last_commit_wins_whole(destination: Destination, place: Place) -> None:
    one, two = content(BIG, 1), content(BIG - 99, 2)
    first, second = destination.create(KEY), destination.create(KEY)
    for start in range(0, BIG, MIB):
        first.write(one[start : start + MIB])
        second.write(two[start : start + MIB])
    second.commit(len(two), sha256(two))
    assert fetch(destination) == two
    first.commit(len(one), sha256(one))
    assert fetch(destination) == one
    assert place.leftovers() == []


def test_uploads_and_listings_in_several_threads(destination: Destination, place: Place) -> None:
    names = [f"host/2026-11-23/source {number}.tar.gpg" for number in range(4)]
    errors: list[BaseException] = []

    def work(number: int) -> None:
        try:
            store(destination, content(BIG, number), names[number])
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
        store(destination, b"x", key)
    assert keys(destination) == stored
    assert keys(destination, "host/") == stored[:4]
    assert keys(destination, "host/2026-11-22/") == stored[2:4]
    assert keys(destination, "host/2026-11-2") == stored[:4]
    assert keys(destination, stored[0]) == stored[:2]
    assert keys(destination, "nothing/") == []


def test_a_listing_goes_on_after_any_key(destination: Destination) -> None:
    stored = ["host/2026-11-21/a.gpg", "host/2026-11-21/a.gpg.json", "host/2026-11-22/b.gpg", "host2/x/a.gpg"]
    for key in stored:
        store(destination, b"x", key)
    for number, key in enumerate(stored):
        assert [found.key for found in destination.list_after("", key)] == stored[number + 1 :]
        assert [found.key for found in destination.list_after("host/", key)] == stored[number + 1 : 3]
    assert [found.key for found in destination.list_after("host/", "host/2026-11-21/")] == stored[:3]
    assert [found.key for found in destination.list_after("host/", "host/2026-11-21/a.gp")] == stored[:3]
    assert [found.key for found in destination.list_after("host/2026-11-22/", "a")] == stored[2:3]


ODD = [
    "host/2026-11-23/-leading-hyphen=@,~.tar.gpg",
    "host/2026-11-23/" + "long" * 40 + ".tar.gpg",
    "host/2026-11-23/plus+and%41percent%2F.tar.gpg",
    "host/2026-11-23/quotes'\"&<x>;$(id)`#?*[a]{b}.tar.gpg",
    "host/2026-11-23/with space.tar.gpg",
    "host/2026-11-23/ünïcode-日本.tar.gpg",
]


@pytest.mark.parametrize("size", [10, PART + 1])
def test_keys_with_odd_characters(destination: Destination, size: int) -> None:
    for number, key in enumerate(ODD):
        store(destination, content(size, number), key)
    assert keys(destination) == ODD
    for number, key in enumerate(ODD):
        assert fetch(destination, key) == content(size, number)
    assert destination.remove(ODD[1:]) == {}
    assert keys(destination, ODD[0]) == ODD[:1]
    assert keys(destination) == ODD[:1]


def test_a_place_knows_nothing_of_its_neighbour_whose_name_begins_alike(place: Place, context: Context) -> None:
    with place.config().connect(context) as destination, place.neighbour().connect(context) as neighbour:
        store(neighbour, b"theirs")
        assert keys(destination) == []
        with pytest.raises(MissingError):
            fetch(destination)
        store(destination, b"ours")
        store(destination, b"ours", "host2/2026-11-23/db.sql.gpg")
        assert keys(destination) == [KEY, "host2/2026-11-23/db.sql.gpg"]
        assert destination.remove(keys(destination)) == {}
        assert keys(destination) == []
        assert keys(neighbour) == [KEY]
        assert fetch(neighbour) == b"theirs"


def test_remove(destination: Destination, place: Place) -> None:
    for name in ("a/1/x", "a/1/x.manifest.json", "a/2/y"):
        store(destination, b"x", name)
    assert destination.remove(["a/1/x", "never/was/there", "a/1/never"]) == {}
    assert keys(destination) == ["a/1/x.manifest.json", "a/2/y"]
    assert destination.remove(iter(["a/1/x.manifest.json", "a/2/y"])) == {}
    assert destination.remove(["a/2/y"]) == {}
    assert destination.remove([]) == {}
    assert keys(destination) == []
    assert place.leftovers() == []


def test_a_missing_object_is_told_of(destination: Destination) -> None:
    with pytest.raises(MissingError, match=r"db\.sql\.gpg"):
        fetch(destination)


@pytest.mark.parametrize("size", [10, BIG])
def test_a_missing_place_is_told_of_and_never_made(place: Place, context: Context, size: int) -> None:
    for _ in range(2):
        with pytest.raises(MissingError) as caught, place.missing().connect(context) as destination:
            store(destination, content(size))
        assert caught.value.permanent
        assert caught.value.hint
    with pytest.raises(MissingError), place.missing().connect(context) as destination:
        list(destination.list(""))
