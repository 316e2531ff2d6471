"""Retention at every kind of destination, each on its real server: what goes, what stays, and what is left alone."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.context import Context
from backups.destinations import Destination, DestinationConfig
from backups.job import Job, JobSettings
from backups.pruning import Task, Work, WorkRecord, prune
from backups.pruning.prune import go_on
from backups.retention import KeepRules
from tests.contract.objects import keys, store
from tests.contract.places import PLACES, Place

TODAY = dt.date(2026, 11, 23)
STAYS = [0, 1, 31]
"""Ages in days that the rules keep: the newest two, and the newest of another month."""
GOES = [2, 32, 62]
FOREIGN = ["web1/2020-01-01/files.tar.gpg", "web2/2020-01-01/db.sql.gpg", "web1/notes.txt", "db/2020-01-01/db.sql.gpg"]


def named(ages: list[int]) -> set[str]:
    """Copies and manifests of these ages."""
    copies = [f"web1/{TODAY - dt.timedelta(days=age)}/db.sql.gpg" for age in ages]
    return {name for copy in copies for name in (copy, f"{copy}.manifest.json")}


@pytest.fixture(params=["local", "s3", "samba", "gs", "rclone-sftp"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """An empty place of each kind; how it is reached makes no difference here."""
    return PLACES[request.param].shared(request, tmp_path)


@pytest.fixture
def config(place: Place) -> DestinationConfig:
    return place.config(id="there", retention=KeepRules(keep_last=2, keep_monthly=2), retention_legacy=True)


@pytest.fixture
def full(config: DestinationConfig, context: Context) -> Iterator[Destination]:
    """A destination with copies of six days, and with what is none of the job's business."""
    with config.connect(context) as opened:
        for name in (*sorted(named(STAYS + GOES)), *FOREIGN):
            store(opened, b"x", name)
        yield opened


def test_a_dry_run_promises_what_is_then_done_in_turns_and_nothing_foreign_goes(
    full: Destination, config: DestinationConfig
) -> None:
    job = Job("nightly", JobSettings(hostname="web1"), (), (config,), ())
    now = dt.datetime.now(dt.UTC) + dt.timedelta(days=3)  # when copies without a manifest are no new ones
    promised = prune(job, config, full, ["db"], today=TODAY, now=now, dry_run=True)
    assert set(keys(full)) == {*named(STAYS + GOES), *FOREIGN}
    task = Task.of(job, config, ["db"], stored={}, today=TODAY, now=now)
    turns, work = 0, Work(task)
    while not go_on(work, full, lambda _: True):  # a copy with its manifest in each
        turns += 1
        work = Work.of(task, WorkRecord.model_validate_json(work.record().model_dump_json()))
    assert turns > len(STAYS + GOES)
    assert set(keys(full)) == {*named(STAYS), *FOREIGN[:3]}, "the old tool's copy goes, since the job says so"
    assert (*work.pruned(),) == promised[1]
    (record,) = promised[1]
    assert (record.kept, record.refused, record.error) == (len(STAYS), {}, "")
    assert {*record.removed} == {FOREIGN[3], *(name for name in named(GOES) if name.endswith(".gpg"))}
