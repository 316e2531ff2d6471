"""Amazon RDS in the embedded cloud: live databases, snapshots of them, and what is left of restores."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_cloud.client import LocalCloud
from tests.servers.local_cloud import wait_for
from tests.servers.mariadb import _program as mariadb_program
from tests.servers.postgres import program as postgres_program

USER = "keeper"
PASSWORD = "pl#nted;db'pass\"\\"
DATABASE = "livecompany"


@dataclass(frozen=True)
class Live:
    """A running instance, and how to talk to it as its administrator."""

    name: str
    engine: str
    host: str
    port: int
    cluster: str = ""
    directory: Path = Path()

    def execute(self, sql: str, database: str = DATABASE) -> str:
        """Run statements; returns what they print, without headings."""
        if "postgres" in self.engine:
            argv = [postgres_program("psql"), "-XqAt", "-v", "ON_ERROR_STOP=1", f"--host={self.host}"]
            argv += [f"--port={self.port}", f"--username={USER}", f"--dbname={database}"]
            environment = {"PATH": os.environ["PATH"], "PGPASSWORD": PASSWORD}
        else:
            quoted = PASSWORD.replace("\\", "\\\\").replace('"', '\\"')
            options = self.directory / f"{self.name}.cnf"
            options.write_text(
                f'[client]\nhost={self.host}\nport={self.port}\nprotocol=tcp\nuser={USER}\npassword="{quoted}"\n'
            )
            argv = [mariadb_program("mariadb"), f"--defaults-file={options}", "--batch", "--skip-column-names"]
            argv.append(f"--database={database}")
            environment = {"PATH": os.environ["PATH"]}
        done = subprocess.run(argv, input=sql.encode(), env=environment, capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode("utf-8", "replace"))
        return done.stdout.decode()


class Rds:
    """The service of one embedded cloud."""

    def __init__(self, cloud: LocalCloud) -> None:
        self.cloud = cloud
        self.client = cloud.client("rds")
        self._lives: dict[str, Live] = {}

    def live(self, engine: str) -> Live:
        """The live database of an engine, made when it is asked for first. An Aurora one has a cluster."""
        if engine not in self._lives:
            self._lives[engine] = self._create(engine)
        return self._lives[engine]

    def _create(self, engine: str) -> Live:
        name, cluster = f"live-{engine}", {}
        login = {"MasterUsername": USER, "MasterUserPassword": PASSWORD}
        tags = [{"Key": "owner", "Value": "the live one"}]
        if engine.startswith("aurora"):
            cluster = {"DBClusterIdentifier": f"{name}-cluster"}
            self.client.create_db_cluster(**cluster, **login, Engine=engine, DatabaseName=DATABASE, Tags=tags)
            login = {}
        else:
            login["DBName"] = DATABASE
        self.client.create_db_instance(
            DBInstanceIdentifier=name, Engine=engine, DBInstanceClass="db.t4g.small", Tags=tags, **login, **cluster
        )
        wait_for(lambda: self._available(name), f"{name} is not available")
        endpoint = self.instance(name)["Endpoint"]
        return Live(
            name,
            engine,
            endpoint["Address"],
            endpoint["Port"],
            cluster=cluster.get("DBClusterIdentifier", ""),
            directory=self.cloud.state_dir,
        )

    def _available(self, name: str) -> bool:
        status = self.instance(name)["DBInstanceStatus"]
        assert status in ("creating", "available"), status
        return bool(status == "available")

    def instance(self, name: str) -> dict[str, Any]:
        """What RDS says of an instance."""
        found: dict[str, Any] = self.client.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
        return found

    def snapshot(self, live: Live, name: str, *, wait: bool = True) -> str:
        """Take a snapshot; one whose name begins with ``rds:`` counts as automated. Returns its name."""
        if live.cluster:
            self.client.create_db_cluster_snapshot(DBClusterSnapshotIdentifier=name, DBClusterIdentifier=live.cluster)
        else:
            self.client.create_db_snapshot(DBSnapshotIdentifier=name, DBInstanceIdentifier=live.name)
        if wait:
            wait_for(lambda: self._taken(live, name), f"snapshot {name} is not available")
        return name

    def _taken(self, live: Live, name: str) -> bool:
        if live.cluster:
            found = self.client.describe_db_cluster_snapshots(DBClusterSnapshotIdentifier=name)["DBClusterSnapshots"]
        else:
            found = self.client.describe_db_snapshots(DBSnapshotIdentifier=name)["DBSnapshots"]
        return bool(found[0]["Status"] == "available")

    def drop(self, live: Live, name: str) -> None:
        """Remove a snapshot."""
        if live.cluster:
            self.client.delete_db_cluster_snapshot(DBClusterSnapshotIdentifier=name)
        else:
            self.client.delete_db_snapshot(DBSnapshotIdentifier=name)

    def temporaries(self) -> list[dict[str, Any]]:
        """Temporary instances that are there and not being deleted."""
        found = self.client.describe_db_instances()["DBInstances"]
        return [
            one
            for one in found
            if one["DBInstanceIdentifier"].startswith("backups-tmp-") and one["DBInstanceStatus"] != "deleting"
        ]

    def temporary_clusters(self) -> list[dict[str, Any]]:
        """The same of clusters."""
        found = self.client.describe_db_clusters()["DBClusters"]
        return [
            one
            for one in found
            if one["DBClusterIdentifier"].startswith("backups-tmp-") and one["Status"] != "deleting"
        ]

    def nothing_left(self) -> None:
        """Wait until every temporary instance and cluster is gone; fails when one stays that nobody deletes."""
        assert (self.temporaries(), self.temporary_clusters()) == ([], [])

        def gone() -> bool:
            names = [one["DBInstanceIdentifier"] for one in self.client.describe_db_instances()["DBInstances"]]
            names += [one["DBClusterIdentifier"] for one in self.client.describe_db_clusters()["DBClusters"]]
            return not any(name.startswith("backups-tmp-") for name in names)

        wait_for(gone, "a temporary instance is still being deleted")

    @contextlib.contextmanager
    def fault(self, name: str, count: int = 1) -> Iterator[None]:
        """Something goes wrong so often, or, for what lasts, until the end of the block."""
        path = self.cloud.state_dir / "faults" / name
        path.write_text(str(count))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def rds_cloud(state_dir: Path) -> Iterator[Rds]:
    """An embedded cloud with nothing in it but RDS."""
    with LocalCloud(programs={}, state_dir=state_dir) as cloud:
        yield Rds(cloud)
