"""A deployed job of a database on RDS: its copy holds exactly the snapshot, and no instance is ever left."""

from __future__ import annotations

import datetime as dt
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from backups.records import Outcome, Result
from local_cloud import stock
from local_cloud.night import STACK, until
from tests.e2e.conftest import MAIN, PASSPHRASE, Scene, end_the_worker, plain_copy
from tests.servers.faulty_proxy import Fault
from tests.servers.local_cloud import wait_for
from tests.servers.rds import USER, Live, Rds

pytestmark = pytest.mark.xdist_group("night")

WHEN = dt.datetime(2026, 11, 20, 3, 0, tzinfo=dt.UTC)
ROWS = 24  # of a MiB each that nothing compresses: more than all buffers on the way, so that a dump can be held


@pytest.fixture(scope="module")
def rds(scene: Scene) -> Rds:
    """The service in the cloud that the stack is deployed to."""
    return scene.rds


@pytest.fixture(scope="module")
def live(rds: Rds) -> Live:
    """The live database: one row, a snapshot, and one more row."""
    database = rds.live("mariadb")
    database.execute("CREATE TABLE orders (what VARCHAR(80)); INSERT INTO orders VALUES ('before')")
    database.execute(
        f"CREATE TABLE large (content LONGBLOB); INSERT INTO large SELECT RANDOM_BYTES(1024) FROM seq_1_to_{ROWS << 10}"
    )
    rds.snapshot(database, f"rds:{database.name}-2026-11-20-02-00")
    database.execute("INSERT INTO orders VALUES ('after the snapshot')")
    return database


@pytest.fixture
def nothing_left(rds: Rds) -> Iterator[None]:
    """At the end of a test no temporary instance is there."""
    yield
    rds.nothing_left()


def ended(scene: Scene, job: str, run: str) -> tuple[dict[str, Any], Result]:
    execution = scene.night.ended(job, run)
    (result,) = scene.night.report(job, run).results
    return execution, result


def removed(scene: Scene) -> float:
    """How many instances the janitor says that it had to remove."""
    found = scene.night.cloud.client("cloudwatch").get_metric_statistics(
        Namespace="Backups",
        MetricName="TemporaryInstancesRemoved",
        Dimensions=[{"Name": "service", "Value": "backups"}],
        StartTime=dt.datetime.now(dt.UTC) - dt.timedelta(hours=2),
        EndTime=dt.datetime.now(dt.UTC) + dt.timedelta(hours=1),
        Period=60,
        Statistics=["Sum"],
    )["Datapoints"]
    return float(sum(point["Sum"] for point in found))


def test_without_a_finished_snapshot_nothing_is_restored(scene: Scene, rds: Rds, nothing_left: None) -> None:
    """The first test here: no snapshot was taken yet."""
    database = rds.live("mariadb")
    name = f"rds:{database.name}-still"
    run = scene.night.fire("database", at=WHEN - dt.timedelta(days=2))
    without = ended(scene, "database", run)
    with rds.fault("hold-snapshot"):
        rds.snapshot(database, name, wait=False)
        run = scene.night.fire("database", at=WHEN - dt.timedelta(days=1))
        creating = ended(scene, "database", run)
    rds.drop(database, name)
    for (execution, result), says in (
        (without, f"there is no automated snapshot of instance '{database.name}'"),
        (creating, f"no automated snapshot of instance '{database.name}' is available yet: {name} is creating"),
    ):
        assert (execution["status"], execution["error"]) == ("FAILED", "BackupFailed")
        assert (result.outcome, result.warnings) == (Outcome.FAILED, ())
        assert says in result.error


