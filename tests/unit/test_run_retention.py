"""Retention after a deployed run: only where this run stored, and never silent about what it could not do."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.cloud.run_retention import Limits, Place, Turn, prune_after
from backups.context import Context
from backups.errors import BackupsError
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


def finish(stack: Deployment, where: Place, context: Context, *, objects: int = 0) -> list[Turn]:
    """Every turn, as the state machine goes on with each: only what a turn says reaches the next."""
    turns: list[Turn] = []
    while not turns or not turns[-1].done:
        assert len(turns) < 100, "the turns never end"
        due = where.model_copy(update={"turn": turns[-1]}) if turns else where
        limits = Limits(objects=objects)
        later = NOW + dt.timedelta(days=len(turns))  # only the moment of the first turn counts
        turns.append(
            prune_after(stack.state, Place.model_validate_json(due.model_dump_json()), context, limits, now=later)
        )
    return turns


def test_what_this_run_stored_is_pruned_and_nothing_else(stack: Deployment, disk: Path, context: Context) -> None:
    old, new = a_copy(disk, "a", 21), a_copy(disk, "a", 23)
    other_old, other_new = a_copy(disk, "b", 21), a_copy(disk, "b", 22)
    stack.state.put_result(result("a", run=RUN, destinations=(stored("disk"),)))
    stack.state.put_result(result("b", Outcome.FAILED, run=RUN, destinations=(lost("disk"),)))
    (turn,) = finish(stack, place(stack, disk), context)
    assert turn == Turn(done=True, removed=1)
    (record,) = stack.state.pruned("nightly", RUN)
    assert (record.source, record.destination, record.kept, record.error) == ("a", "disk", 1, "")
    assert new.exists() and not old.exists()
    assert other_old.exists() and other_new.exists()


def test_where_nothing_was_stored_nothing_is_even_looked_at(stack: Deployment, disk: Path, context: Context) -> None:
    a_copy(disk, "a", 21)
    stack.state.put_result(result("a", Outcome.FAILED, run=RUN, destinations=(lost("disk"),)))
    gone = place(stack, disk / "no such directory")
    assert finish(stack, gone, context) == [Turn(done=True)]
    assert stack.state.pruned("nightly", RUN) == []


def test_a_destination_that_fails_is_told_for_each_source(stack: Deployment, disk: Path, context: Context) -> None:
    for source in ("a", "b"):
        stack.state.put_result(result(source, run=RUN, destinations=(stored("disk"),)))
    (turn,) = finish(stack, place(stack, disk / "no such directory"), context)
    assert turn == Turn(done=True, failed=2)
    records = stack.state.pruned("nightly", RUN)
    assert [record.source for record in records] == ["a", "b"]
    assert all("no such directory" in record.error for record in records)


def test_work_is_left_in_the_middle_and_gone_on_with(stack: Deployment, disk: Path, context: Context) -> None:
    newest = [a_copy(disk, source, 23) for source in ("a", "b")]
    for day in range(1, 23):
        for source in ("a", "b"):
            a_copy(disk, source, day)
    for source in ("a", "b"):
        stack.state.put_result(result(source, run=RUN, destinations=(stored("disk"),)))
    turns = finish(stack, place(stack, disk), context, objects=10)
    assert [turn.number for turn in turns] == [*range(1, len(turns)), len(turns) - 1]
    assert len(turns) > 9  # 92 objects to list, ten in a turn
    assert turns[-1].removed == 44
    assert {path.name for path in disk.rglob("*.gpg")} == {path.name for path in newest}
    assert [(r.source, r.kept, r.removed_count) for r in stack.state.pruned("nightly", RUN)] == [
        ("a", 1, 22),
        ("b", 1, 22),
    ]


def test_a_turn_that_is_repeated_does_the_same_again(stack: Deployment, disk: Path, context: Context) -> None:
    """Step Functions tries again when an answer is lost; what the first try removed is simply gone."""
    for day in (21, 22, 23):
        a_copy(disk, "a", day)
    stack.state.put_result(result("a", run=RUN, destinations=(stored("disk"),)))
    where = place(stack, disk)
    first = prune_after(stack.state, where, context, Limits(objects=4), now=NOW)
    again = prune_after(stack.state, where, context, Limits(objects=4), now=NOW)
    assert first == again == Turn(number=1)
    due = where.model_copy(update={"turn": first})
    last = [prune_after(stack.state, due, context, Limits(), now=NOW) for _ in range(2)]
    assert last[0] == last[1] == Turn(number=1, done=True, removed=2)
    (record,) = stack.state.pruned("nightly", RUN)
    assert (record.kept, record.removed_count, record.error) == (1, 2, "")


def test_the_results_of_a_run_are_read_in_its_first_turn_alone(stack: Deployment, disk: Path, context: Context) -> None:
    """A run may have ten thousand, and retention a hundred turns."""
    for day in range(1, 24):
        a_copy(disk, "a", day)
    stack.state.put_result(result("a", run=RUN, destinations=(stored("disk"),)))
    where = place(stack, disk)
    first = prune_after(stack.state, where, context, Limits(objects=4), now=NOW)
    (key,) = stack.state._keys(f"runs/nightly/{RUN}/results/")
    stack.state._s3.delete_object(Bucket=stack.state.bucket, Key=key)
    due = where.model_copy(update={"turn": first})
    assert prune_after(stack.state, due, context, Limits(), now=NOW) == Turn(number=1, done=True, removed=22)


def test_a_listing_that_took_the_turn_s_time_leaves_the_decision_to_the_next(
    stack: Deployment, disk: Path, context: Context
) -> None:
    old, _ = a_copy(disk, "a", 21), a_copy(disk, "a", 23)
    stack.state.put_result(result("a", run=RUN, destinations=(stored("disk"),)))
    where = place(stack, disk)
    first = prune_after(stack.state, where, context, Limits(objects=4), now=NOW)
    assert first == Turn(number=1) and old.exists()
    due = where.model_copy(update={"turn": first})
    assert prune_after(stack.state, due, context, Limits(), now=NOW).removed == 1
    assert not old.exists()


def test_a_turn_without_its_record_removes_nothing(stack: Deployment, disk: Path, context: Context) -> None:
    old, _ = a_copy(disk, "a", 21), a_copy(disk, "a", 23)
    stack.state.put_result(result("a", run=RUN, destinations=(stored("disk"),)))
    due = place(stack, disk).model_copy(update={"turn": Turn(number=3)})
    with pytest.raises(BackupsError, match="turn 3 of retention at disk has no record"):
        prune_after(stack.state, due, context, Limits(), now=NOW)
    assert old.exists()


def test_a_turn_ends_while_there_is_time_to_hand_over() -> None:
    left = [600.0]
    limits = Limits(lambda: left[0], reserve=180)
    assert not limits.enough(1000)
    left[0] = 179
    limits._looked = 0  # as a second later
    assert limits.enough(1)
    assert Limits(objects=10).enough(10)
    assert not Limits(objects=10).enough(9)
