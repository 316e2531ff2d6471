"""The janitor against the embedded cloud: it removes what is left of dead workers, and nothing else."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from backups.cloud.janitor import Janitor, Uploads, Worked
from backups.cloud.state import State
from backups.errors import BackupsError
from tests.integration.test_rds import ready
from tests.servers.local_cloud import wait_for
from tests.servers.rds import DATABASE, PASSWORD, USER, Live, Rds
from tests.unit.reports import result

pytestmark = pytest.mark.xdist_group("rds")

NOW = dt.datetime.now(dt.UTC)
LATER = (NOW + dt.timedelta(hours=5)).isoformat(timespec="seconds")
EARLIER = (NOW - dt.timedelta(hours=5)).isoformat(timespec="seconds")
OWN = "nightly/run-1/db"
DB = Worked(job="nightly", run="run-1", source="db")


@pytest.fixture
def janitor(rds: Rds) -> Iterator[Janitor]:
    """One of a stack whose state bucket is new; nothing temporary is left at the end."""
    s3, bucket = rds.cloud.client("s3"), f"state-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    yield Janitor(State(bucket, s3), [rds.cloud.region], s3, lambda _: rds.client)
    rds.nothing_left()


@contextlib.contextmanager
def instance(rds: Rds, name: str, **tags: str) -> Iterator[str]:
    """A record of an instance, with tags ``backups:…``; no server stands behind this engine."""
    rds.client.create_db_instance(
        DBInstanceIdentifier=name,
        Engine="oracle-ee",
        DBInstanceClass="db.r8g.large",
        Tags=[{"Key": f"backups:{key}", "Value": value} for key, value in tags.items()],
    )
    try:
        yield name
    finally:
        with contextlib.suppress(rds.client.exceptions.ClientError):
            rds.client.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)


def there(rds: Rds, name: str) -> bool:
    """Whether an instance is there and stays."""
    found = rds.client.describe_db_instances()["DBInstances"]
    return any(one["DBInstanceIdentifier"] == name and one["DBInstanceStatus"] != "deleting" for one in found)


@contextlib.contextmanager
def worker(rds: Rds, live: Live) -> Iterator[subprocess.Popen[str]]:
    """A process that backs the database up, to be killed."""
    where = {"clustername": live.cluster} if live.cluster else {"instancename": live.name}
    described = {"id": "db", **where, "dbname": DATABASE, "dbuser": USER, "dbpass": PASSWORD}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.integration.one_rds_source", json.dumps(described)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **rds.cloud.environment()},
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("engine", ["mariadb", "aurora-mysql"])
def test_a_worker_killed_while_it_restores(engine: str, rds: Rds, janitor: Janitor) -> None:
    live = rds.live(engine)
    ready(rds, live)
    there_is = rds.temporary_clusters if live.cluster else rds.temporaries
    janitor.state.put_result(result(source="db", run="run-1", warnings=("an own one",)))
    with rds.fault("hold-restore"):
        with worker(rds, live) as process:
            (left,) = wait_for(there_is, "nothing was restored")
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        assert there_is()
        swept = janitor.clean_up(DB, seconds=60)
    name = left["DBClusterIdentifier" if live.cluster else "DBInstanceIdentifier"]
    kind = "cluster" if live.cluster else "instance"
    assert swept.instances == [f"{kind} {name}"]
    record = janitor.state.result("nightly", "run-1", "db")
    assert record is not None
    assert record.warnings == ("an own one", f"temporary {kind} {name} was left by the worker, and removed")


@pytest.mark.parametrize("engine", ["postgres", "aurora-postgresql"])
def test_a_worker_killed_while_it_dumps(engine: str, rds: Rds, janitor: Janitor) -> None:
    live = rds.live(engine)
    ready(rds, live)
    with worker(rds, live) as process:
        assert process.stdout is not None and process.stdout.readline() == "open\n"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(rds.temporaries()) == 1
    assert janitor.sweep([], now=NOW, seconds=60).instances == [], "it may still be needed"
    other = janitor.clean_up(Worked(job="nightly", run="run-1", source="other"), seconds=60)
    assert other.instances == []
    # What Settle writes for a worker that died says that nobody needs it any more.
    janitor.state.put_result(result(source="db", run="run-1"))
    assert len(janitor.sweep([], now=NOW, seconds=60).instances) == 1


def test_only_what_is_temporary_and_over_is_removed(rds: Rds, janitor: Janitor) -> None:
    with (
        instance(rds, "production", run=OWN, expires=EARLIER) as foreign,
        instance(rds, "backups-tmp-bare") as bare,
        instance(rds, "backups-tmp-half", run=OWN) as half,
        instance(rds, "backups-tmp-needed", run=OWN, expires=LATER) as needed,
        instance(rds, "backups-tmp-over", run=OWN, expires=EARLIER) as over,
        instance(rds, "backups-tmp-odd", run=OWN, expires="next week") as odd,
    ):
        swept = janitor.sweep([], now=NOW, seconds=60)
        swept.check()
        assert sorted(swept.instances) == [f"instance {odd}", f"instance {over}"]
        assert [name for name in (foreign, bare, half, needed, over, odd) if there(rds, name)] == [
            foreign, bare, half, needed,
        ]  # fmt: skip
        assert janitor.clean_up(DB, seconds=60).instances == [f"instance {needed}"]


def test_while_the_service_refuses_it_goes_on_and_then_says_what_is_left(rds: Rds, janitor: Janitor) -> None:
    janitor.state.put_result(result(source="db", run="run-1"))
    with instance(rds, "backups-tmp-kept", run=OWN, expires=LATER) as kept, rds.fault("refuse-delete", 2):
        assert janitor.clean_up(DB, seconds=60).instances == [f"instance {kept}"]
    with instance(rds, "backups-tmp-stays", run=OWN, expires=LATER) as stays:
        with rds.fault("refuse-delete", 100):
            swept = janitor.clean_up(DB, seconds=0)
        assert swept.instances == []
        (problem,) = swept.problems
        assert problem.startswith(f"can't be removed yet: temporary instance {stays} of {OWN}: ")
        with pytest.raises(BackupsError, match="can't be removed yet") as caught:
            swept.check()
        assert "every hour" in caught.value.hint
        assert problem in (janitor.state.result("nightly", "run-1", "db") or result()).warnings
        assert janitor.sweep([], now=NOW, seconds=60).instances == [f"instance {stays}"]
        janitor.clean_up(DB, seconds=60)
    with rds.fault("throttle", 1000):
        swept = janitor.sweep([], now=NOW, seconds=0)
        assert len(swept.problems) == 1
        assert swept.problems[0].startswith(f"temporary instances in {rds.cloud.region}: ")


def test_a_result_does_not_say_forever_what_was_true_once(rds: Rds, janitor: Janitor) -> None:
    janitor.state.put_result(result(source="db", run="run-1"))
    with instance(rds, "backups-tmp-late", run=OWN, expires=LATER) as late:
        with rds.fault("refuse-delete", 100):
            janitor.clean_up(DB, seconds=0)
        janitor.clean_up(DB, seconds=60)
        record = janitor.state.result("nightly", "run-1", "db")
        assert record is not None
        assert record.warnings == (f"temporary instance {late} was left by the worker, and removed",)


def test_uploads_that_nobody_goes_on_with(rds: Rds, janitor: Janitor) -> None:
    s3, bucket = janitor.s3, janitor.state.bucket
    copies = f"copies-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=copies)
    own, other = "host/2026-11-23/db.sql.gpg", "other-host/2026-11-23/db.sql.gpg"
    for place, key in ((bucket, "staging/x"), (copies, own), (copies, other)):
        s3.create_multipart_upload(Bucket=place, Key=key)
    places = [Uploads(bucket=copies, prefix="host/"), Uploads(bucket="no-such-bucket")]
    swept = janitor.sweep(places, now=NOW, seconds=60)
    assert swept.uploads == 0
    assert [problem.split(":")[0] for problem in swept.problems] == ["uploads to no-such-bucket"]
    assert janitor.sweep(places, now=NOW + dt.timedelta(days=5), seconds=60).uploads == 2
    left = s3.list_multipart_uploads(Bucket=copies).get("Uploads", [])
    assert [upload["Key"] for upload in left] == [other]


def test_staged_objects_that_nobody_reads(rds: Rds, janitor: Janitor) -> None:
    s3, bucket = janitor.s3, janitor.state.bucket
    staged, record = "staging/nightly/run-1/files/part-1", "runs/nightly/run-1/plan.json"
    for key in (staged, record):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert janitor.sweep([], now=NOW, seconds=60).staged == 0
    assert janitor.sweep([], now=NOW + dt.timedelta(days=2), seconds=60).staged == 1
    assert [item["Key"] for item in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [record]


def test_a_bucket_that_does_not_answer_keeps_no_instance_alive(rds: Rds, janitor: Janitor) -> None:
    lost: Any = Janitor(State("no-such-bucket", janitor.s3), janitor.regions, janitor.s3, janitor.databases)
    with instance(rds, "backups-tmp-paid", run=OWN, expires=EARLIER) as paid:
        swept = lost.sweep([], now=NOW, seconds=60)
        assert swept.instances == [f"instance {paid}"]
        assert len(swept.problems) == 2
