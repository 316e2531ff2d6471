"""A temporary instance made from a snapshot: restored, waited for, dumped by others, and removed whatever happened.

Its name is chosen before the first call, so that it can be removed even when the answer to that call was lost.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from backups.aws_calls import as_list, as_mapping, code_of, is_busy, refusals
from backups.context import Context
from backups.errors import BackupsError, SourceError
from backups.rds.calls import explained
from backups.rds.naming import RUN_TAG
from backups.rds.placement import Placement
from backups.rds.removal import RefusedError, remove
from backups.rds.snapshots import Snapshot

log = logging.getLogger("backups.rds")

PATIENCE_SECONDS = 300.0
"""How long RDS is asked again to delete while it refuses."""

STOPPING_SECONDS = 40.0
"""The same when the work must stop: a task on Fargate has two minutes in all."""

_FIRST_POLL, _LONGEST_POLL = 0.5, 20.0
_STEP = 0.2  # how long a wait may not notice that the work must stop
_TAKEN = frozenset({"DBInstanceAlreadyExists", "DBClusterAlreadyExistsFault"})
_LOST = frozenset({"failed", "deleting", "deleted", "stopped", "stopping", "storage-full", "restore-error"})
_LOST_BEGINNINGS = ("incompatible-", "inaccessible-", "insufficient-")


@dataclass(frozen=True)
class Endpoint:
    """Where a server is reached."""

    host: str
    port: int


@dataclass
class Temporary:
    """One temporary instance, in an Aurora cluster of its own when its snapshot is of one."""

    rds: Any
    name: str
    snapshot: Snapshot
    placement: Placement
    tags: Mapping[str, str]
    context: Context
    limit: float
    """Seconds that it may take until the instance is available."""
    _begun: bool = field(default=False, init=False)
    _deadline: float = field(default=0.0, init=False)

    def restore(self) -> Endpoint:
        """Make it and wait until it is available. Raises SourceError or StoppedError; ``remove`` it in any case."""
        self._deadline = time.monotonic() + self.limit
        self.context.cancel.check()
        if self.snapshot.database.cluster:
            self._call(self.rds.restore_db_cluster_from_snapshot, self._of_cluster())
            self._available("cluster")
            self._call(self.rds.create_db_instance, self._of_member())
        else:
            self._call(self.rds.restore_db_instance_from_db_snapshot, self._of_instance())
        endpoint = self._available("instance")["Endpoint"]
        return Endpoint(str(endpoint["Address"]), int(endpoint["Port"]))

    def remove(self) -> None:
        """Delete it, if it may be there. Raises RefusedError when RDS did not agree within the patience."""
        if self._begun:
            remove(self.rds, self.name, cluster=self.snapshot.database.cluster, patience=self._patience)
            self._begun = False

    def _patience(self) -> float:
        return STOPPING_SECONDS if self.context.cancel.stopped else PATIENCE_SECONDS

    def _common(self) -> dict[str, Any]:
        common: dict[str, Any] = {
            "CopyTagsToSnapshot": False,
            "DeletionProtection": False,
            "Tags": as_list(self.tags),
        }
        if self.placement.subnet_group:
            common["DBSubnetGroupName"] = self.placement.subnet_group
        if self.placement.security_groups:
            common["VpcSecurityGroupIds"] = list(self.placement.security_groups)
        return common

    def _of_instance(self) -> dict[str, Any]:
        groups = {"DBParameterGroupName": self.placement.parameter_group} if self.placement.parameter_group else {}
        return {
            "DBInstanceIdentifier": self.name,
            "DBSnapshotIdentifier": self.snapshot.id,
            "DBInstanceClass": self.placement.instance_class,
            "BackupRetentionPeriod": 0,
            "PubliclyAccessible": False,
            "MultiAZ": False,
            "AutoMinorVersionUpgrade": False,
            **groups,
            **self._common(),
        }

    def _of_cluster(self) -> dict[str, Any]:
        group = self.placement.parameter_group
        return {
            "DBClusterIdentifier": self.name,
            "SnapshotIdentifier": self.snapshot.id,
            "Engine": self.snapshot.engine,
            "EngineVersion": self.snapshot.version,
            "BackupRetentionPeriod": 1,  # Aurora's least; its backups go with the cluster
            **({"DBClusterParameterGroupName": group} if group else {}),
            **self._common(),
        }

    def _of_member(self) -> dict[str, Any]:
        return {
            "DBInstanceIdentifier": self.name,
            "DBClusterIdentifier": self.name,
            "DBInstanceClass": self.placement.instance_class,
            "Engine": self.snapshot.engine,
            "PubliclyAccessible": False,
            "AutoMinorVersionUpgrade": False,
            "Tags": as_list(self.tags),
        }

    def _call(self, operation: Any, arguments: dict[str, Any]) -> None:
        self._begun = True
        try:
            operation(**arguments)
        except refusals() as error:
            # The client repeats a call whose answer was lost: then the name is taken, by ourselves.
            if code_of(error) in _TAKEN and self._ours():
                return
            if code_of(error) in _TAKEN:
                self._begun = False  # somebody else's: never to be deleted here
            raise explained(error, f"restoring snapshot {self.snapshot.id} as {self.name}") from None

    def _ours(self) -> bool:
        kind = "cluster" if self.snapshot.database.cluster else "instance"
        with contextlib.suppress(*refusals()):
            return as_mapping(self._described(kind).get("TagList", [])).get(RUN_TAG) == self.tags[RUN_TAG]
        return False

    def _described(self, kind: str) -> dict[str, Any]:
        if kind == "cluster":
            cluster: dict[str, Any] = self.rds.describe_db_clusters(DBClusterIdentifier=self.name)["DBClusters"][0]
            return {**cluster, "DBInstanceStatus": cluster["Status"]}
        instance: dict[str, Any] = self.rds.describe_db_instances(DBInstanceIdentifier=self.name)["DBInstances"][0]
        return instance

    def _available(self, kind: str) -> dict[str, Any]:
        """Wait for the state ``available``; what a state on the way to nowhere means is said at once."""
        poll, seen, began = _FIRST_POLL, "", time.monotonic()
        while True:
            found = self._looked_at(kind)
            status = str(found.get("DBInstanceStatus", "")) or seen
            if status == "available":
                return found
            if status != seen:
                log.info("%s %s of snapshot %s: %s", kind, self.name, self.snapshot.id, status)
            if status in _LOST or status.startswith(_LOST_BEGINNINGS):
                raise self._lost(kind, status)
            if time.monotonic() > self._deadline:
                raise SourceError(
                    f"{kind} {self.name} of snapshot {self.snapshot.id} was not available after {self.limit:.0f} s: "
                    f"its state is '{status or 'unknown'}'",
                    hint="raise 'restore_limit' in the job file if it really takes longer",
                )
            seen = status
            self.context.task.tell(f"restoring: {status or 'waiting'}, {(time.monotonic() - began) / 60:.0f} min")
            self._sleep(poll)
            poll = min(1.5 * poll, _LONGEST_POLL)

    def _looked_at(self, kind: str) -> dict[str, Any]:
        """What RDS says; nothing while it is busy, since the next look will do as well."""
        try:
            return self._described(kind)
        except refusals() as error:
            if not is_busy(error):
                raise explained(error, f"waiting for {kind} {self.name}") from None
            log.warning("waiting for %s %s: %s", kind, self.name, error)
            return {}

    def _lost(self, kind: str, status: str) -> SourceError:
        hints = {
            "incompatible-parameters": "'parameter_group' does not fit the snapshot's engine version",
            "incompatible-network": "'subnet_group' has no room or has lost its subnets",
            "inaccessible-encryption-credentials": "the key that the snapshot is encrypted with can't be used any more",
        }
        look = f"aws rds describe-events --source-type db-{kind} --source-identifier {self.name} tells more for 14 days"
        return SourceError(
            f"restoring snapshot {self.snapshot.id} failed: {kind} {self.name} is in the state '{status}'",
            hint="; ".join(text for text in (hints.get(status, ""), look) if text),
        )

    def _sleep(self, seconds: float) -> None:
        """Notice within a moment that the work must stop. No event: a signal's handler could not set one safely."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.context.cancel.check()
            time.sleep(min(left, _STEP))
        self.context.cancel.check()


def still_there(name: str, error: RefusedError) -> str:
    """What a report says of an instance that could not be removed."""
    return (
        f"temporary instance {name} is still there and costs money, since Amazon RDS refused to delete it: {error}; "
        "the janitor of the stack tries again every hour"
    )


@contextlib.contextmanager
def removed_on_error(temporary: Temporary) -> Iterator[None]:
    """Remove it when the block fails; a refusal goes into the error's hint, so that the report tells of it."""
    try:
        yield
    except BaseException as error:
        try:
            temporary.remove()
        except RefusedError as refused:
            log.warning("%s", still_there(temporary.name, refused))
            if isinstance(error, BackupsError):
                error.hint = "; ".join(filter(None, (error.hint, still_there(temporary.name, refused))))
        raise
