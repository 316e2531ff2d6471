"""Listing and pruning in a real directory; a destination that breaks stands around it where faults are needed."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backups.context import Cancel, Context
from backups.copies import Copy, list_copies, read_manifest
from backups.destinations.base import Destination, StoredObject, Upload
from backups.destinations.local.destination import Local, LocalDestination
from backups.errors import DestinationError, VerificationError
from backups.job import Job, JobSettings
from backups.local_run import run_job
from backups.naming import MANIFEST_SUFFIX
from backups.pruning import prune
from backups.records import Manifest, Pruned
from backups.retention import Decision, decide
from backups.secrets import Secrets
from tests.integration.test_snapshots import Quiet
from tests.jobs import job_with, parsed

TODAY = dt.date(2026, 11, 23)
NOW = dt.datetime(2026, 11, 23, 3, 0, tzinfo=dt.UTC)
CONTENT = b"encrypted"


class Store:
    """A directory as a destination, and files put into it with the times that a test wants."""

    def __init__(self, root: Path, context: Context) -> None:
        self.root = root
        self.config = Local(id="disk", path=str(root), retention_days=30)
        self.job = Job("nightly", JobSettings(hostname="web1"), (), (self.config,), ())
        self.destination: Destination = self.config.connect(context)

    def put(self, key: str, modified: dt.datetime, content: bytes = CONTENT) -> str:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (modified.timestamp(), modified.timestamp()))
        return key

    def copy(self, age: int, source: str = "db", *, host: str = "web1", manifest: int | None = 1) -> str:
        """A copy so many days old, and a manifest written so many seconds after it (None: without)."""
        date = TODAY - dt.timedelta(days=age)
        written = dt.datetime.combine(date, dt.time(2), dt.UTC)
        key = self.put(f"{host}/{date}/{source}.sql.gpg", written)
        if manifest is not None:
            text = manifest_of(key).model_dump_json().encode()
            self.put(key + MANIFEST_SUFFIX, written + dt.timedelta(seconds=manifest), text)
        return key

    def files(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()}

    def prune(self, *sources: str, dry_run: bool = False) -> tuple[list[Decision], tuple[Pruned, ...]]:
        return prune(self.job, self.config, self.destination, sources or ("db",), today=TODAY, now=NOW, dry_run=dry_run)


class Faulty(Destination):
    """Passes everything on, but for the faults it was given."""

    def __init__(self, inner: Destination) -> None:
        self.inner = inner
        self.refuses: dict[str, str] = {}
        self.break_listing = False
        self.forget_prefix = False
        self.locks: dict[str, dt.datetime] = {}
        self.break_removal_after: int | None = None
        self.removals: list[list[str]] = []

    def create(self, key: str, *, size_bound: int | None = None) -> Upload:
        return self.inner.create(key, size_bound=size_bound)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        for number, stored in enumerate(self.inner.list("" if self.forget_prefix else prefix)):
            if self.break_listing and number == 1:
                raise DestinationError("disk: the connection was cut", hint="is it mounted?")
            yield replace(stored, locked_until=self.locks.get(stored.key))

    def read(self, key: str) -> Iterator[bytes]:
        return self.inner.read(key)

    def remove(self, keys: Iterable[str]) -> dict[str, str]:
        wanted = [*keys]
        if self.break_removal_after is not None and len(self.removals) >= self.break_removal_after:
            raise DestinationError("disk: the connection was cut")
        self.removals.append(wanted)
        refused = {key: self.refuses[key] for key in wanted if key in self.refuses}
        return refused | self.inner.remove([key for key in wanted if key not in refused])


@pytest.fixture
def store(tmp_path: Path, context: Context) -> Store:
    root = tmp_path / "disk"
    root.mkdir()
    return Store(root, context)


@pytest.fixture
def faulty(store: Store) -> Faulty:
    store.destination = Faulty(store.destination)
    return store.destination


def manifest_of(key: str, size: int = len(CONTENT)) -> Manifest:
    """The manifest that stands beside a copy."""
    return Manifest(
        job="nightly",
        run="r1",
        hostname="web1",
        source="db",
        type="mysql",
        key=key,
        started=NOW,
        finished=NOW,
        plain_size=100,
        size=size,
        sha256="00" * 32,
        compression="gpg",
        encryption="passphrase",
        tools={"gpg": "2.2.40"},
    )


def one(store: Store) -> Copy:
    """The only copy there is."""
    (copy,) = list_copies(store.destination, "web1")
    return copy


def test_a_copy_counts_as_verified_when_its_manifest_is_not_older(store: Store) -> None:
    store.copy(0)
    assert one(store).verified
    assert one(store).size == len(CONTENT)
    store.copy(0, manifest=0)
    assert one(store).verified


def test_a_copy_without_a_manifest_is_unverified(store: Store) -> None:
    store.copy(0, manifest=None)
    assert not one(store).verified
    assert not one(store).has_manifest


def test_a_copy_that_was_replaced_by_a_run_that_died_before_the_manifest_is_unverified(store: Store) -> None:
    store.copy(0, manifest=-3600)
    assert one(store).has_manifest
    assert not one(store).verified
    assert read_manifest(store.destination, one(store)) is None


def test_only_copies_of_the_host_and_the_sources_are_listed(store: Store) -> None:
    own = store.copy(1)
    for foreign in ("web10/2026-11-22/db.sql.gpg", "web1/2026-11-22/notes.txt", "web1/db.sql.gpg", "web1/x/db.sql.gpg"):
        store.put(foreign, NOW)
    store.copy(1, "files")
    assert [str(copy.key) for copy in list_copies(store.destination, "web1", ["db"])] == [own]
    assert len(list_copies(store.destination, "web1")) == 2


def test_the_manifest_of_a_copy_is_read(store: Store) -> None:
    key = store.copy(0)
    assert read_manifest(store.destination, one(store)) == manifest_of(key)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"job": "nightly"}', b"x" * (5 << 20)], ids=["empty", "cut", "list", "part", "huge"]
)
def test_a_broken_manifest_is_an_error_and_not_a_missing_one(store: Store, content: bytes) -> None:
    key = store.copy(0)
    store.put(key + MANIFEST_SUFFIX, NOW, content)
    with pytest.raises(VerificationError, match="is no manifest"):
        read_manifest(store.destination, one(store))


def test_a_manifest_of_another_size_is_an_error(store: Store) -> None:
    key = store.copy(0)
    store.put(key + MANIFEST_SUFFIX, NOW, manifest_of(key, size=8).model_dump_json().encode())
    with pytest.raises(VerificationError, match=r"8 bytes .* has 9"):
        read_manifest(store.destination, one(store))


def test_a_manifest_that_went_since_the_listing_is_none(store: Store) -> None:
    key = store.copy(0)
    copy = one(store)
    (store.root / (key + MANIFEST_SUFFIX)).unlink()
    assert read_manifest(store.destination, copy) is None


def test_a_removal_takes_the_manifest_with_its_copy(store: Store) -> None:
    stay = store.copy(3)
    gone = store.copy(31)
    _, (record,) = store.prune()
    assert store.files() == {stay, stay + MANIFEST_SUFFIX}
    assert record == Pruned(source="db", destination="disk", kept=1, removed=(gone,))


def test_nothing_of_another_host_or_source_is_touched(store: Store) -> None:
    store.copy(3)
    others = {store.copy(90, "files"), store.copy(90, host="web2"), store.copy(90, host="web11")}
    others |= {key + MANIFEST_SUFFIX for key in others}
    others |= {store.put("web1/2026-01-01/db.txt", NOW), store.put("db/2020-01-01/db.sql.gpg", NOW)}
    own = store.copy(31)
    store.prune("db")
    assert others <= store.files()
    assert own not in store.files()


def test_a_dry_run_tells_what_the_real_run_then_does_and_touches_nothing(store: Store) -> None:
    for age in (0, 1, 40, 50):
        store.copy(age)
        store.copy(age, "files", manifest=None)
    store.put(f"web1/2026-01-01/db.tar.gpg{MANIFEST_SUFFIX}", NOW - dt.timedelta(days=90))
    before = store.files()
    promised = store.prune("db", "files", dry_run=True)
    assert store.files() == before
    done = store.prune("db", "files")
    assert done == promised
    assert {key for record in done[1] for key in record.removed} == {
        key for key in before - store.files() if not key.endswith(MANIFEST_SUFFIX) or "2026-01-01" in key
    }


def test_backups_kept_are_counted_and_not_objects(store: Store) -> None:
    store.copy(1)
    store.put(f"web1/{TODAY - dt.timedelta(days=1)}/db.sql.zst.gpg", NOW)
    store.copy(2)
    _, (record,) = store.prune()
    assert record.kept == 2


def test_manifests_that_a_crash_left_without_their_copies_are_swept(store: Store, faulty: Faulty) -> None:
    stay, gone = store.copy(3), store.copy(31)
    faulty.break_removal_after = 1
    _, (record,) = store.prune()
    assert record.removed == (gone,)
    assert "connection was cut" in record.error
    assert store.files() == {stay, stay + MANIFEST_SUFFIX, gone + MANIFEST_SUFFIX}
    assert list_copies(store.destination, "web1") == [one(store)]
    faulty.break_removal_after = None
    _, (record,) = store.prune()
    assert record.removed == (gone + MANIFEST_SUFFIX,)
    assert store.files() == {stay, stay + MANIFEST_SUFFIX}


def test_a_new_manifest_without_a_copy_stays_since_its_copy_may_have_come_during_the_listing(store: Store) -> None:
    store.copy(3)
    fresh = store.put(f"web1/2026-11-22/db.tar.gpg{MANIFEST_SUFFIX}", NOW - dt.timedelta(hours=47))
    _, (record,) = store.prune()
    assert fresh in store.files()
    assert record.removed == ()


def test_a_destination_that_lists_too_much_loses_nothing_of_another_host(store: Store, faulty: Faulty) -> None:
    other = store.copy(90, host="web2")
    store.copy(3)
    faulty.forget_prefix = True
    decisions, _ = store.prune()
    assert len(decisions) == 1
    assert {other, other + MANIFEST_SUFFIX} <= store.files()


def test_locked_objects_count_as_kept_and_are_not_asked_for(store: Store, faulty: Faulty) -> None:
    store.copy(0)
    locked, manifest_locked = store.copy(40), store.copy(41)
    junk = store.put(f"web1/2026-01-01/db.tar.gpg{MANIFEST_SUFFIX}", NOW - dt.timedelta(days=90))
    faulty.locks = dict.fromkeys((locked, manifest_locked + MANIFEST_SUFFIX, junk), NOW + dt.timedelta(days=1))
    _, (record,) = store.prune()
    assert record == Pruned(source="db", destination="disk", kept=3)
    assert faulty.removals == []


def test_a_refusal_is_told_and_keeps_the_manifest_and_the_others_go(store: Store, faulty: Faulty) -> None:
    store.copy(0)
    stuck, gone = store.copy(40), store.copy(41)
    faulty.refuses[stuck] = "the bucket's policy forbids it"
    _, (record,) = store.prune()
    assert record.refused == {stuck: "the bucket's policy forbids it"}
    assert record.removed == (gone,)
    assert record.kept == 2
    assert record.error == ""
    assert {stuck, stuck + MANIFEST_SUFFIX} <= store.files()
    assert gone + MANIFEST_SUFFIX not in store.files()


def test_a_removal_that_breaks_is_an_error_of_the_sources_it_was_about(store: Store, faulty: Faulty) -> None:
    store.copy(0)
    store.copy(40)
    store.copy(0, "files")
    before = store.files()
    faulty.break_removal_after = 0
    _, (db, files) = store.prune("db", "files")
    assert (db.removed, db.kept, db.error) == ((), 2, "disk: the connection was cut")
    assert (files.removed, files.kept, files.error) == ((), 1, "")
    assert store.files() == before


def test_a_listing_that_breaks_removes_nothing(store: Store, faulty: Faulty) -> None:
    for age in (0, 40, 41):
        store.copy(age)
    before = store.files()
    faulty.break_listing = True
    decisions, records = store.prune("db", "files")
    assert decisions == []
    assert [(r.source, r.error) for r in records] == [
        (source, "disk: the connection was cut (is it mounted?)") for source in ("db", "files")
    ]
    assert store.files() == before


def test_the_policy_is_that_of_the_destination(store: Store) -> None:
    for age in (0, 1, 2):
        store.copy(age)
    store.config = store.config.model_copy(update={"retention_days": None, "retention_copies": 2})
    decisions, _ = store.prune()
    assert [d.keep for d in decisions] == [True, True, False]
    assert decisions == decide([d.copy for d in decisions], store.job.policy_for(store.config), today=TODAY, now=NOW)


def test_without_anything_to_remove_the_destination_is_only_listed(store: Store, faulty: Faulty) -> None:
    store.copy(0)
    store.prune()
    assert faulty.removals == []


def test_a_run_does_not_believe_a_listing_without_what_it_has_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On one machine as in the cloud: what it does not show may be all that is new."""
    (tmp_path / "data").mkdir()
    (tmp_path / "disk").mkdir()
    content = {
        **job_with("sources", {"id": "db", "type": "folder", "path": str(tmp_path / "data")}),
        "hostname": "web1",
        "tmpdir": str(tmp_path / "tmp"),
        "destinations": [{"id": "disk", "type": "local", "path": str(tmp_path / "disk"), "retention_copies": 1}],
    }
    store = Store(tmp_path / "disk", Context(tmpdir=tmp_path))
    old = {store.copy(30), store.copy(31)}
    real = LocalDestination.list_after

    def cut_short(self: LocalDestination, prefix: str, after: str) -> Iterator[StoredObject]:
        return (stored for stored in real(self, prefix, after) if stored.key.removesuffix(MANIFEST_SUFFIX) in old)

    monkeypatch.setattr(LocalDestination, "list_after", cut_short)
    done = run_job(parsed(content), None, Secrets(), Cancel(), Quiet())
    (record,) = done.report.pruned
    assert record.removed == () and "which this run has stored" in record.error
    assert old <= store.files()
