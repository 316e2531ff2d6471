"""The real stack, deployed once to the embedded cloud, with everything around it that a job needs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import pytest

from backups.records import Result
from local_cloud import stock
from local_cloud.client import LocalCloud
from local_cloud.night import Night, Plan, deploy, synthesize, worker_programs
from local_cloud.sample import SCHEMA, odd_names
from tests.servers import rds
from tests.servers.faulty_proxy import FOREVER, Fault, FaultyProxy, faulty_proxy
from tests.servers.local_cloud import wait_for
from tests.servers.mariadb import MariaDB
from tests.servers.slack import SlackServer, slack_server
from tests.servers.smtp import USER, SmtpServer, smtp_server

PASSPHRASE = 'pläntéd pass\'phrase "7f3a" \\ end'
DB_PASSWORD = "pl#nted;db'pass\"\\"
SLACK_PATH_SECRET = "x9SecretHookToken77"
HOST = "night.example.org"
DATABASE = "livecompany"
REMOTE = "i-0123456789abcdef0"
"""A host with an SSM agent."""
MAIN, SECOND, MISSING = "night-main", "night-second", "night-missing"
SECRET = "backups/night"
AWAY = "eu-central-1"
"""Where snapshots are copied to."""


@dataclass(frozen=True)
class Scene:
    """A deployed stack and what stands around it."""

    night: Night
    database: MariaDB
    slack: SlackServer
    mail: SmtpServer
    proxy: FaultyProxy
    work: Path
    assembly: Path
    volumes: tuple[str, str, str]
    """A volume that nobody uses, an EC2 instance's boot volume, and its other one."""
    rds: rds.Rds
    """The service, with a cluster of PostgreSQL."""

    @property
    def folder(self) -> Path:
        """The folder with odd names."""
        return self.work / "odd names"

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        """What shows in a bucket."""
        listed = self.night.cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for item in listed.get("Contents", [])]


def resolve(key: str) -> str:
    """A reference to the planted secret."""
    return f"{{{{resolve:secretsmanager:{SECRET}:SecretString:{key}}}}}"


def _job(scene_folder: Path, other: dict[str, Any], **changes: Any) -> dict[str, Any]:
    job = {
        "hostname": HOST,
        "schedule": "30 2 * * *",
        "timezone": "Etc/UTC",
        "compression": "zstd",
        "encryption": {"passphrase": resolve("passphrase")},
        "retention": {"keep_last": 2},
        "sources": [{"id": "files", "name": "Odd 'names'", "type": "folder", "path": str(scene_folder)}],
        "destinations": [{"id": "main", "type": "s3", "bucket": MAIN}],
        "notifications": [{"id": "team", "type": "slack", "url": resolve("slack")}],
    }
    return {**job, **other, **changes}


def on_host(path: Path) -> dict[str, Any]:
    """A folder that the agent on the host of the scene archives."""
    return {"id": "far", "name": "Far away", "type": "folder", "path": str(path), "host": "tag:Role=files"}


