"""Aurora clusters: a volume and the instances on it. A snapshot or a restore is of the volume."""

from __future__ import annotations

import shutil
import time
from typing import Any

from local_cloud.seams.background import later
from local_cloud.seams.faults import POLL_SECONDS, Faults
from local_cloud.seams.patching import Pinned
from local_cloud.seams.rds_databases import Databases, Parameters, Reply
from local_cloud.seams.rds_servers import copy_directory


class Clusters:
    """What RDS does with clusters; their instances are made and deleted as others are."""

    def __init__(self, rds: Pinned, databases: Databases, faults: Faults) -> None:
        self._rds = rds
        self._databases = databases
        self._faults = faults
        self._own: dict[str, Any] = {
            action: rds._ACTION_MAP.get(action)
            for action in ("CreateDBCluster", "DeleteDBCluster", "CreateDBClusterSnapshot")
        }

    def restore(self, p: Parameters) -> Reply:
        """A volume that is a copy of the snapshot; instances come later, by CreateDBInstance."""
        name, source = self._databases.p(p, "DBClusterIdentifier"), self._databases.p(p, "SnapshotIdentifier")
        snapshot = self._rds._db_cluster_snapshots.get(source)
        if snapshot is None:
            missing = f"DBClusterSnapshot {source} not found."
            return self._databases.refuse("DBClusterSnapshotNotFoundFault", missing, 404)
        if snapshot["Status"] != "available":
            return self._databases.refuse("InvalidDBClusterSnapshotStateFault", f"{source} is not available")
        if refusal := self._databases.unknown_subnet_group(p):
            return refusal
        reply: Reply = self._own["CreateDBCluster"](p)
        if reply[0] != 200:
            return reply
        record = self._rds._clusters[name]
        record["MasterUsername"] = snapshot["MasterUsername"]
        self._databases.inherit_tags(record, record["DBClusterArn"], snapshot)
        record["Status"] = "creating"

        def fill() -> None:
            if self._databases.lost(record, "Status"):
                return
            copy_directory(self._databases.volume("snapshot", source), self._databases.volume("cluster", name))
            if record["Status"] == "creating":
                record["Status"] = "available"

        later(fill)
        inner = f"<RestoreDBClusterFromSnapshotResult><DBCluster>{self._rds._cluster_xml(record)}</DBCluster>"
        return self._databases.xml("RestoreDBClusterFromSnapshot", inner)

    def create_snapshot(self, p: Parameters) -> Reply:
        """A copy of the cluster's volume as it is now."""
        reply: Reply = self._own["CreateDBClusterSnapshot"](p)
        if reply[0] != 200:
            return reply
        name = self._databases.p(p, "DBClusterSnapshotIdentifier")
        record = self._rds._db_cluster_snapshots[name]
        cluster = self._rds._clusters[record["DBClusterIdentifier"]]
        writer = cluster["DBClusterMembers"][0]["DBInstanceIdentifier"]
        self._databases.copied(record, writer, self._databases.volume("snapshot", name), name)
        inner = f"<CreateDBClusterSnapshotResult><DBClusterSnapshot>{self._rds._cluster_snapshot_xml(record)}"
        return self._databases.xml("CreateDBClusterSnapshot", f"{inner}</DBClusterSnapshot>")

    def delete(self, p: Parameters) -> Reply:
        """Once its instances are being deleted; the record goes when they have gone."""
        record = self._rds._clusters.get(self._databases.p(p, "DBClusterIdentifier"))
        if record is None:
            missing: Reply = self._own["DeleteDBCluster"](p)
            return missing
        name = record["DBClusterIdentifier"]
        if record["Status"] == "deleting":
            return self._databases.refuse("InvalidDBClusterStateFault", f"Cluster {name} is already being deleted.")
        if self._faults.take("refuse-delete-cluster"):
            return self._databases.refuse(
                "InvalidDBClusterStateFault", f"Cluster {name} is not in a state to be deleted."
            )
        members = [self._rds._instances.get(one["DBInstanceIdentifier"]) for one in record["DBClusterMembers"]]
        if any(one and one["DBInstanceStatus"] != "deleting" for one in members):
            message = "Cluster cannot be deleted, it still contains DB instances in non-deleting state."
            return self._databases.refuse("InvalidDBClusterStateFault", message)
        record["Status"] = "deleting"

        def end() -> None:
            while record["DBClusterMembers"]:
                time.sleep(POLL_SECONDS)
            shutil.rmtree(self._databases.volume("cluster", name), ignore_errors=True)
            self._own["DeleteDBCluster"](p)

        later(end)
        inner = f"<DeleteDBClusterResult><DBCluster>{self._rds._cluster_xml(record)}</DBCluster>"
        return self._databases.xml("DeleteDBCluster", inner)
