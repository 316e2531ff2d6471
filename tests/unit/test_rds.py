"""A source of RDS as far as it needs no cloud: its keys, names, tags and hints."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from backups.aws_calls import as_list, as_mapping
from backups.context import Context, Task
from backups.errors import SourceError, UsageError
from backups.rds import naming
from backups.rds.removal import RefusedError, remove
from backups.rds.snapshots import AUTOMATED, MANUAL, Database, Snapshot, age_warnings
from backups.restoring.servers import MySQLServer, PostgreSQLServer, server_target
from backups.sources.rds import RDS
from tests.jobs import example, job_with, parsed, problems

NOW = dt.datetime(2026, 11, 23, 2, 15, 30, 999, tzinfo=dt.UTC)


def rds(**changes: Any) -> RDS:
    """The documented example, with some keys changed."""
    (source,) = parsed(job_with("sources", example("sources", "rds", **changes))).sources
    assert isinstance(source, RDS)
    return source


def wrong(**changes: Any) -> list[str]:
    return problems(job_with("sources", example("sources", "rds", **changes)))


def test_what_is_taken_when_the_job_does_not_say() -> None:
    source = rds()
    assert (source.instance_class, source.snapshot, source.restore_limit) == ("db.t4g.medium", "automated", 6 * 3600)
    assert source.opening_limit == source.restore_limit
    assert source.leaves_something
    assert source.security_groups == ("sg-0123456789abcdef0",)
    assert rds(security_group=["a", "sg-1"]).security_groups == ("a", "sg-1")
    assert source.extension == "sql"


def test_the_old_manuals_class_is_understood_with_a_hint() -> None:
    job = parsed(job_with("sources", example("sources", "rds", instance_class="db.m1.small")))
    (hint,) = [line for line in job.hints() if "instance_class" in line]
    assert hint.startswith("sources[0].instance_class: 'db.m1.small' exists no more, so 'db.t4g.medium' is used")
    (source,) = job.sources
    assert isinstance(source, RDS)
    assert source._class == "db.t4g.medium"
    assert not list(rds(instance_class="db.m8g.large").hints())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"instancename": ""}, "sources[0]: give either 'instancename' or 'clustername'"),
        ({"clustername": "c"}, "sources[0]: give either 'instancename' or 'clustername'"),
        ({"aws_access_key_id": "a"}, "sources[0]: give both 'aws_access_key_id' and 'aws_secret_access_key'"),
        ({"ssl": "required", "ssl_ca": "/ca.pem"}, "sources[0]: 'ssl_ca' checks the server's certificate"),
        ({"instance_class": "t4g.medium"}, "sources[0].instance_class: "),
        ({"instance_class": "db.serverless"}, "sources[0].instance_class: "),
        ({"restore_limit": 0}, "sources[0].restore_limit: "),
        ({"snapshot": ""}, "sources[0].snapshot: "),
        ({"dbuser": ""}, "sources[0].dbuser: required for type 'rds'"),
    ],
)
def test_what_can_t_be_meant(changes: dict[str, Any], problem: str) -> None:
    (found,) = wrong(**changes)
    assert found.startswith(problem)


EXAMPLE = {
    "id": "livecompanydb", "name": "Live Company Data", "type": "pgsql", "dbhost": "localhost",
    "dbname": "livecompany", "dbuser": "backups", "dbpass": "zzzuserwithreadonlyperms", "instancename": "livedb1",
    "region": "eu-west-1", "security_group": "livedbbackup", "instance_class": "db.m1.small", "passphrase": "64b0",
}  # fmt: skip


def test_the_old_manuals_example_with_the_wrong_type_is_told_the_right_one() -> None:
    found = problems(job_with("sources", EXAMPLE))
    assert found[0] == "sources[0].type: 'pgsql' does not know every key here, 'rds' does: is that the type?"
    assert [line.split(":")[0] for line in found[1:]] == [
        f"sources[0].{key}" for key in ("instancename", "region", "security_group", "instance_class")
    ]
    assert parsed(job_with("sources", {**EXAMPLE, "type": "rds"})).sources[0].id == "livecompanydb"


def test_no_other_type_is_guessed_from_a_typing_error() -> None:
    assert not [line for line in wrong(instancenam="x") if ".type" in line]


def test_ids_are_made_from_the_database() -> None:
    login = {"dbname": "shop", "dbuser": "u", "dbpass": "p"}
    assert RDS.model_validate({"instancename": "live", **login}).id == "rds-live-shop"
    assert RDS.model_validate({"clustername": "live-cluster", **login}).id == "rds-live-cluster-shop"


@given(st.text(max_size=80))
def test_a_name_is_one_that_rds_takes(source: str) -> None:
    name = naming.temporary_name(source)
    assert name.startswith(naming.PREFIX)
    assert len(name) <= 63
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name)
    assert naming.temporary_name(source) != name


def test_a_name_shows_its_source() -> None:
    assert naming.temporary_name("Live DB (2)").startswith("backups-tmp-live-db-2-")
    assert re.fullmatch(r"backups-tmp-[0-9a-f]{10}", naming.temporary_name("___"))


def test_tags_say_whose_it_is_and_until_when() -> None:
    found = naming.tags(Task(job="nightly", run="20261123T021500Z", source="db"), NOW)
    assert found == {
        "backups:run": "nightly/20261123T021500Z/db",
        "backups:expires": "2026-11-23T02:15:30+00:00",
    }
    assert as_mapping(as_list(found)) == found


@given(st.text(max_size=300))
def test_a_tag_s_value_is_one_that_rds_takes(text: str) -> None:
    value = naming.run_tag("job", "run", text)
    assert len(value) <= 256
    assert re.fullmatch(r"[\w\s.:/=+@-]*", value)


def snapshot_of(engine: str, taken: dt.datetime = NOW) -> Snapshot:
    return Snapshot("rds:shop-1", Database("shop"), engine, "1", taken)


@pytest.mark.parametrize(
    ("engine", "family"),
    [
        *(("mysql", "mysql"), ("mariadb", "mysql"), ("aurora-mysql", "mysql")),
        *(("postgres", "pgsql"), ("aurora-postgresql", "pgsql")),
    ],
)
def test_whose_programs_dump_it(engine: str, family: str) -> None:
    assert snapshot_of(engine).family == family


def test_an_old_snapshot_is_worth_a_warning() -> None:
    old = snapshot_of("mysql", NOW - dt.timedelta(days=3))
    (warning,) = age_warnings(old, AUTOMATED, NOW)
    assert warning.startswith("the newest automated snapshot that is available is 3.0 days old: rds:shop-1")
    assert age_warnings(old, MANUAL, NOW) == []
    assert age_warnings(snapshot_of("mysql", NOW - dt.timedelta(hours=30)), AUTOMATED, NOW) == []


def test_nothing_but_a_temporary_instance_is_ever_deleted() -> None:
    with pytest.raises(ValueError, match="production is no temporary instance"):
        remove(None, "production", cluster=False, patience=lambda: 0)


def refusing(status: str | None) -> Any:
    """RDS that denies to delete the instance of a cluster, which is in this state or does not exist."""
    client = boto3.client("rds", region_name="eu-west-1", aws_access_key_id="a", aws_secret_access_key="b")
    stubber = Stubber(client)
    stubber.add_client_error("delete_db_instance", "AccessDenied")
    if status is None:
        stubber.add_client_error("describe_db_instances", "DBInstanceNotFound")
        stubber.add_response("delete_db_cluster", {"DBCluster": {}})
    else:
        found = {"DBInstanceIdentifier": "backups-tmp-x", "DBInstanceStatus": status}
        stubber.add_response("describe_db_instances", {"DBInstances": [found]})
    stubber.activate()
    return client


def test_a_cluster_goes_that_has_no_instance_yet_although_rights_hold_for_what_has_tags() -> None:
    assert remove(refusing(None), "backups-tmp-x", cluster=True, patience=lambda: 0)


def test_a_right_that_is_missing_is_told() -> None:
    with pytest.raises(RefusedError, match="AccessDenied"):
        remove(refusing("available"), "backups-tmp-x", cluster=True, patience=lambda: 0)


def test_missing_credentials_are_named(context: Context, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    without = rds(region="eu-west-1").model_copy(update={"aws_access_key_id": "", "aws_secret_access_key": None})
    with pytest.raises(SourceError, match="no AWS credentials were found") as caught:
        without.open(context)
    assert "aws_access_key_id" in caught.value.hint


def test_a_region_must_come_from_somewhere(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(SourceError, match="Amazon RDS: You must specify a region") as caught:
        rds(region="").open(context)
    assert caught.value.hint == "give 'region', or set AWS_REGION"


def test_copies_restore_into_servers_of_both_families(context: Context) -> None:
    def target(scheme: str) -> object:
        url = f"{scheme}://root@localhost/shop"
        return server_target(scheme, url, rds(), context, password=None, overwrite=False)

    assert isinstance(target("mysql"), MySQLServer)
    assert isinstance(target("postgresql"), PostgreSQLServer)
    with pytest.raises(UsageError):
        target("oracle")