def _jobs(  # noqa: PLR0917 - everything that jobs name
    work: Path,
    database: MariaDB,
    ledger: rds.Live,
    mail: SmtpServer,
    proxy: FaultyProxy,
    volume: str,
    instance: str,
) -> dict[str, dict[str, Any]]:
    folder = work / "odd names"
    authority = work / "authority.pem"
    authority.write_text(mail.ca_pem)
    main = {"id": "main", "type": "s3", "bucket": MAIN}
    # A server that is not AWS is reached with keys of its own.
    keys = {"aws_access_key_id": resolve("key_id"), "aws_secret_access_key": resolve("key")}
    held = {"id": "held", "type": "s3", "bucket": SECOND, "endpoint_url": proxy.url, **keys}
    mysql = {
        **{"id": "db", "name": "Live Company Data", "type": "mysql", "dbname": DATABASE, "dbuser": "backups"},
        **{"dbhost": database.host, "dbport": database.port, "dbpass": resolve("dbpass")},
    }
    smtp = {
        **{"id": "mail", "type": "smtp", "host": "localhost", "port": mail.port, "use_tls": 1},
        **{"username": USER, "password": resolve("smtp"), "ca_file": str(authority), "sender": "b@example.org"},
        **{"success_to": "team@example.org", "failure_to": "oncall@example.org"},
    }
    return {
        "nightly": _job(
            folder,
            {
                "sources": [
                    {"id": "files", "name": "Odd 'names'", "type": "folder", "path": str(folder)},
                    {"id": "work", "name": "Work", "type": "folder", "path": str(work / "work"), "excludes": ["*.tmp"]},
                    mysql,
                ],
                "destinations": [main, {"id": "second", "type": "s3", "bucket": SECOND}],
                "notifications": [{"id": "team", "type": "slack", "url": resolve("slack")}, smtp],
            },
        ),
        "held": _job(work / "big", {"destinations": [main, held]}, hostname="held.example.org"),
        "partly": _job(
            folder,
            {"destinations": [main, {"id": "gone", "type": "s3", "bucket": MISSING}]},
            hostname="partly.example.org",
        ),
        "mute": _job(folder, {}, hostname="mute.example.org"),
        "checked": _job(
            folder,
            {"destinations": [main, {**held, "id": "second"}]},
            hostname="checked.example.org",
            verification={"every_days": 1},
        ),
        "far": _job(folder, {"sources": [on_host(folder)]}, hostname="far.example.org"),
        "farheld": _job(
            folder, {"sources": [on_host(work / "big")], "destinations": [held]}, hostname="farheld.example.org"
        ),
        "database": _job(folder, {"sources": [_on_rds()]}, hostname="database.example.org"),
        "databaseheld": _job(
            folder,
            {"sources": [_on_rds()], "destinations": [held], "compression": "none"},
            hostname="databaseheld.example.org",
        ),
        "cluster": _job(folder, {"sources": [_on_aurora()]}, hostname="cluster.example.org"),
        "ledger": _job(folder, {"sources": [_on_postgresql(ledger)]}, hostname="ledger.example.org"),
        "shots": _job(
            folder,
            {"sources": _snapshots(volume, instance), "retention": {"keep_last": 1}},
            hostname="shots.example.org",
        ),
        "shot": _job(folder, {"sources": _snapshots(volume, instance)[:1]}, hostname="shot.example.org"),
        "broken": _job(work / "no such folder", {}, hostname="broken.example.org"),
    }


def _on_rds() -> dict[str, Any]:
    """A source of RDS; tests that run it make the database."""
    login = {"dbname": DATABASE, "dbuser": rds.USER, "dbpass": resolve("rds")}
    return {"id": "live", "name": "Live on RDS", "type": "rds", "instancename": "live-mariadb", **login}


def _on_aurora() -> dict[str, Any]:
    """The same of an Aurora cluster."""
    login = {"dbname": DATABASE, "dbuser": rds.USER, "dbpass": resolve("rds")}
    return {"id": "live", "type": "rds", "clustername": "live-aurora-postgresql-cluster", **login}


def _on_postgresql(live: rds.Live) -> dict[str, Any]:
    """A database of a server that is reached as any other, and the server's roles."""
    login = {"dbname": DATABASE, "dbuser": rds.USER, "dbpass": resolve("rds")}
    return {"id": "ledger", "type": "pgsql", "dbhost": live.host, "dbport": live.port, "globals": True, **login}


def _snapshots(volume: str, instance: str) -> list[dict[str, Any]]:
    """One of each kind of snapshot; those of a volume and of a database are copied to another region."""
    return [
        {"id": "volume", "type": "snapshot", "volume_id": volume, "copy_to_region": AWAY},
        {"id": "machine", "type": "snapshot", "instance_id": instance},
        {"id": "database", "type": "snapshot", "instancename": "live-mariadb", "copy_to_region": AWAY},
        {"id": "cluster", "type": "snapshot", "clustername": "live-aurora-postgresql-cluster"},
    ]