def test_the_copy_has_exactly_the_rows_of_the_snapshot(
    scene: Scene, rds: Rds, live: Live, nothing_left: None, tmp_path: Path
) -> None:
    """Although the service is too busy for the first requests."""
    before = removed(scene)
    with rds.fault("throttle", 3):
        run = scene.night.fire("database", at=WHEN)
        execution, result = ended(scene, "database", run)
    assert execution["status"] == "SUCCEEDED", result
    assert (result.outcome, result.warnings) == (Outcome.STORED, ())
    copy, passphrase = tmp_path / "copy.sql.zst.gpg", tmp_path / "passphrase"
    scene.night.download(MAIN, result.key, copy)
    passphrase.write_text(PASSPHRASE)
    scene.database.execute("CREATE DATABASE from_rds")
    stock.pipeline(copy, passphrase, "mysql", f"--defaults-file={scene.database.admin_options}", "from_rds")
    assert scene.database.execute("SELECT what FROM orders", "from_rds").split("\n") == ["before", ""]
    assert scene.database.execute("SELECT COUNT(*) FROM large", "from_rds").strip() == str(ROWS << 10)
    scene.database.execute("DROP DATABASE from_rds")
    assert live.execute("SELECT COUNT(*) FROM orders").strip() == "2"
    assert removed(scene) == before, "the worker removes its own"


def test_a_worker_killed_while_it_restores(scene: Scene, rds: Rds, live: Live, nothing_left: None) -> None:
    before = removed(scene)
    with rds.fault("hold-restore"):
        run = scene.night.fire("database", at=WHEN + dt.timedelta(days=1))
        (instance,) = wait_for(rds.temporaries, "nothing was restored")
        end_the_worker(scene, run)
        execution, result = ended(scene, "database", run)
    tags = {tag["Key"]: tag["Value"] for tag in instance["TagList"]}
    assert tags["backups:run"] == f"database/{run}/live"
    assert (execution["status"], execution["error"]) == ("FAILED", "BackupFailed")
    assert result.error.startswith("the worker was killed")
    name = instance["DBInstanceIdentifier"]
    assert result.warnings == (f"temporary instance {name} was left by the worker, and removed",)
    until(lambda: removed(scene) == before + 1 or None, "the metric does not tell of it", 60)


def test_a_worker_told_to_stop_while_it_restores_removes_its_own(
    scene: Scene, rds: Rds, live: Live, nothing_left: None
) -> None:
    before = removed(scene)
    with rds.fault("hold-restore"):
        run = scene.night.fire("database", at=WHEN + dt.timedelta(days=3))
        wait_for(rds.temporaries, "nothing was restored")
        end_the_worker(scene, run, signal.SIGTERM)
        _, result = ended(scene, "database", run)
    assert (result.outcome, result.error, result.warnings) == (Outcome.FAILED, "stopped", ())
    assert removed(scene) == before


@pytest.fixture(scope="module")
def aurora(rds: Rds) -> Live:
    """A live cluster: one row, a snapshot, and one more row."""
    database = rds.live("aurora-postgresql")
    database.execute("CREATE TABLE orders (what TEXT); INSERT INTO orders VALUES ('before')")
    rds.snapshot(database, f"rds:{database.cluster}-2026-11-20-02-00")
    database.execute("INSERT INTO orders VALUES ('after the snapshot')")
    return database


def test_a_cluster_s_copy_has_exactly_the_rows_of_the_snapshot(
    scene: Scene, aurora: Live, nothing_left: None, tmp_path: Path
) -> None:
    run = scene.night.fire("cluster", at=WHEN)
    execution, result = ended(scene, "cluster", run)
    assert execution["status"] == "SUCCEEDED", result
    assert (result.outcome, result.warnings) == (Outcome.STORED, ())
    aurora.execute("CREATE DATABASE from_rds")
    aurora.execute(plain_copy(scene, result, tmp_path), "from_rds")
    assert aurora.execute("SELECT what FROM orders", "from_rds") == "before\n"
    aurora.execute("DROP DATABASE from_rds")


def test_a_postgresql_database_and_the_roles_of_its_server(scene: Scene, aurora: Live, tmp_path: Path) -> None:
    run = scene.night.fire("ledger", at=WHEN)
    assert scene.night.ended("ledger", run)["status"] == "SUCCEEDED", scene.night.report("ledger", run)
    found = {result.source: result for result in scene.night.report("ledger", run).results}
    assert sorted(found) == ["ledger", "ledger-globals"]
    plain = {source: plain_copy(scene, result, tmp_path) for source, result in found.items()}
    assert f"CREATE ROLE {USER};" in plain["ledger-globals"]
    aurora.execute("CREATE DATABASE from_live")
    aurora.execute(plain["ledger"], "from_live")
    assert aurora.execute("SELECT what FROM orders ORDER BY 1", "from_live") == "after the snapshot\nbefore\n"
    aurora.execute("DROP DATABASE from_live")


