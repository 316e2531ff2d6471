"""Calls to Amazon EC2 and RDS: the client, and its refusals in plain words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from backups.errors import SourceError

CONNECT_SECONDS = 10
READ_SECONDS = 30
ATTEMPTS = 6
"""How often a call is made while the service is busy or does not answer; the client waits longer each time."""

_BUSY = frozenset(
    {
        *("RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException"),
        *("Unavailable", "ServiceUnavailable", "InternalError", "InternalFailure", "RequestTimeout"),
    }
)
GONE = frozenset({"InvalidSnapshot.NotFound", "DBSnapshotNotFound", "DBClusterSnapshotNotFoundFault"})
_RIGHTS = "docs/operations.md lists the rights that a source of type 'snapshot' needs; deploy again if it changed"
_TOO_MANY = "let retention remove more, or ask AWS for a higher quota of snapshots"
_WAIT = "it takes a snapshot or changes just now: run the source again later"
_HINTS = {
    "AccessDenied": _RIGHTS,
    "UnauthorizedOperation": _RIGHTS,
    "AuthFailure": "check aws_access_key_id and aws_secret_access_key",
    "InvalidClientTokenId": "check aws_access_key_id",
    "SignatureDoesNotMatch": "check aws_secret_access_key",
    "ExpiredToken": "the temporary credentials have expired: get new ones",
    "RequestExpired": "set this machine's clock",
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
_BUSY_HINT = "the account makes too many calls at this time, or AWS is in trouble: move the schedule, or run it again"


class BusyError(SourceError):
    """AWS does not answer, or asks to be called less often: the same call may be fine in a while."""


@dataclass(frozen=True)
class Login:
    """Whose rights are used; without a key, those of the usual chain."""

    key_id: str = ""
    key: str = ""


def client(service: str, region: str, login: Login) -> Any:
    """A client of ``ec2`` or ``rds``. Raises SourceError for settings that can't be meant."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    keys = {"aws_access_key_id": login.key_id, "aws_secret_access_key": login.key} if login.key_id else {}
    try:
        session = boto3.session.Session(region_name=region or None, **keys)  # type: ignore[arg-type]
        return session.client(service, config=config)  # type: ignore[call-overload]
    except (BotoCoreError, ValueError) as error:
        hint = "give 'region', or set AWS_REGION"
        raise SourceError(f"{service}: {error}", hint=hint) from None


@contextmanager
def asking(doing: str) -> Iterator[None]:
    """Turns a refused call into an error; ``doing`` says what and where. Raises SourceError, BusyError."""
    from botocore import exceptions as aws

    try:
        yield
    except aws.ClientError as error:
        code = code_of(error)
        text = f"{doing}: {code}: {error.response.get('Error', {}).get('Message', '')}"
        if code in _BUSY:
            raise BusyError(text, hint=_BUSY_HINT) from None
        raise SourceError(text, hint=_HINTS.get(code, "")) from error
    except (aws.NoCredentialsError, aws.PartialCredentialsError):
        hint = "give aws_access_key_id and aws_secret_access_key, or run as a user or role that has some"
        raise SourceError(f"{doing}: no AWS credentials were found", hint=hint) from None
    except (aws.ConnectionError, aws.HTTPClientError) as error:
        raise BusyError(f"{doing}: {error}", hint="check region, name service and firewall") from None
    except aws.BotoCoreError as error:
        raise SourceError(f"{doing}: {error}") from None


def code_of(error: BaseException | None) -> str:
    """AWS's own name of an error, also of one that it led to; empty when AWS did not answer."""
    from botocore.exceptions import ClientError

    if isinstance(error, SourceError):
        error = error.__cause__
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""