def _volumes(cloud: LocalCloud) -> tuple[str, tuple[str, str, str]]:
    """An EC2 instance with two volumes, and one more that nobody uses."""
    ec2 = cloud.client("ec2")
    alone, other = (ec2.create_volume(AvailabilityZone=f"{cloud.region}a", Size=size)["VolumeId"] for size in (20, 5))
    machine = ec2.run_instances(ImageId="ami-0123456789abcdef0", MinCount=1, MaxCount=1)["Instances"][0]
    ec2.attach_volume(VolumeId=other, InstanceId=machine["InstanceId"], Device="/dev/sdf")
    boot = machine["BlockDeviceMappings"][0]["Ebs"]["VolumeId"]
    return machine["InstanceId"], (alone, boot, other)


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The whole scene, made once."""
    work = tmp_path_factory.mktemp("night")
    odd_names(work / "odd names")
    (work / "work").mkdir()
    (work / "work" / "kept.txt").write_text("kept\n" * 1000)
    (work / "work" / "left.tmp").write_text("left out")
    (work / "big").mkdir()
    with (work / "big" / "random").open("wb") as stream:
        for block in (_random() for _ in range(96)):
            stream.write(block)
    with contextlib.ExitStack() as stack:
        database = stack.enter_context(MariaDB(work / "mariadb"))
        quoted = DB_PASSWORD.replace("\\", "\\\\").replace("'", "''")
        database.execute(f"CREATE DATABASE {DATABASE}; CREATE DATABASE restored")
        database.execute(SCHEMA, DATABASE)
        database.execute(f"CREATE USER backups@'%' IDENTIFIED BY '{quoted}'; GRANT ALL ON *.* TO backups@'%'")
        slack, mail = stack.enter_context(slack_server()), stack.enter_context(smtp_server())
        cloud = stack.enter_context(LocalCloud(programs=worker_programs(), state_dir=work / "cloud", wait_scale=0.05))
        proxy = stack.enter_context(faulty_proxy(urlparse(cloud.endpoint).port or 0))
        cloud.host(REMOTE, tags={"Role": "files"})
        instance, volumes = _volumes(cloud)
        jobs = work / "jobs"
        jobs.mkdir()
        service = rds.Rds(cloud)
        ledger = service.live("aurora-postgresql")
        for name, content in _jobs(work, database, ledger, mail, proxy, volumes[0], instance).items():
            (jobs / f"{name}.json").write_text(json.dumps(content))
        secrets = {
            "passphrase": PASSPHRASE,
            "dbpass": DB_PASSWORD,
            "rds": rds.PASSWORD,
            "slack": slack.url,
            "smtp": mail.password,
            **_keys_of_a_user(cloud),
        }
        plan = Plan(jobs=jobs, buckets=(MAIN, SECOND), secrets={SECRET: secrets})
        assembly = synthesize(plan, work / "cdk.out")
        yield Scene(deploy(cloud, plan, assembly), database, slack, mail, proxy, work, assembly, volumes, service)


@pytest.fixture
def stall(scene: Scene) -> Iterator[Fault]:
    """The second bucket takes requests and never answers; a run that still goes afterwards is stopped."""
    yield scene.proxy.add(Fault("^(PUT|POST) ", times=FOREVER, stall=True))
    scene.proxy.heal()
    client = scene.night.cloud.client("stepfunctions")
    machine = scene.night.outputs["StateMachineArn"]
    for going in client.list_executions(stateMachineArn=machine, statusFilter="RUNNING")["executions"]:
        client.stop_execution(executionArn=going["executionArn"])


def _keys_of_a_user(cloud: LocalCloud) -> dict[str, str]:
    """Access keys with every right in S3, as another provider gives them."""
    iam = cloud.client("iam")
    iam.create_user(UserName="elsewhere")
    statement = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="elsewhere", PolicyName="all", PolicyDocument=policy)
    key = iam.create_access_key(UserName="elsewhere")["AccessKey"]
    return {"key_id": key["AccessKeyId"], "key": key["SecretAccessKey"]}


def _random() -> bytes:
    """Half a MiB that nothing compresses, so that parts fill up."""
    return os.urandom(1 << 19)


def plain_copy(scene: Scene, result: Result, directory: Path) -> str:
    """The text of a copy, decrypted and decompressed by stock programs."""
    copy, passphrase, plain = (directory / f"{result.source}.{end}" for end in ("zst.gpg", "passphrase", "plain"))
    scene.night.download(MAIN, result.key, copy)
    passphrase.write_text(PASSPHRASE)
    stock.pipeline(copy, passphrase, "dd", f"of={plain}", "status=none")
    return plain.read_text()


def end_the_worker(scene: Scene, run: str, number: signal.Signals = signal.SIGKILL) -> None:
    """By default kill -9, as the kernel does when memory runs out."""
    client, cluster = scene.night.cloud.client("ecs"), scene.night.outputs["Cluster"]
    arns = client.list_tasks(cluster=cluster)["taskArns"]
    (task,) = [
        task["taskArn"]
        for task in client.describe_tasks(cluster=cluster, tasks=arns)["tasks"]
        if {"name": "BACKUPS_RUN", "value": run} in task["overrides"]["containerOverrides"][0]["environment"]
    ]
    pids = wait_for(lambda: scene.night.cloud.task_processes(task), "the worker's process is not known")
    os.kill(pids[0], number)


def running_task(scene: Scene, run: str) -> str:
    """The one task of this run whose program runs; tasks of other runs may still be ending."""
    client = scene.night.cloud.client("ecs")
    cluster = scene.night.outputs["Cluster"]
    arns = client.list_tasks(cluster=cluster, desiredStatus="RUNNING")["taskArns"]
    mine = {"name": "BACKUPS_RUN", "value": run}
    running = [
        task["taskArn"]
        for task in client.describe_tasks(cluster=cluster, tasks=arns)["tasks"]
        if mine in task["overrides"]["containerOverrides"][0]["environment"]
        if scene.night.cloud.task_processes(task["taskArn"])
    ]
    assert len(running) == 1, running
    return str(running[0])
