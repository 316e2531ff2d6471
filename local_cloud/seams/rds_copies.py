"""Copies of RDS snapshots in another region, which MiniStack has none of: records and data of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from local_cloud.seams.background import later
from local_cloud.seams.faults import Faults
from local_cloud.seams.patching import Pinned
from local_cloud.seams.rds_databases import Databases, Parameters, Reply
from local_cloud.seams.rds_servers import copy_directory


@dataclass(frozen=True)
class _Kind:
    """What instances and clusters call the same thing."""

    element: str
    """Of one snapshot in an answer; begins the names of its fields."""
    resource: str
    """In its ARN."""
    records: str
    xml: str
    missing: str
    taken: str


_INSTANCE = _Kind("DBSnapshot", "snapshot", "_snapshots", "_snapshot_xml",
                  "DBSnapshotNotFound", "DBSnapshotAlreadyExists")  # fmt: skip
_CLUSTER = _Kind("DBClusterSnapshot", "cluster-snapshot", "_db_cluster_snapshots", "_cluster_snapshot_xml",
                 "DBClusterSnapshotNotFoundFault", "DBClusterSnapshotAlreadyExistsFault")  # fmt: skip


class Copies:
    """CopyDBSnapshot and CopyDBClusterSnapshot."""

    def __init__(self, rds: Pinned, databases: Databases, faults: Faults) -> None:
        self._rds = rds
        self._databases = databases
        self._faults = faults

    def copy_instance_s(self, p: Parameters) -> Reply:
        """Of an instance."""
        return self._copy(_INSTANCE, p)

    def copy_cluster_s(self, p: Parameters) -> Reply:
        """Of a cluster."""
        return self._copy(_CLUSTER, p)

    def _copy(self, kind: _Kind, p: Parameters) -> Reply:
        databases, field = self._databases, f"{kind.element}Identifier"
        source, name = databases.p(p, f"Source{field}"), databases.p(p, f"Target{field}")
        records: Any = getattr(self._rds, kind.records)
        _, _, _, region, account, _, old = source.split(":", 6) if source.startswith("arn:") else (*[""] * 6, source)
        found = records.get_scoped(account, region, old) if region else records.get(old)
        if found is None:
            return databases.refuse(kind.missing, f"{source} not found.", 404)
        if found["Status"] != "available":
            return databases.refuse(f"Invalid{kind.element}State", f"{source} is not available")
        if name in records:
            return databases.refuse(kind.taken, f"{name} already exists.")
        here, account = self._rds.get_region(), self._rds.get_account_id()
        arn = f"arn:aws:rds:{here}:{account}:{kind.resource}:{name}"
        record = records[name] = {
            **found,
            field: name,
            f"{kind.element}Arn": arn,
            "SnapshotType": "manual",
            f"Source{field}": source,
            "Status": "copying",
            "PercentProgress": 0,
            "TagList": self._rds._parse_tags(p),
        }
        self._rds._tags[arn] = record["TagList"]
        data = databases.volume("snapshot", old, region or here), databases.volume("snapshot", name)

        def fill() -> None:
            if data[0].exists():
                copy_directory(*data)
            self._faults.wait_while("hold-snapshot")
            record.update(Status="available", PercentProgress=100)

        later(fill)
        inner = f"<Copy{kind.element}Result><{kind.element}>{getattr(self._rds, kind.xml)(record)}</{kind.element}>"
        return databases.xml(f"Copy{kind.element}", inner)
