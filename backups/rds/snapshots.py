"""Which snapshot of a database to restore."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from backups.aws_calls import code_of
from backups.errors import SourceError
from backups.rds.calls import asking

AUTOMATED, MANUAL = "automated", "manual"
OLD = dt.timedelta(hours=36)
"""RDS takes an automated snapshot every day; a newest one that is older than this is worth a warning."""

_MYSQL = ("mysql", "mariadb", "aurora", "aurora-mysql")
_POSTGRESQL = ("postgres", "aurora-postgresql")


@dataclass(frozen=True)
class Database:
    """What is backed up: an instance, or an Aurora cluster."""

    name: str
    cluster: bool = False

    def __str__(self) -> str:
        return f"{'cluster' if self.cluster else 'instance'} '{self.name}'"


@dataclass(frozen=True)
class Snapshot:
    """A snapshot that can be restored."""

    id: str
    database: Database
    engine: str
    version: str
    taken: dt.datetime

    @property
    def family(self) -> Literal["mysql", "pgsql"]:
        """Whose programs dump it."""
        return "mysql" if self.engine in _MYSQL else "pgsql"

    def __str__(self) -> str:
        return f"{self.id} of {self.taken.astimezone(dt.UTC):%Y-%m-%d %H:%M} UTC"


def choose(rds: Any, database: Database, wanted: str) -> Snapshot:
    """The newest available snapshot of the kind ``automated`` or ``manual``, or the one of that name.

    Raises SourceError that says what there is instead.
    """
    found = _listed(rds, database, wanted)
    available = [one for one in found if one["Status"] == "available"]
    if not available:
        raise _nothing(rds, database, wanted, found)
    snapshot = _snapshot(max(available, key=_taken), database)
    if snapshot.engine not in (*_MYSQL, *_POSTGRESQL):
        raise SourceError(
            f"snapshot {snapshot.id} of {database} is of the engine '{snapshot.engine}', which nothing here can dump",
            hint="MySQL, MariaDB, PostgreSQL and Aurora can be dumped; of others take snapshots: type 'snapshot'",
        )
    if database.cluster != snapshot.engine.startswith("aurora"):
        raise SourceError(
            f"snapshot {snapshot.id} of {database} is of the engine '{snapshot.engine}'",
            hint="'clustername' is for Aurora clusters, 'instancename' for everything else",
        )
    return snapshot


def age_warnings(snapshot: Snapshot, wanted: str, now: dt.datetime) -> list[str]:
    """Says so when automated snapshots seem to have stopped: the copy is as old as its snapshot."""
    age = now - snapshot.taken
    if wanted != AUTOMATED or age < OLD:
        return []
    days = age.total_seconds() / 86_400
    return [f"the newest automated snapshot that is available is {days:.1f} days old: {snapshot}"]


def _listed(rds: Any, database: Database, wanted: str) -> list[dict[str, Any]]:
    kind = "Cluster" if database.cluster else ""
    owner = "DBClusterIdentifier" if database.cluster else "DBInstanceIdentifier"
    named = wanted not in (AUTOMATED, MANUAL)
    chosen = {f"DB{kind}SnapshotIdentifier": wanted} if named else {owner: database.name, "SnapshotType": wanted}
    operation = "describe_db_cluster_snapshots" if database.cluster else "describe_db_snapshots"
    with asking(f"looking for snapshots of {database}"):
        try:
            pages = rds.get_paginator(operation).paginate(**chosen)
            found = [one for page in pages for one in page[f"DB{kind}Snapshots"]]
        except rds.exceptions.ClientError as error:
            if code_of(error) not in ("DBSnapshotNotFound", "DBClusterSnapshotNotFoundFault"):
                raise
            return []
    others = sorted({one[owner] for one in found} - {database.name})
    if others:
        raise SourceError(
            f"snapshot {wanted} is of '{others[0]}', not of {database}", hint="correct 'snapshot' in the job file"
        )
    return found


def _nothing(rds: Any, database: Database, wanted: str, found: Sequence[dict[str, Any]]) -> SourceError:
    what = f"{wanted} snapshot of {database}" if wanted in (AUTOMATED, MANUAL) else f"snapshot {wanted} of {database}"
    if found:
        states = ", ".join(f"{_id(one, database)} is {one['Status']}" for one in found)
        return SourceError(f"no {what} is available yet: {states}", hint="run the source later, when it is available")
    if wanted != AUTOMATED:
        return SourceError(f"there is no {what}", hint="correct 'snapshot' in the job file, or make one")
    return SourceError(f"there is no {what}", hint=_why(rds, database))


def _why(rds: Any, database: Database) -> str:
    """Why there may be no automated snapshot; looks at the live database, if it still exists."""
    live = live_instance(rds, database.name) if not database.cluster else None
    if database.cluster:
        return "correct 'clustername' and 'region'; a new cluster has its first snapshot within a day"
    if live is None:
        return "there is no such instance: correct 'instancename' and 'region'; of an Aurora cluster give 'clustername'"
    if member_of := live.get("DBClusterIdentifier"):
        return f'it belongs to a cluster: write "clustername": "{member_of}" in the place of \'instancename\''
    if not live.get("BackupRetentionPeriod"):
        return "its automated backups are switched off: set its backup retention period to a day or more"
    return "a new instance has its first snapshot within a day"


def live_instance(rds: Any, name: str) -> dict[str, Any] | None:
    """What RDS says of the database's own instance; None when it exists no more, as when only snapshots are left."""
    with asking(f"looking at instance '{name}'"):
        try:
            found: dict[str, Any] = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"][0]
        except rds.exceptions.DBInstanceNotFoundFault:
            return None
    return found


def live_cluster(rds: Any, name: str) -> dict[str, Any] | None:
    """The same of an Aurora cluster."""
    with asking(f"looking at cluster '{name}'"):
        try:
            found: dict[str, Any] = rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]
        except rds.exceptions.DBClusterNotFoundFault:
            return None
    return found


def _snapshot(one: dict[str, Any], database: Database) -> Snapshot:
    return Snapshot(_id(one, database), database, one["Engine"], one.get("EngineVersion", ""), _taken(one))


def _id(one: dict[str, Any], database: Database) -> str:
    return str(one["DBClusterSnapshotIdentifier" if database.cluster else "DBSnapshotIdentifier"])


def _taken(one: dict[str, Any]) -> dt.datetime:
    """A snapshot that has only begun may have no time yet."""
    taken: dt.datetime = one.get("SnapshotCreateTime") or dt.datetime.min.replace(tzinfo=dt.UTC)
    return taken
