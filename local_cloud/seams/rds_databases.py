"""Instances of RDS and their snapshots: the servers and copies behind MiniStack's records."""

from __future__ import annotations

import functools
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_cloud.seams.background import later
from local_cloud.seams.faults import POLL_SECONDS, Faults
from local_cloud.seams.patching import Pinned
from local_cloud.seams.rds_servers import Login, Server, copy_directory, server_for
from local_cloud.settings import LOOPBACK

AUTOMATED = "rds:"
"""With this begin the names of automated snapshots, which RDS makes at night; here somebody else must ask for them."""

_WRAPPED = (*("CreateDBInstance", "DeleteDBInstance", "CreateDBSnapshot", "RestoreDBInstanceFromDBSnapshot"),)

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
            return self.refuse("Throttling", "Rate exceeded")
        reply: Reply = self._handle(method, path, headers, body, query_params)
        return reply

    def create_instance(self, p: Parameters) -> Reply:
        """A new server, or in a cluster one on the cluster's volume."""
        reply: Reply = self._own["CreateDBInstance"](p)
        if reply[0] != 200:
            return reply
        record = self._rds._instances[self.p(p, "DBInstanceIdentifier")]
        if server_for(record["Engine"]) is None:
            return reply
        login = Login(record["MasterUsername"], record["_MasterUserPassword"], record["DBName"])
        self._begin(record, self._data(record), login=login)
        return self._instance("CreateDBInstance", record)

    def restore_instance(self, p: Parameters) -> Reply:
        """A server on a copy of the snapshot."""
        snapshot = self._rds._snapshots.get(self.p(p, "DBSnapshotIdentifier"))
        if snapshot and snapshot["Status"] != "available":
            return self.refuse("InvalidDBSnapshotState", f"{snapshot['DBSnapshotIdentifier']} is not available")
        if refusal := self.unknown_subnet_group(p):
            return refusal
        reply: Reply = self._own["RestoreDBInstanceFromDBSnapshot"](p)
        if reply[0] != 200 or snapshot is None:
            return reply
        record = self._rds._instances[self.p(p, "DBInstanceIdentifier")]
        self._complete(record, p, snapshot)
        source = self.volume("snapshot", snapshot["DBSnapshotIdentifier"])
        self._begin(record, self._data(record), source=source)
        return self._instance("RestoreDBInstanceFromDBSnapshot", record)

    def delete_instance(self, p: Parameters) -> Reply:
        """Ends the server; the record goes when it has ended."""
        record = self._rds._resolve_instance(self.p(p, "DBInstanceIdentifier"))
        if record is None:
            missing: Reply = self._own["DeleteDBInstance"](p)
            return missing
        name = record["DBInstanceIdentifier"]
        if record["DBInstanceStatus"] == "deleting":
            return self.refuse("InvalidDBInstanceState", f"Instance {name} is already being deleted.")
        if self._faults.take("refuse-delete"):
            return self.refuse("InvalidDBInstanceState", f"Instance {name} is not in a state to be deleted.")
        if self.p(p, "SkipFinalSnapshot") != "true" and not self.p(p, "FinalDBSnapshotIdentifier"):
            message = "FinalDBSnapshotIdentifier is required unless SkipFinalSnapshot is specified."
            return self.refuse("InvalidParameterCombination", message)
        record["DBInstanceStatus"] = "deleting"

        def end() -> None:
            with self._lock:
                server = self._servers.pop(name, None)
            if server is not None:
                server.stop()
            if not record.get("DBClusterIdentifier"):
                shutil.rmtree(self._data(record), ignore_errors=True)
            self._own["DeleteDBInstance"](p)

        later(end)
        return self._instance("DeleteDBInstance", record)

    def create_snapshot(self, p: Parameters) -> Reply:
        """A copy of the data as it is now."""
        reply: Reply = self._own["CreateDBSnapshot"](p)
        if reply[0] != 200:
            return reply
        name = self.p(p, "DBSnapshotIdentifier")
        record = self._rds._snapshots[name]
        self.copied(record, record["DBInstanceIdentifier"], self.volume("snapshot", name), name)
        inner = f"<CreateDBSnapshotResult><DBSnapshot>{self._rds._snapshot_xml(record)}</DBSnapshot>"
        return self.xml("CreateDBSnapshot", inner)

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
                if self.lost(record, "DBInstanceStatus"):
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

        later(start)

    def lost(self, record: Record, state: str) -> bool:
        """Whether a restore comes to nothing: it was deleted while it waited, or fails as restores may."""
        while self._faults.is_set("hold-restore") and record[state] == "creating":
            time.sleep(POLL_SECONDS)
        if self._faults.take("incompatible-restore"):
            record[state] = "incompatible-restore"
        return bool(record[state] != "creating")

    def copied(self, record: Record, instance: str, target: Path, name: str) -> None:
        """Have a snapshot filled from the instance's server; it is ``available`` when the copy is whole."""
        record["SnapshotType"] = "automated" if name.startswith(AUTOMATED) else "manual"
        server = self._servers.get(instance)
        if server is None:
            return
        record.update(Status="creating", PercentProgress=0)

        def copy() -> None:
            server.copy(target)
            self._faults.wait_while("hold-snapshot")
            record.update(Status="available", PercentProgress=100)

        later(copy)

    def _complete(self, record: Record, p: Parameters, snapshot: Record) -> None:
        """What the request asks for and MiniStack drops; without tags those of the snapshot's source are taken."""
        groups = self._rds._parse_member_list(p, "VpcSecurityGroupIds")
        record["VpcSecurityGroups"] = [{"VpcSecurityGroupId": one, "Status": "active"} for one in groups]
        record["BackupRetentionPeriod"] = int(self.p(p, "BackupRetentionPeriod") or 1)
        record["AutoMinorVersionUpgrade"] = self.p(p, "AutoMinorVersionUpgrade") != "false"
        record["CopyTagsToSnapshot"] = self.p(p, "CopyTagsToSnapshot") == "true"
        if subnets := self._rds._subnet_groups.get(self.p(p, "DBSubnetGroupName")):
            record["DBSubnetGroup"] = subnets
        if group := self.p(p, "DBParameterGroupName"):
            record["DBParameterGroups"] = [{"DBParameterGroupName": group, "ParameterApplyStatus": "in-sync"}]
        if given := self._rds._parse_tags(p):
            self._rds._tags[record["DBInstanceArn"]] = record["TagList"] = given
        self.inherit_tags(record, record["DBInstanceArn"], snapshot)

    def inherit_tags(self, record: Record, arn: str, snapshot: Record) -> None:
        """As RDS does for a restore that is given no tags."""
        if not record["TagList"] and snapshot["TagList"]:
            self._rds._tags[arn] = record["TagList"] = list(snapshot["TagList"])

    def unknown_subnet_group(self, p: Parameters) -> Reply | None:
        """A refusal when the request names a subnet group that does not exist."""
        name = self.p(p, "DBSubnetGroupName")
        if not name or name == "default" or name in self._rds._subnet_groups:
            return None
        return self.refuse("DBSubnetGroupNotFoundFault", f"DB subnet group '{name}' does not exist.", 404)

    def _data(self, record: Record) -> Path:
        cluster = record.get("DBClusterIdentifier")
        return self.volume("cluster", cluster) if cluster else self.volume("instance", record["DBInstanceIdentifier"])

    def volume(self, kind: str, name: str, region: str = "") -> Path:
        """The directory of an instance's, a cluster's or a snapshot's data; by default of the request's region."""
        region = region or self._rds.get_region()
        return self._home / f"{region}-{kind}-{name.replace(':', '_').replace('/', '_')}"

    def p(self, p: Parameters, name: str) -> str:
        """A parameter of a request; empty without it."""
        return str(self._rds._p(p, name) or "")

    def _instance(self, action: str, record: Record) -> Reply:
        reply: Reply = self._rds._single_instance_response(f"{action}Response", f"{action}Result", record)
        return reply

    def xml(self, action: str, inner: str) -> Reply:
        """An answer, from what stands between the tags of the action's result."""
        reply: Reply = self._rds._xml(200, f"{action}Response", f"{inner}</{action}Result>")
        return reply

    def refuse(self, code: str, message: str, status: int = 400) -> Reply:
        """An answer that refuses."""
        reply: Reply = self._rds._error(code, message, status)
        return reply
