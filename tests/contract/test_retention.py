"""Retention at every kind of destination, each on its real server: what goes, what stays, and what is left alone."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backups.context import Context
from backups.destinations import Destination, DestinationConfig
from backups.destinations.s3.destination import S3
from backups.job import Job, JobSettings
from backups.pruning import Task, Work, WorkRecord, prune
from backups.pruning.prune import go_on
from backups.records import Pruned
from backups.retention import KeepRules
from tests.contract.objects import keys, store
from tests.contract.places import PLACES, Place
from tests.servers import seaweed

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


# ---------------------------------------------------------------------- what a server refuses of a batch


def seaweed_login(request: pytest.FixtureRequest) -> tuple[Any, dict[str, str]]:
    """A client of a whole S3 server, and how a destination reaches it."""
    server = request.getfixturevalue("s3_server")
    login = {"aws_access_key_id": seaweed.ACCESS_KEY, "aws_secret_access_key": seaweed.SECRET_KEY}
    return server.client(), {"endpoint_url": server.url, **login}


def embedded_login(request: pytest.FixtureRequest) -> tuple[Any, dict[str, str]]:
    """The same for the S3 of the embedded cloud."""
    cloud = request.getfixturevalue("sample").cloud
    names = ("aws_access_key_id", "aws_secret_access_key")
    login = {name: cloud.environment()[name.upper()] for name in names}
    return cloud.client("s3"), {"endpoint_url": cloud.endpoint, "region": cloud.region, **login}


def bypass(params: dict[str, Any], **_: Any) -> None:
    """What the owner of a bucket may do."""
    params["BypassGovernanceRetention"] = True


@pytest.mark.parametrize(("login", "count"), [(seaweed_login, 103), (embedded_login, 43)])
def test_what_a_bucket_refuses_of_a_batch_is_named_the_others_go_and_the_next_run_tries_again(
    request: pytest.FixtureRequest, context: Context, login: Any, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its locks have an end that has passed by the clock of the run, and by the server's own has not."""
    monkeypatch.setattr("backups.destinations.s3.remove.BATCH", 20)
    monkeypatch.setattr("backups.pruning.plan.BATCH", 20)
    client, reached = login(request)
    bucket = f"lock-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    now = dt.datetime.now(dt.UTC)
    lock = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": now + dt.timedelta(days=1)}
    names = [f"web1/2026-01-01/db{number:04}.sql.gpg" for number in range(count)]
    locked = {names[0], names[count // 2], names[-1]}

    def put(name: str) -> None:
        client.put_object(Bucket=bucket, Key=name, Body=b"x", **(lock if name in locked else {}))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(put, names))
    config = S3.model_validate({"bucket": bucket, "retention_days": 1, "retention_minimum": 0, **reached})
    job = Job("nightly", JobSettings(hostname="web1"), (), (config,), ())
    sources = [f"db{number:04}" for number in range(count)]
    with config.connect(context) as destination:

        def run() -> list[Pruned]:
            return [*prune(job, config, destination, sources, today=TODAY, now=now + dt.timedelta(days=4))[1]]

        records = run()
        refused = {name: reason for record in records for name, reason in record.refused.items()}
        assert refused.keys() == locked
        assert all("locked until" in reason for reason in refused.values())
        assert sum(record.removed_count for record in records) == count - 3
        assert [record.kept for record in records] == [int(name in locked) for name in names]
        assert {*keys(destination)} == locked
        assert {name for record in run() for name in record.refused} == locked
        destination._bucket.client.meta.events.register("provide-client-params.s3.DeleteObjects", bypass)
        records = run()
        assert {name for record in records for name in record.removed} == locked
        assert not [record for record in records if record.refused or record.error]
        assert keys(destination) == []
