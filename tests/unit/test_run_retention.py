"""Retention after a deployed run: only where this run stored, and never silent about what it could not do."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.cloud.run_retention import Place, prune_after
from backups.context import Context
from backups.naming import Compression, copy_key
from backups.records import Manifest, Outcome
from tests.jobs import job_with
from tests.unit.deployment import Deployment, deployment
from tests.unit.reports import lost, result, stored

NOW = dt.datetime(2026, 11, 23, 2, 30, tzinfo=dt.UTC)
RUN = "20261123T023000Z"


@pytest.fixture
def stack() -> Iterator[Deployment]:
    with deployment() as made:
        yield made


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    place = tmp_path / "disk"
    place.mkdir()
    return place


def place(stack: Deployment, disk: Path) -> Place:
    """The destination of a job that keeps one copy of each source."""
    folders = [{"id": id_, "type": "folder", "path": f"/{id_}"} for id_ in ("a", "b")]
    local = [{"id": "disk", "type": "local", "path": str(disk), "retention_copies": 1}]
    data = {**job_with("sources", *folders), "hostname": "web1", "destinations": local}
    return Place(job="nightly", run=RUN, destination="disk", job_file=stack.deploy(data, "pruned"))


def a_copy(disk: Path, source: str, day: int) -> Path:
    """A whole copy with its manifest."""
    date = dt.date(2026, 11, day)
    key = copy_key("web1", date, source, "tar", Compression.GPG)
    path = disk / str(key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    moment = dt.datetime(2026, 11, day, tzinfo=dt.UTC)
    manifest = Manifest(
        job="nightly",
        run="r",
        hostname="web1",
        source=source,
        type="folder",
        key=str(key),
        started=moment,
        finished=moment,
        plain_size=1,
        size=1,
        sha256="0" * 64,
        compression="gpg",
        encryption="passphrase",
        tools={},
    )
    (disk / key.manifest).write_text(manifest.model_dump_json())
    for written in (path, disk / key.manifest):
        os.utime(written, (moment.timestamp(), moment.timestamp()))
    return path


def test_what_this_run_stored_is_pruned_and_nothing_else(stack: Deployment, disk: Path, context: Context) -> None:
    old, new = a_copy(disk, "a", 21), a_copy(disk, "a", 23)
    other_old, other_new = a_copy(disk, "b", 21), a_copy(disk, "b", 22)
    stack.state.put_result(result("a", run=RUN, destinations=(stored("disk"),)))
    stack.state.put_result(result("b", Outcome.FAILED, run=RUN, destinations=(lost("disk"),)))
    (record,) = prune_after(stack.state, place(stack, disk), context, now=NOW)
    assert (record.source, record.destination, record.kept, record.error) == ("a", "disk", 1, "")
    assert new.exists() and not old.exists()
    assert other_old.exists() and other_new.exists()
    assert stack.state.pruned("nightly", RUN) == [record]


def test_where_nothing_was_stored_nothing_is_even_looked_at(stack: Deployment, disk: Path, context: Context) -> None:
    a_copy(disk, "a", 21)
    stack.state.put_result(result("a", Outcome.FAILED, run=RUN, destinations=(lost("disk"),)))
    gone = place(stack, disk / "no such directory")
    assert prune_after(stack.state, gone, context, now=NOW) == ()
    assert stack.state.pruned("nightly", RUN) == []


def test_a_destination_that_fails_is_told_for_each_source(stack: Deployment, disk: Path, context: Context) -> None:
    for source in ("a", "b"):
        stack.state.put_result(result(source, run=RUN, destinations=(stored("disk"),)))
    records = prune_after(stack.state, place(stack, disk / "no such directory"), context, now=NOW)
    assert [record.source for record in records] == ["a", "b"]
    assert all("no such directory" in record.error for record in records)
    assert stack.state.pruned("nightly", RUN) == list(records)