def test_a_worker_killed_before_a_cluster_has_its_instance(
    scene: Scene, rds: Rds, aurora: Live, nothing_left: None
) -> None:
    with rds.fault("hold-restore"):
        run = scene.night.fire("cluster", at=WHEN + dt.timedelta(days=1))
        (cluster,) = wait_for(rds.temporary_clusters, "nothing was restored")
        end_the_worker(scene, run)
        _, result = ended(scene, "cluster", run)
    assert result.error.startswith("the worker was killed")
    name = cluster["DBClusterIdentifier"]
    assert result.warnings == (f"temporary cluster {name} was left by the worker, and removed",)


def test_a_worker_killed_while_it_dumps(scene: Scene, rds: Rds, live: Live, stall: Fault, nothing_left: None) -> None:
    run = scene.night.fire("databaseheld", at=WHEN)
    assert stall.stalled.wait(120), "the worker never wrote"
    (instance,) = rds.temporaries()
    assert instance["DBInstanceStatus"] == "available"
    end_the_worker(scene, run)
    _, result = ended(scene, "databaseheld", run)
    scene.proxy.heal()
    assert result.error.startswith("the worker was killed")
    (warning,) = result.warnings
    assert instance["DBInstanceIdentifier"] in warning


def test_a_restore_that_fails_is_reported(scene: Scene, rds: Rds, live: Live, nothing_left: None) -> None:
    with rds.fault("incompatible-restore"), rds.fault("refuse-delete", 2):
        run = scene.night.fire("database", at=WHEN + dt.timedelta(days=2))
        execution, result = ended(scene, "database", run)
    assert (execution["status"], execution["error"]) == ("FAILED", "BackupFailed")
    assert "is in the state 'incompatible-restore'" in result.error
    assert (result.warnings, result.outcome) == ((), Outcome.FAILED)


def test_the_janitor_comes_by_its_schedule(scene: Scene, rds: Rds, nothing_left: None) -> None:
    expired = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)).isoformat(timespec="seconds")
    tags = {"backups:run": "database/20260101T000000Z/live", "backups:expires": expired}
    for name in ("backups-tmp-forgotten", "production"):
        rds.client.create_db_instance(
            DBInstanceIdentifier=name,
            Engine="oracle-ee",  # no server stands behind it
            DBInstanceClass="db.r8g.large",
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
    scene.night.cloud.fire_schedule("hourly.janitor", group=STACK)

    def gone() -> bool:
        names = [one["DBInstanceIdentifier"] for one in rds.client.describe_db_instances()["DBInstances"]]
        return "backups-tmp-forgotten" not in names

    wait_for(gone, "the janitor did not come")
    assert rds.instance("production")["DBInstanceStatus"] == "available"


def test_the_janitor_s_role_can_delete_nothing_else(scene: Scene, rds: Rds, live: Live) -> None:
    cloud = scene.night.cloud
    functions = cloud.client("lambda").list_functions()["Functions"]
    (role,) = [one["Role"] for one in functions if one["Handler"] == "functions.janitor.handler.handler"]
    key = cloud.client("sts").assume_role(RoleArn=role, RoleSessionName="a-test")["Credentials"]
    janitor: Any = boto3.Session(
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        aws_session_token=key["SessionToken"],
        region_name=cloud.region,
    )
    service = janitor.client("rds", endpoint_url=cloud.endpoint)
    rds.client.create_db_instance(
        DBInstanceIdentifier="backups-tmp-without-tags", Engine="oracle-ee", DBInstanceClass="db.r8g.large"
    )
    for name in (live.name, "backups-tmp-without-tags"):
        with pytest.raises(service.exceptions.ClientError, match="AccessDenied"):
            service.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)
    rds.client.delete_db_instance(DBInstanceIdentifier="backups-tmp-without-tags", SkipFinalSnapshot=True)
    s3 = janitor.client("s3", endpoint_url=cloud.endpoint)
    kept = scene.keys(MAIN)[0]
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=MAIN, Key=kept)
    with pytest.raises(s3.exceptions.ClientError, match="AccessDenied"):
        s3.delete_object(Bucket=scene.night.outputs["StateBucket"], Key="runs/x/y/plan.json")
