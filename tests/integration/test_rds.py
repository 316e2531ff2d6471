"""A source of RDS against the embedded cloud, where a restore is a second server on a copy of the data."""

from __future__ import annotations

import dataclasses
import os
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from backups.context import Context, Task
from backups.errors import BackupsError, SourceError, StoppedError
from backups.rds import removal, temporary
from backups.sources import SourceStream
from backups.sources.rds import RDS
from tests.contract.streams import read_whole
from tests.servers.local_cloud import wait_for
from tests.servers.rds import DATABASE, PASSWORD, USER, Live, Rds

pytestmark = pytest.mark.xdist_group("rds")

TASK = Task(job="nightly", run="20261123T021500Z", source="live db")
FAMILIES = ["mariadb", "postgres"]
ENGINES = [*FAMILIES, "aurora-mysql", "aurora-postgresql"]


@pytest.fixture
def told() -> list[str]:
    """The phases that progress shows."""
    return []


@pytest.fixture
def work(context: Context, told: list[str], rds: Rds, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """The context of one source's work; nothing may be left of it at the end."""
    for name, value in rds.cloud.environment().items():
        monkeypatch.setenv(name, value)
    yield dataclasses.replace(context, task=dataclasses.replace(TASK, tell=told.append))
    rds.nothing_left()
    assert sorted(context.tmpdir.rglob("*")) == []


def source_of(live: Live, **changes: Any) -> RDS:
    """A source as a job file has it."""
    where = {"clustername": live.cluster} if live.cluster else {"instancename": live.name}
    login = {"dbname": DATABASE, "dbuser": USER, "dbpass": SecretStr(PASSWORD)}
    return RDS.model_validate({"id": "live db", **where, **login, **changes})


def fill(live: Live, *values: str) -> None:
    """Rows in a table that is made when it is missing."""
    rows = ", ".join(f"('{value}')" for value in values)
    live.execute("CREATE TABLE IF NOT EXISTS orders (what VARCHAR(80))")
    live.execute(f"INSERT INTO orders VALUES {rows}")


def restored(live: Live, dump: bytes) -> list[str]:
    """The rows that a dump restores."""
    name = f"restored_{uuid.uuid4().hex[:8]}"
    live.execute(f"CREATE DATABASE {name}")
    live.execute(dump.decode(), name)
    rows = live.execute("SELECT what FROM orders", name).splitlines()
    live.execute(f"DROP DATABASE {name}")
    return rows


def ready(rds: Rds, live: Live) -> str:
    """An automated snapshot of a database with one row; the same one for every test that needs no other."""
    name = f"rds:{live.name}-common"
    if name not in _taken:
        fill(live, "common")
        rds.snapshot(live, name)
        _taken.add(name)
    return name


_taken: set[str] = set()


@contextmanager
def snapshot(rds: Rds, live: Live, name: str, *, wait: bool = True) -> Iterator[str]:
    """A snapshot for one test."""
    rds.snapshot(live, name, wait=wait)
    try:
        yield name
    finally:
        rds.drop(live, name)


@pytest.mark.parametrize("engine", ENGINES)
def test_the_dump_has_exactly_the_rows_of_the_snapshot(engine: str, rds: Rds, work: Context, told: list[str]) -> None:
    live = rds.live(engine)
    live.execute("DROP TABLE IF EXISTS orders")
    fill(live, "one", "two")
    with snapshot(rds, live, f"rds:{live.name}-rows") as name:
        fill(live, "written after the snapshot")
        source = source_of(live)
        with source.open(work) as stream:
            (instance,) = rds.temporaries()
            clusters = rds.temporary_clusters()
            dump, warnings = read_whole(stream)
            # Before the copy is stored, which may take long:
            assert (rds.temporaries(), rds.temporary_clusters()) == ([], [])
    assert warnings == []
    assert restored(live, dump) == ["one", "two"]
    assert live.execute("SELECT COUNT(*) FROM orders").strip() == "3"
    assert source.tools()["snapshot"].startswith(f"{name} of 20")
    assert [tool for tool in source.tools() if "dump" in tool]
    assert any(phase.startswith("restoring: creating") for phase in told)
    tags = {tag["Key"]: tag["Value"] for tag in instance["TagList"]}
    assert tags["backups:run"] == "nightly/20261123T021500Z/live db"
    assert set(tags) == {"backups:run", "backups:expires"}, "nothing of the live database's own"
    assert instance["DBInstanceIdentifier"].startswith("backups-tmp-live-db-")
    assert instance["DBInstanceClass"] == "db.t4g.medium"
    assert not instance["PubliclyAccessible"]
    assert len(clusters) == bool(live.cluster)
    for cluster in clusters:
        assert (cluster["DBClusterIdentifier"], cluster["Engine"]) == (instance["DBClusterIdentifier"], engine)
        assert {tag["Key"]: tag["Value"] for tag in cluster["TagList"]} == tags
        assert cluster["BackupRetentionPeriod"] == 1, "the least that Aurora takes"
    if not live.cluster:
        assert instance["BackupRetentionPeriod"] == 0


def test_a_cluster_goes_where_the_job_says(rds: Rds, work: Context) -> None:
    live = rds.live("aurora-postgresql")
    ready(rds, live)
    ec2 = rds.cloud.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.3.0.0/16")["Vpc"]["VpcId"]
    subnets = [ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.3.{number}.0/24")["Subnet"]["SubnetId"] for number in (1, 2)]
    group = ec2.create_security_group(GroupName="of the cluster", Description="x", VpcId=vpc)["GroupId"]
    rds.client.create_db_subnet_group(
        DBSubnetGroupName="of-the-cluster", DBSubnetGroupDescription="x", SubnetIds=subnets
    )
    rds.client.create_db_cluster_parameter_group(
        DBClusterParameterGroupName="tuned-cluster", DBParameterGroupFamily="aurora-postgresql17", Description="x"
    )
    source = source_of(
        live, subnet_group="of-the-cluster", security_group="of the cluster", parameter_group="tuned-cluster"
    )
    with source.open(work) as stream:
        (cluster,) = rds.temporary_clusters()
        read_whole(stream)
    assert cluster["DBSubnetGroup"] == "of-the-cluster"
    assert [one["VpcSecurityGroupId"] for one in cluster["VpcSecurityGroups"]] == [group]
    assert cluster["DBClusterParameterGroup"] == "tuned-cluster"


def test_where_the_job_says_it_goes(rds: Rds, work: Context) -> None:
    live = rds.live("mariadb")
    ready(rds, live)
    ec2 = rds.cloud.client("ec2")
    vpcs = [ec2.create_vpc(CidrBlock=f"10.{number}.0.0/16")["Vpc"]["VpcId"] for number in (1, 2)]
    subnets = [
        ec2.create_subnet(VpcId=vpcs[0], CidrBlock=f"10.1.{number}.0/24")["Subnet"]["SubnetId"] for number in (1, 2)
    ]
    # A name may be there once in each VPC: that of the subnet group is meant.
    groups = [
        ec2.create_security_group(GroupName="live; backup", Description="x", VpcId=vpc)["GroupId"] for vpc in vpcs
    ]
    other = ec2.create_security_group(GroupName="other", Description="x", VpcId=vpcs[0])["GroupId"]
    rds.client.create_db_subnet_group(
        DBSubnetGroupName="inner", DBSubnetGroupDescription="x", SubnetIds=subnets
    )  # fmt: skip
    source = source_of(
        live,
        subnet_group="inner",
        security_group=["live; backup", other],
        parameter_group="tuned",
        instance_class="db.r8g.large",
    )
    with source.open(work) as stream:
        (instance,) = rds.temporaries()
        read_whole(stream)
    assert instance["DBSubnetGroup"]["DBSubnetGroupName"] == "inner"
    assert [one["VpcSecurityGroupId"] for one in instance["VpcSecurityGroups"]] == [groups[0], other]
    assert instance["DBParameterGroups"][0]["DBParameterGroupName"] == "tuned"
    assert instance["DBInstanceClass"] == "db.r8g.large"
    with pytest.raises(SourceError, match=f"there is no security group of the name 'nobody' in {vpcs[0]}"):
        source_of(live, subnet_group="inner", security_group="nobody").open(work)
    with pytest.raises(SourceError, match="there are 2 security groups of the name 'live; backup'"):
        source_of(live, security_group="live; backup").open(work)
    with pytest.raises(SourceError, match="DBSubnetGroupNotFoundFault") as caught:
        source_of(live, subnet_group="outer").open(work)
    assert caught.value.hint == "correct 'subnet_group'"


def test_the_newest_that_is_available(rds: Rds, work: Context) -> None:
    live = rds.live("mariadb")
    older = ready(rds, live)
    with (
        rds.fault("hold-snapshot"),
        snapshot(rds, live, f"rds:{live.name}-still", wait=False) as newest,
        snapshot(rds, live, "made-by-hand", wait=False),
    ):
        source = source_of(live)
        with source.open(work) as stream:
            read_whole(stream)
        assert source.tools()["snapshot"].startswith(older)
        for wanted, what in (
            (newest, f"no snapshot {newest} of instance '{live.name}' is available yet: {newest} is creating"),
            ("manual", f"no manual snapshot of instance '{live.name}' is available yet: made-by-hand is creating"),
        ):
            with pytest.raises(SourceError, match=what) as caught:
                source_of(live, snapshot=wanted).open(work)
            assert caught.value.hint == "run the source later, when it is available"


@pytest.mark.parametrize("wanted", ["manual", "by-hand"])
def test_one_that_was_made_by_hand(rds: Rds, work: Context, wanted: str) -> None:
    live = rds.live("mariadb")
    ready(rds, live)
    with snapshot(rds, live, "by-hand"):
        source = source_of(live, snapshot=wanted)
        with source.open(work) as stream:
            read_whole(stream)
    assert source.tools()["snapshot"].startswith("by-hand of ")


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"instancename": "nothing"}, "no automated snapshot of instance 'nothing'", "there is no such instance"),
        ({"snapshot": "lost"}, "there is no snapshot lost of instance 'live-mariadb'", "correct 'snapshot'"),
        ({"snapshot": "manual"}, "there is no manual snapshot of instance 'live-mariadb'", "or make one"),
        ({"instancename": "live-aurora-mysql"}, "there is no automated", '"clustername": "live-aurora-mysql-cluster"'),
        ({"instancename": "", "clustername": "no"}, "automated snapshot of cluster 'no'", "correct 'clustername'"),
        ({"instancename": "x", "snapshot": "rds:live-mariadb-common"}, "is of 'live-mariadb', not", "'snapshot'"),
    ],
)  # fmt: skip
def test_no_snapshot(rds: Rds, work: Context, changes: dict[str, Any], message: str, hint: str) -> None:
    live = rds.live("mariadb")
    rds.live("aurora-mysql")
    ready(rds, live)
    with pytest.raises(SourceError) as caught:
        source_of(live, **changes).open(work)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_restore_that_fails_says_so_and_leaves_nothing(rds: Rds, work: Context) -> None:
    for live in (rds.live("mariadb"), rds.live("aurora-mysql")):
        name = ready(rds, live)
        kind = "cluster" if live.cluster else "instance"
        with (
            rds.fault("incompatible-restore"),
            pytest.raises(SourceError, match=f"restoring snapshot {name} failed: {kind} backups-tmp-") as caught,
        ):
            source_of(live).open(work)
        assert "is in the state 'incompatible-restore'" in caught.value.message
        assert "describe-events" in caught.value.hint
        rds.nothing_left()


