"""Calls to Amazon RDS: the client, and its refusals in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from backups.errors import SourceError

CONNECT_SECONDS = 10
READ_SECONDS = 30
ATTEMPTS = 6
"""How often a call is made while the service is busy or does not answer; botocore waits longer each time."""

_BUSY = frozenset(
    {
        *("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException"),
        *("ServiceUnavailable", "InternalFailure", "InternalError", "RequestTimeout", "503", "500"),
    }
)
_HINTS = {
    "AccessDenied": "docs/operations.md lists the rights that a source of type 'rds' needs; deploy again if it changed",
    "AccessDeniedException": "docs/operations.md lists the rights that a source of type 'rds' needs",
    "UnauthorizedOperation": "docs/operations.md lists the rights that a source of type 'rds' needs",
    "InvalidClientTokenId": "check aws_access_key_id",
    "SignatureDoesNotMatch": "check aws_secret_access_key",
    "ExpiredToken": "the temporary credentials have expired: get new ones",
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
    "Throttling": "the account makes too many calls to RDS at this time: move the schedule",
}


def client(service: str, *, region: str = "", key_id: str = "", key: str = "") -> Any:
    """A client of ``rds`` or ``ec2``; without a key, of the usual chain's. Raises SourceError for wrong settings."""
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        raise SourceError(
            "Amazon RDS: boto3 is not installed", hint="install the package with the extra 'aws'"
        ) from None

    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    login = {"aws_access_key_id": key_id, "aws_secret_access_key": key} if key_id else {}
    try:
        session = boto3.session.Session(region_name=region or None, **login)  # type: ignore[arg-type]
        return session.client(service, config=config)  # type: ignore[call-overload]
    except (BotoCoreError, ValueError) as error:
        raise SourceError(f"Amazon RDS: {error}", hint="give 'region'") from None


def code_of(error: Exception) -> str:
    """AWS's name for a refusal; empty when the service did not answer."""
    answer: dict[str, Any] = getattr(error, "response", {})
    return str(answer.get("Error", {}).get("Code", ""))


def is_busy(error: Exception) -> bool:
    """Whether the same call may well succeed a little later: the service is busy, or did not answer."""
    from botocore.exceptions import HTTPClientError

    return code_of(error) in _BUSY or isinstance(error, HTTPClientError)


def refusals() -> tuple[type[Exception], ...]:
    """What a call raises: the service's answer, or that there was none. Not imported before something is called."""
    from botocore.exceptions import BotoCoreError, ClientError

    return (BotoCoreError, ClientError)


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turns a refusal into a SourceError: ``what`` says what was asked for, such as ``restoring snapshot x``."""
    try:
        yield
    except refusals() as error:
        raise explained(error, what) from None


def explained(error: Exception, what: str) -> SourceError:
    """A refusal in plain words."""
    code = code_of(error)
    said = str(getattr(error, "response", {}).get("Error", {}).get("Message", "")) or str(error)
    return SourceError(f"Amazon RDS, {what}: {code + ': ' if code else ''}{said}", hint=_HINTS.get(code, ""))
