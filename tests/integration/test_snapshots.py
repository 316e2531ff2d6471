"""Whole runs of a job with a snapshot: the encrypted copy, what counts, and what retention removes."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from moto.ec2.exceptions import EC2ClientError

from backups.context import Cancel, Context
from backups.job import Job, load_job
from backups.local_run import LocalRun, run_job
from backups.records import Outcome, Pruned, Result, StoredAt
from backups.secrets import Secrets
from backups.snapshots.pruning import with_snapshots
from tests.contract.aws_snapshots import AWAY, HOME, Account, account
from tests.contract.test_snapshot import source

PASSPHRASE = "correct horse battery staple"
NOW = dt.datetime(2026, 11, 23, 3, 0, tzinfo=dt.UTC)


@pytest.fixture
def aws() -> Iterator[Account]:
    with account() as made:
        yield made


class Quiet:
    """Nobody watches."""

    def follow(self, what: Any) -> Any:
        return contextlib.nullcontext()

    def done(self, result: Result) -> None: ...

    def note(self, text: str) -> None: ...

    def warn(self, text: str) -> None: ...


def job(tmp_path: Path, *, places: tuple[str, ...] = ("disk",), **fields: Any) -> Job:
    """A job of one snapshot, stored in directories."""
    for place in places:
        (tmp_path / place).mkdir(exist_ok=True)
    content = {
        "hostname": "web1",
        "tmpdir": str(tmp_path / "tmp"),
        "encryption": {"passphrase": PASSPHRASE},
        "retention": {"keep_last": 2},
        "sources": [{"id": "data", "type": "snapshot", "region": HOME, **fields}],
        "destinations": [{"id": place, "type": "local", "path": str(tmp_path / place)} for place in places],
    }
    path = tmp_path / "nightly.json"
    path.write_text(json.dumps(content))
    return load_job(path)


def run(job: Job, cancel: Cancel | None = None) -> LocalRun:
    return run_job(job, None, Secrets(), cancel or Cancel(), Quiet())


def test_the_status_is_stored_encrypted_and_stock_gpg_reads_it(aws: Account, tmp_path: Path) -> None:
    done = run(job(tmp_path, volume_id=aws.volume()))
    (result,) = done.report.results
    assert done.report.outcome is Outcome.STORED, result.error
    copy = tmp_path / "disk" / result.key
    assert copy.name == "data.json.gpg" and b"snap-" not in copy.read_bytes()
    argv = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", PASSPHRASE, "-d", str(copy)]
    status = json.loads(subprocess.run(argv, check=True, capture_output=True).stdout)
    (shot,) = aws.snapshots()
    assert [one["id"] for one in status["snapshots"]] == [shot["SnapshotId"]]
    assert (shot["Tags"]["backups:state"], shot["Tags"]["backups:copy"]) == ("complete", result.key)


def test_a_copy_that_no_destination_takes_leaves_no_snapshot(aws: Account, tmp_path: Path) -> None:
    one = job(tmp_path, volume_id=aws.volume())
    (tmp_path / "disk").rmdir()
    (tmp_path / "disk").write_text("no directory")
    assert run(one).report.outcome is Outcome.FAILED
    assert aws.snapshots() == []


def test_a_stopped_run_leaves_no_snapshot(aws: Account, tmp_path: Path) -> None:
    aws.looks = 1_000_000
    cancel = Cancel()
    real = aws.backend().describe_snapshots

    def asked(*args: Any, **kwargs: Any) -> Any:
        if not cancel.stopped:
            cancel.set(signal.SIGTERM)
        return real(*args, **kwargs)

    aws.patch.setattr(aws.backend(), "describe_snapshots", asked)
    done = run(job(tmp_path, volume_id=aws.volume()), cancel)
    assert done.exit_code == 143 and done.report.outcome is Outcome.FAILED
    assert aws.snapshots() == []


def earlier(aws: Account, volume: str, context: Context, days: int) -> str:
    """The snapshot of a run so many days ago, with its copy in the other region; they count."""
    day = dt.datetime.now(dt.UTC).date() - dt.timedelta(days=days)
    known = {shot["SnapshotId"] for shot in aws.snapshots()}
    task = replace(
        context.task, job="nightly", run=f"run-{days}", hostname="web1", source="data", key=f"web1/{day}/data.json.gpg"
    )
    stream = source(volume_id=volume, copy_to_region=AWAY).open(replace(context, task=task))
    stream.close()
    stream.settle(True)
    (made,) = {shot["SnapshotId"] for shot in aws.snapshots()} - known
    return str(made)


def test_retention_removes_old_snapshots_in_both_regions_once_and_nothing_else(
    aws: Account, tmp_path: Path, context: Context
) -> None:
    volume = aws.volume()
    oldest, old = (earlier(aws, volume, context, days) for days in (3, 2))
    foreign = aws.ec2().create_snapshot(VolumeId=volume)["SnapshotId"]
    done = run(job(tmp_path, places=("disk", "other"), volume_id=volume, copy_to_region=AWAY))
    assert done.report.outcome is Outcome.STORED
    left = {shot["SnapshotId"] for shot in aws.snapshots()}
    assert oldest not in left and old in left and len(left) == 2
    assert len(aws.snapshots(AWAY)) == 2
    assert aws.ec2().describe_snapshots(SnapshotIds=[foreign])["Snapshots"]
    removed = {record.destination: record.removed for record in done.report.pruned}
    assert len(removed["disk"]) == 2 and f"{oldest} in {HOME}" in removed["disk"]
    assert removed["other"] == ()


def test_a_refused_removal_is_told_and_makes_no_failure(aws: Account, tmp_path: Path, context: Context) -> None:
    volume = aws.volume()
    oldest, _ = (earlier(aws, volume, context, days) for days in (3, 2))
    aws.breaks("delete_snapshot", EC2ClientError("InvalidSnapshot.InUse", "an image needs it"))
    done = run(job(tmp_path, volume_id=volume))
    assert done.report.outcome is Outcome.STORED
    (record,) = done.report.pruned
    assert "deregister that first" in record.refused[f"{oldest} in {HOME}"]


def test_snapshots_that_can_not_be_listed_are_told_of(aws: Account, tmp_path: Path, context: Context) -> None:
    one = job(tmp_path, volume_id=aws.volume())
    at = StoredAt(destination="disk", type="local", status="stored")
    result = Result(
        job="nightly", run="r", hostname="web1", source="data", name="", type="snapshot", label="Snapshot",
        outcome=Outcome.STORED, started=NOW, finished=NOW, destinations=(at,),
    )  # fmt: skip
    aws.breaks("describe_snapshots", EC2ClientError("UnauthorizedOperation", "no"))
    records = [Pruned(source="data", destination="disk", kept=1), Pruned(source="data", destination="other")]
    first, second = with_snapshots(records, one, [result], context, today=NOW.date(), now=NOW)
    assert first.kept == 1 and "UnauthorizedOperation" in first.error and "docs/operations.md" in first.error
    assert second == records[1]