def test_a_restore_that_takes_too_long_is_given_up(rds: Rds, work: Context) -> None:
    live = rds.live("mariadb")
    ready(rds, live)
    with rds.fault("hold-restore"), pytest.raises(SourceError, match="not available after 1 s") as caught:
        source_of(live, restore_limit=1).open(work)
    assert "raise 'restore_limit'" in caught.value.hint


@pytest.mark.parametrize(
    ("engine", "fault"),
    [("mariadb", "refuse-delete"), ("aurora-mysql", "refuse-delete"), ("aurora-mysql", "refuse-delete-cluster")],
)
def test_a_delete_that_is_refused_twice_is_done_in_the_end(engine: str, fault: str, rds: Rds, work: Context) -> None:
    live = rds.live(engine)
    ready(rds, live)
    with source_of(live).open(work) as stream, rds.fault(fault, 2):
        _, warnings = read_whole(stream)
        assert (rds.temporaries(), rds.temporary_clusters()) == ([], [])
    assert warnings == []
    with rds.fault(fault, 2), rds.fault("incompatible-restore"), pytest.raises(SourceError) as caught:
        source_of(live).open(work)
    assert "still there" not in caught.value.hint


def test_a_delete_that_is_refused_for_good_is_a_warning_that_names_the_instance(
    rds: Rds, work: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(temporary, "PATIENCE_SECONDS", 0.1)
    live = rds.live("mariadb")
    ready(rds, live)
    with rds.fault("refuse-delete", 100):
        with source_of(live).open(work) as stream:
            dump, (warning,) = read_whole(stream)
        (instance,) = rds.temporaries()
        assert "common" in restored(live, dump)
        assert warning.startswith(f"temporary instance {instance['DBInstanceIdentifier']} is still there")
        with rds.fault("incompatible-restore"), pytest.raises(SourceError) as caught:
            source_of(live).open(work)
        assert "is still there and costs money" in caught.value.hint
    for one in rds.temporaries():
        removal.remove(rds.client, one["DBInstanceIdentifier"], cluster=False, patience=lambda: 60)


def test_throttling_is_waited_out(rds: Rds, work: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    live = rds.live("mariadb")
    ready(rds, live)
    with rds.fault("throttle", 3), source_of(live).open(work) as stream:
        read_whole(stream)

    # More often than the client itself tries: then the next look does.
    monkeypatch.setattr("backups.aws_calls.ATTEMPTS", 1)
    looks = iter([2])
    look = temporary.Temporary._looked_at

    def throttled(self: temporary.Temporary, kind: str) -> dict[str, Any]:
        with rds.fault("throttle", next(looks, 0)):
            return look(self, kind)

    monkeypatch.setattr(temporary.Temporary, "_looked_at", throttled)
    with source_of(live).open(work) as stream:
        read_whole(stream)


@pytest.mark.parametrize("engine", ["mariadb", "aurora-mysql"])
def test_told_to_stop_while_it_waits(engine: str, rds: Rds, work: Context) -> None:
    live = rds.live(engine)
    ready(rds, live)
    there: Callable[[], list[dict[str, Any]]] = rds.temporary_clusters if live.cluster else rds.temporaries

    def stop() -> None:
        wait_for(there, "nothing was restored")
        work.cancel.set(15)

    thread = threading.Thread(target=stop)
    with rds.fault("hold-restore"):
        thread.start()
        with pytest.raises(StoppedError):
            source_of(live).open(work)
        thread.join()
        assert there() == []


@pytest.mark.parametrize("engine", FAMILIES)
def test_a_dump_that_can_t_begin_leaves_nothing(engine: str, rds: Rds, work: Context) -> None:
    live = rds.live(engine)
    ready(rds, live)
    with pytest.raises(BackupsError, match="the user or the password is wrong") as caught:
        source_of(live, dbpass=SecretStr("wr0ng;pl4nted")).open(work)
    assert "wr0ng;pl4nted" not in f"{caught.value!r} {caught.value} {caught.value.hint}"


def test_a_dump_that_dies_leaves_nothing(rds: Rds, work: Context) -> None:
    live = rds.live("mariadb")
    ready(rds, live)

    def killed(stream: SourceStream) -> None:
        os.read(stream.fileno(), 1)
        stream.kill()
        while os.read(stream.fileno(), 1 << 16):
            pass
        stream.finish(1, b"")

    with source_of(live).open(work) as stream, pytest.raises(BackupsError):
        killed(stream)
    assert rds.temporaries() == []


def test_leaving_in_the_middle_removes_it_too(rds: Rds, work: Context) -> None:
    live = rds.live("mariadb")
    ready(rds, live)
    with source_of(live).open(work) as stream:
        os.read(stream.fileno(), 1)
        assert len(rds.temporaries()) == 1
    assert rds.temporaries() == []
    stream.close()


def test_a_name_that_somebody_else_has_is_left_alone(rds: Rds, work: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    live = rds.live("mariadb")
    ready(rds, live)
    name = "backups-tmp-taken"
    monkeypatch.setattr("backups.rds.naming.temporary_name", lambda _: name)
    rds.client.create_db_instance(DBInstanceIdentifier=name, Engine="oracle-ee", DBInstanceClass="db.r8g.large")
    with pytest.raises(SourceError, match="DBInstanceAlreadyExists"):
        source_of(live).open(work)
    assert rds.instance(name)["DBInstanceStatus"] == "available"
    rds.client.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True)


def test_what_an_earlier_run_left_is_removed_when_its_time_is_over(rds: Rds, work: Context) -> None:
    """As when the machine that ran it lost its power: there may be no janitor."""
    live = rds.live("mariadb")
    ready(rds, live)
    over, needed = "2026-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00"
    left = {
        "backups-tmp-own": ("nightly/20260101T021500Z/live db", over),
        "backups-tmp-needed": ("nightly/20260102T021500Z/live db", needed),
        "backups-tmp-other-source": ("nightly/20260101T021500Z/other", over),
        "backups-tmp-other-job": ("weekly/20260101T021500Z/live db", over),
    }
    for name, (run, expires) in left.items():
        tags = [{"Key": "backups:run", "Value": run}, {"Key": "backups:expires", "Value": expires}]
        rds.client.create_db_instance(
            DBInstanceIdentifier=name, Engine="oracle-ee", DBInstanceClass="db.r8g.large", Tags=tags
        )
    try:
        with source_of(live).open(work) as stream:
            _, warnings = read_whole(stream)
        assert warnings == [
            "temporary instance backups-tmp-own was left by run nightly/20260101T021500Z/live db, and removed"
        ]
        assert sorted(one["DBInstanceIdentifier"] for one in rds.temporaries()) == sorted(
            set(left) - {"backups-tmp-own"}
        )
    finally:
        for one in rds.temporaries():
            removal.remove(rds.client, one["DBInstanceIdentifier"], cluster=False, patience=lambda: 60)


def test_an_answer_that_was_lost_is_no_other_s_name(rds: Rds, work: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client sends a request again when no answer came; then it was granted the first time."""
    live = rds.live("mariadb")
    ready(rds, live)
    call = temporary.Temporary._call

    def twice(self: temporary.Temporary, operation: Any, arguments: dict[str, Any]) -> None:
        call(self, operation, arguments)
        call(self, operation, arguments)

    monkeypatch.setattr(temporary.Temporary, "_call", twice)
    with source_of(live).open(work) as stream:
        read_whole(stream)


def test_an_options_file_does_not_lead_to_the_live_server(rds: Rds, work: Context) -> None:
    live = rds.live("mariadb")
    ready(rds, live)
    live.execute("SELECT 1")  # which writes an options file with the live server's address
    source = source_of(live, dbuser="", dbpass=None, defaults=str(live.directory / f"{live.name}.cnf"))
    fill(live, "only in the live one")
    with source.open(work) as stream:
        dump, _ = read_whole(stream)
    assert "only in the live one" not in restored(live, dump)


def test_an_options_file_is_not_for_postgresql(rds: Rds, work: Context) -> None:
    live = rds.live("postgres")
    ready(rds, live)
    with pytest.raises(SourceError, match="'defaults' is for MySQL"):
        source_of(live, dbuser="", dbpass=None, defaults="/nowhere").open(work)


def test_keys_of_its_own(rds: Rds, work: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    live = rds.live("mariadb")
    ready(rds, live)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    login = {"aws_access_key_id": "test", "aws_secret_access_key": SecretStr("test"), "region": rds.cloud.region}
    with source_of(live, **login).open(work) as stream:
        read_whole(stream)
    wrong = {**login, "aws_access_key_id": "AKIAUNKNOWN", "aws_secret_access_key": SecretStr("pl4nted/key")}
    with pytest.raises(SourceError, match="Amazon RDS, looking for snapshots") as caught:
        source_of(live, **wrong).open(work)
    assert "pl4nted/key" not in f"{caught.value}"
