"""RDS: instances are real servers, snapshots real copies of their data, and a restore starts a server on a copy.

MiniStack keeps records only: its restore is ``available`` at once, and nothing listens at its endpoint.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_cloud import processes
from local_cloud.seams.patching import Pinned, service
from local_cloud.seams.rds_faults import Faults
from local_cloud.seams.rds_servers import Login, Server, copy_directory, server_for
from local_cloud.settings import LOOPBACK, Settings

log = logging.getLogger("local_cloud.rds")

HOME = "local-cloud-rds-"
AUTOMATED = "rds:"
"""With this begin the names of automated snapshots, which RDS makes at night; here somebody else must ask for them."""

_POLL_SECONDS = 0.05
_WRAPPED = (
    *("CreateDBInstance", "DeleteDBInstance", "CreateDBSnapshot", "RestoreDBInstanceFromDBSnapshot"),
    *("CreateDBCluster", "DeleteDBCluster", "CreateDBClusterSnapshot"),
)

Parameters = dict[str, Any]
Record = dict[str, Any]
Reply = tuple[int, dict[str, str], bytes]


class Databases:
    """The servers behind the records."""

    def __init__(self, rds: Pinned, home: Callable[[], Path], faults: Faults) -> None:
        self._rds = rds
        self._find_home = home
        self._faults = faults
        self._own: dict[str, Any] = {action: rds._ACTION_MAP.get(action) for action in _WRAPPED}
        self._handle = rds._handle_request_sync
        self._servers: dict[str, Server] = {}
        """By the instance's identifier."""
        self._lock = threading.Lock()

    @functools.cached_property
    def _home(self) -> Path:
        """Made when the first server needs it: most clouds have none."""
        return self._find_home()

    def handle(self, method: str, path: str, headers: dict[str, str], body: bytes, query_params: Parameters) -> Reply:
        """Any request: refused while the service is said to be busy."""
        if self._faults.take("throttle"):
            return self._refuse("Throttling", "Rate exceeded")
        reply: Reply = self._handle(method, path, headers, body, query_params)
        return reply

    def create_instance(self, p: Parameters) -> Reply:
        """A new server, or in a cluster one on the cluster's volume."""
        reply: Reply = self._own["CreateDBInstance"](p)
        if reply[0] != 200:
            return reply
        record = self._rds._instances[self._p(p, "DBInstanceIdentifier")]
        if server_for(record["Engine"]) is None:
            return reply
        login = Login(record["MasterUsername"], record["_MasterUserPassword"], record["DBName"])
        self._begin(record, self._data(record), login=login)
        return self._instance("CreateDBInstance", record)

    def restore_instance(self, p: Parameters) -> Reply:
        """A server on a copy of the snapshot."""
        snapshot = self._rds._snapshots.get(self._p(p, "DBSnapshotIdentifier"))
        if snapshot and snapshot["Status"] != "available":
            return self._refuse("InvalidDBSnapshotState", f"{snapshot['DBSnapshotIdentifier']} is not available")
        if refusal := self._unknown_subnet_group(p):
            return refusal
        reply: Reply = self._own["RestoreDBInstanceFromDBSnapshot"](p)
        if reply[0] != 200 or snapshot is None:
            return reply
        record = self._rds._instances[self._p(p, "DBInstanceIdentifier")]
        self._complete(record, p, snapshot)
        source = self._volume("snapshot", snapshot["DBSnapshotIdentifier"])
        self._begin(record, self._data(record), source=source)
        return self._instance("RestoreDBInstanceFromDBSnapshot", record)

    def delete_instance(self, p: Parameters) -> Reply:
        """Ends the server; the record goes when it has ended."""
        record = self._rds._resolve_instance(self._p(p, "DBInstanceIdentifier"))
        if record is None:
            missing: Reply = self._own["DeleteDBInstance"](p)
            return missing
        name = record["DBInstanceIdentifier"]
        if record["DBInstanceStatus"] == "deleting":
            return self._refuse("InvalidDBInstanceState", f"Instance {name} is already being deleted.")
        if self._faults.take("refuse-delete"):
            return self._refuse("InvalidDBInstanceState", f"Instance {name} is not in a state to be deleted.")
        if self._p(p, "SkipFinalSnapshot") != "true" and not self._p(p, "FinalDBSnapshotIdentifier"):
            message = "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
            return self._refuse("InvalidParameterCombination", message)
        record["DBInstanceStatus"] = "deleting"

        def end() -> None:
            with self._lock:
                server = self._servers.pop(name, None)
            if server is not None:
                server.stop()
            if not record.get("DBClusterIdentifier"):
                shutil.rmtree(self._data(record), ignore_errors=True)
            self._own["DeleteDBInstance"](p)

        self._later(end)
        return self._instance("DeleteDBInstance", record)

    def create_snapshot(self, p: Parameters) -> Reply:
        """A copy of the data as it is now."""
        reply: Reply = self._own["CreateDBSnapshot"](p)
        if reply[0] != 200:
            return reply
        name = self._p(p, "DBSnapshotIdentifier")
        record = self._rds._snapshots[name]
        self._copied(record, record["DBInstanceIdentifier"], self._volume("snapshot", name), name)
        inner = f"<CreateDBSnapshotResult><DBSnapshot>{self._rds._snapshot_xml(record)}</DBSnapshot>"
        return self._xml("CreateDBSnapshot", inner)

    def create_cluster(self, p: Parameters) -> Reply:
        """A volume that its first instance fills."""
        reply: Reply = self._own["CreateDBCluster"](p)
        return reply

    def restore_cluster(self, p: Parameters) -> Reply:
        """A volume that is a copy of the snapshot; instances come later, by CreateDBInstance."""
        name, source = self._p(p, "DBClusterIdentifier"), self._p(p, "SnapshotIdentifier")
        snapshot = self._rds._db_cluster_snapshots.get(source)
        if snapshot is None:
            return self._refuse("DBClusterSnapshotNotFoundFault", f"DBClusterSnapshot {source} not found.", 404)
        if snapshot["Status"] != "available":
            return self._refuse("InvalidDBClusterSnapshotStateFault", f"{source} is not available")
        if refusal := self._unknown_subnet_group(p):
            return refusal
        reply: Reply = self._own["CreateDBCluster"](p)
        if reply[0] != 200:
            return reply
        record = self._rds._clusters[name]
        record["MasterUsername"] = snapshot["MasterUsername"]
        self._inherit_tags(record, record["DBClusterArn"], snapshot)
        record["Status"] = "creating"

        def fill() -> None:
            if self._lost(record, "Status"):
                return
            copy_directory(self._volume("snapshot", source), self._volume("cluster", name))
            if record["Status"] == "creating":
                record["Status"] = "available"

        self._later(fill)
        inner = f"<RestoreDBClusterFromSnapshotResult><DBCluster>{self._rds._cluster_xml(record)}</DBCluster>"
        return self._xml("RestoreDBClusterFromSnapshot", inner)

    def create_cluster_snapshot(self, p: Parameters) -> Reply:
        """A copy of the cluster's volume as it is now."""
        reply: Reply = self._own["CreateDBClusterSnapshot"](p)
        if reply[0] != 200:
            return reply
        name = self._p(p, "DBClusterSnapshotIdentifier")
        record = self._rds._db_cluster_snapshots[name]
        cluster = self._rds._clusters[record["DBClusterIdentifier"]]
        writer = cluster["DBClusterMembers"][0]["DBInstanceIdentifier"]
        self._copied(record, writer, self._volume("snapshot", name), name)
        inner = f"<CreateDBClusterSnapshotResult><DBClusterSnapshot>{self._rds._cluster_snapshot_xml(record)}"
        return self._xml("CreateDBClusterSnapshot", f"{inner}</DBClusterSnapshot>")

    def delete_cluster(self, p: Parameters) -> Reply:
        """Once its instances are being deleted; the record goes when they have gone."""
        record = self._rds._clusters.get(self._p(p, "DBClusterIdentifier"))
        if record is None:
            missing: Reply = self._own["DeleteDBCluster"](p)
            return missing
        name = record["DBClusterIdentifier"]
        if record["Status"] == "deleting":
            return self._refuse("InvalidDBClusterStateFault", f"Cluster {name} is already being deleted.")
        members = [self._rds._instances.get(one["DBInstanceIdentifier"]) for one in record["DBClusterMembers"]]
        if any(one and one["DBInstanceStatus"] != "deleting" for one in members):
            message = "Cluster cannot be deleted, it still contains DB instances in non-deleting state."
            return self._refuse("InvalidDBClusterStateFault", message)
        record["Status"] = "deleting"

        def end() -> None:
            while record["DBClusterMembers"]:
                time.sleep(_POLL_SECONDS)
            shutil.rmtree(self._volume("cluster", name), ignore_errors=True)
            self._own["DeleteDBCluster"](p)

        self._later(end)
        inner = f"<DeleteDBClusterResult><DBCluster>{self._rds._cluster_xml(record)}</DBCluster>"
        return self._xml("DeleteDBCluster", inner)

    def _begin(self, record: Record, data: Path, *, source: Path | None = None, login: Login | None = None) -> None:
        """Have a server started; the record is ``available`` with its endpoint when it answers."""
        record["DBInstanceStatus"] = "creating"
        record["Endpoint"] = {"Address": "", "Port": 0, "HostedZoneId": ""}
        name = record["DBInstanceIdentifier"]
        kind = server_for(record["Engine"])
        assert kind is not None
        server = kind(data, self._home / f"{name}.log")

        def start() -> None:
            if source is not None:
                if self._lost(record, "DBInstanceStatus"):
                    return
                copy_directory(source, data)
            with self._lock:
                if record["DBInstanceStatus"] != "creating":
                    return
                self._servers[name] = server
            try:
                server.start(login)
            except Exception:
                record["DBInstanceStatus"] = "failed"
                raise
            if record["DBInstanceStatus"] != "creating":
                server.stop()
                return
            record["Endpoint"] = {"Address": LOOPBACK, "Port": server.port, "HostedZoneId": ""}
            record["DBInstanceStatus"] = "available"

        self._later(start)

    def _lost(self, record: Record, state: str) -> bool:
        """Whether a restore comes to nothing: it was deleted while it waited, or fails as restores may."""
        while self._faults.is_set("hold-restore") and record[state] == "creating":
            time.sleep(_POLL_SECONDS)
        if self._faults.take("incompatible-restore"):
            record[state] = "incompatible-restore"
        return bool(record[state] != "creating")

    def _copied(self, record: Record, instance: str, target: Path, name: str) -> None:
        record["SnapshotType"] = "automated" if name.startswith(AUTOMATED) else "manual"
        server = self._servers.get(instance)
        if server is None:
            return
        record.update(Status="creating", PercentProgress=0)

        def copy() -> None:
            server.copy(target)
            while self._faults.is_set("hold-snapshot"):
                time.sleep(_POLL_SECONDS)
            record.update(Status="available", PercentProgress=100)

        self._later(copy)

    def _complete(self, record: Record, p: Parameters, snapshot: Record) -> None:
        """What the request asks for and MiniStack drops; without tags those of the snapshot's source are taken."""
        groups = self._rds._parse_member_list(p, "VpcSecurityGroupIds")
        record["VpcSecurityGroups"] = [{"VpcSecurityGroupId": one, "Status": "active"} for one in groups]
        record["BackupRetentionPeriod"] = int(self._p(p, "BackupRetentionPeriod") or 1)
        record["AutoMinorVersionUpgrade"] = self._p(p, "AutoMinorVersionUpgrade") != "false"
        record["CopyTagsToSnapshot"] = self._p(p, "CopyTagsToSnapshot") == "true"
        if subnets := self._rds._subnet_groups.get(self._p(p, "DBSubnetGroupName")):
            record["DBSubnetGroup"] = subnets
        if group := self._p(p, "DBParameterGroupName"):
            record["DBParameterGroups"] = [{"DBParameterGroupName": group, "ParameterApplyStatus": "in-sync"}]
        if given := self._rds._parse_tags(p):
            self._rds._tags[record["DBInstanceArn"]] = record["TagList"] = given
        self._inherit_tags(record, record["DBInstanceArn"], snapshot)

    def _inherit_tags(self, record: Record, arn: str, snapshot: Record) -> None:
        if not record["TagList"] and snapshot["TagList"]:
            self._rds._tags[arn] = record["TagList"] = list(snapshot["TagList"])

    def _unknown_subnet_group(self, p: Parameters) -> Reply | None:
        name = self._p(p, "DBSubnetGroupName")
        if not name or name == "default" or name in self._rds._subnet_groups:
            return None
        return self._refuse("DBSubnetGroupNotFoundFault", f"DB subnet group '{name}' does not exist.", 404)

    def _data(self, record: Record) -> Path:
        cluster = record.get("DBClusterIdentifier")
        return self._volume("cluster", cluster) if cluster else self._volume("instance", record["DBInstanceIdentifier"])

    def _volume(self, kind: str, name: str) -> Path:
        return self._home / f"{kind}-{name.replace(':', '_').replace('/', '_')}"

    def _p(self, p: Parameters, name: str) -> str:
        return str(self._rds._p(p, name) or "")

    def _later(self, work: Callable[[], None]) -> None:
        """Do it in a thread, for the account and region of the request that asked for it."""
        context = contextvars.copy_context()

        def run() -> None:
            try:
                context.run(work)
            except Exception:
                log.exception("RDS")

        threading.Thread(target=run, daemon=True).start()

    def _instance(self, action: str, record: Record) -> Reply:
        reply: Reply = self._rds._single_instance_response(f"{action}Response", f"{action}Result", record)
        return reply

    def _xml(self, action: str, inner: str) -> Reply:
        reply: Reply = self._rds._xml(200, f"{action}Response", f"{inner}</{action}Result>")
        return reply

    def _refuse(self, code: str, message: str, status: int = 400) -> Reply:
        reply: Reply = self._rds._error(code, message, status)
        return reply


