"""What Amazon EC2 and RDS refuse about snapshots, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from backups.aws_calls import code_of, is_busy, refusals, said, way_out
from backups.errors import SourceError

GONE = frozenset({"InvalidSnapshot.NotFound", "DBSnapshotNotFound", "DBClusterSnapshotNotFoundFault"})
_RIGHTS = "docs/operations.md lists the rights that a source of type 'snapshot' needs; deploy again if it changed"
_TOO_MANY = "let retention remove more, or ask AWS for a higher quota of snapshots"
_WAIT = "it takes a snapshot or changes just now: run the source again later"
_HINTS = {
    "AccessDenied": _RIGHTS,
    "UnauthorizedOperation": _RIGHTS,
    "InvalidVolume.NotFound": "correct 'volume_id' and the region; was the volume deleted?",
    "InvalidVolumeID.Malformed": "a volume's id looks like vol-0123456789abcdef0",
    "InvalidParameterValue": "correct the id and the region",
    "InvalidInstanceID.NotFound": "correct 'instance_id' and the region; was the instance terminated?",
    "InvalidInstanceID.Malformed": "an instance's id looks like i-0123456789abcdef0",
    "IncorrectState": _WAIT,
    "SnapshotLimitExceeded": _TOO_MANY,
    "SnapshotQuotaExceeded": _TOO_MANY,
    "ResourceLimitExceeded": _TOO_MANY,
    "PendingSnapshotLimitExceeded": "let fewer snapshots be taken at the same time: move the schedule",
    "ConcurrentSnapshotLimitExceeded": "let fewer snapshots of this volume be taken at the same time",
    "ConcurrentCopyingLimitExceeded": "let fewer snapshots be copied at the same time: move the schedule",
    "SnapshotCreationPerVolumeRateExceeded": "this volume had a snapshot only seconds ago: run the source again later",
    "DBInstanceNotFound": "correct 'instancename' and the region; a cluster is named by 'clustername'",
    "DBClusterNotFoundFault": "correct 'clustername' and the region; an instance is named by 'instancename'",
    "InvalidDBInstanceState": _WAIT,
    "InvalidDBClusterStateFault": _WAIT,
    "KMSKeyNotAccessibleFault": "let this role use the key: 'copy_kms_key_id' in the job file",
    "InvalidKmsKey.InvalidState": "the key is disabled or waits for its deletion",
    "InvalidSnapshot.InUse": "an image (AMI) is made of it: deregister that first",
    "OperationNotPermitted": "the snapshot is locked",
    "SnapshotLocked": "the snapshot is locked",
}


class BusyError(SourceError):
    """AWS does not answer, or asks to be called less often: the same call may be fine in a while."""


@contextmanager
def asking(doing: str) -> Iterator[None]:
    """Turns a refused call into an error; ``doing`` says what and where. Raises SourceError, BusyError."""
    try:
        yield
    except refusals() as error:
        kind = BusyError if is_busy(error) else SourceError
        raise kind(f"{doing}: {said(error)}", hint=way_out(error, _HINTS)) from error


def cause_of(error: SourceError) -> str:
    """AWS's own name of the refusal that an error tells of; empty when AWS did not answer."""
    return code_of(error.__cause__)
