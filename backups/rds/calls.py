"""What Amazon RDS refuses, in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from backups.aws_calls import refusals, said, way_out
from backups.errors import SourceError

_HINTS = {
    "AccessDenied": "docs/operations.md lists the rights that a source of type 'rds' needs; deploy again if it changed",
    "AccessDeniedException": "docs/operations.md lists the rights that a source of type 'rds' needs",
    "UnauthorizedOperation": "docs/operations.md lists the rights that a source of type 'rds' needs",
    "InvalidParameterCombination": "choose another 'instance_class' that this engine and version may have",
    "InsufficientDBInstanceCapacity": "AWS has no such instance left there: choose another 'instance_class'",
    "InstanceQuotaExceeded": "ask AWS for a higher quota of DB instances, or run fewer sources at once",
    "StorageQuotaExceeded": "ask AWS for a higher quota of storage",
    "DBSubnetGroupNotFoundFault": "correct 'subnet_group'",
    "DBParameterGroupNotFound": "correct 'parameter_group'; its family must be that of the snapshot's engine version",
    "DBClusterParameterGroupNotFound": "correct 'parameter_group'; of a cluster it names a cluster parameter group",
    "InvalidVPCNetworkStateFault": "'security_group' and 'subnet_group' must be of the same VPC",
    "KMSKeyNotAccessibleFault": "let this role use the key that the snapshot is encrypted with: setting 'key_arns'",
    "DBSnapshotNotFound": "was the snapshot removed just now? run the source again",
    "DBClusterSnapshotNotFoundFault": "was the snapshot removed just now? run the source again",
    "InvalidDBSnapshotState": "was the snapshot removed just now? run the source again",
}


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turns a refusal into a SourceError: ``what`` says what was asked for, such as ``restoring snapshot x``."""
    try:
        yield
    except refusals() as error:
        raise explained(error, what) from None


def explained(error: Exception, what: str) -> SourceError:
    """A refusal in plain words."""
    return SourceError(f"Amazon RDS, {what}: {said(error)}", hint=way_out(error, _HINTS))