def install(settings: Settings) -> None:
    """Put servers behind the records, and tags of RDS into the check of permissions."""
    rds, tagging = service("rds"), service("tagging")
    rds.require("_instances", "_snapshots", "_clusters", "_db_cluster_snapshots", "_subnet_groups", "_tags")
    rds.require("_p", "_parse_tags", "_parse_member_list", "_resolve_instance", "_single_instance_response")
    rds.require("_xml", "_error", "_snapshot_xml", "_cluster_xml", "_cluster_snapshot_xml")
    databases = Databases(rds, _home(settings), Faults(settings.scratch("rds-faults")))
    handlers = {
        "CreateDBInstance": databases.create_instance,
        "DeleteDBInstance": databases.delete_instance,
        "CreateDBSnapshot": databases.create_snapshot,
        "RestoreDBInstanceFromDBSnapshot": databases.restore_instance,
        "CreateDBCluster": databases.create_cluster,
        "DeleteDBCluster": databases.delete_cluster,
        "CreateDBClusterSnapshot": databases.create_cluster_snapshot,
    }
    for action, handler in handlers.items():
        rds.replace_entry("_ACTION_MAP", action, handler)
    rds._ACTION_MAP["RestoreDBClusterFromSnapshot"] = databases.restore_cluster
    rds.replace("_handle_request_sync", "method path headers body query_params", databases.handle)
    others = tagging.resource_tags

    def resource_tags(arn: str) -> dict[str, str] | None:
        if ":rds:" not in arn:
            found: dict[str, str] | None = others(arn)
            return found
        return {tag["Key"]: tag["Value"] for tag in rds._tags.get(arn, [])}

    tagging.replace("resource_tags", "arn", resource_tags)


def _home(settings: Settings) -> Callable[[], Path]:
    """Makes a directory that goes with the server. Not below its own: PostgreSQL's account could not reach it there."""
    note = settings.state / "rds-home"
    with contextlib.suppress(OSError):
        left = Path(note.read_text())  # by one that was killed
        if left.name.startswith(HOME):
            shutil.rmtree(left, ignore_errors=True)

    def make() -> Path:
        home = Path(tempfile.mkdtemp(prefix=HOME, dir="/tmp"))
        home.chmod(0o711)
        note.write_text(str(home))
        processes.at_end(lambda: shutil.rmtree(home, ignore_errors=True))
        return home

    return make
