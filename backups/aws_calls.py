"""Calls to AWS: clients that end within a minute or two, refusals in plain words, and tags.

What a service's own refusals ask for stands beside its use; here is what all of them have in common.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from backups.aws_sessions import new_session
from backups.errors import SourceError

CONNECT_SECONDS = 10
READ_SECONDS = 30
ATTEMPTS = 6
"""How often a call is made while the service is busy or does not answer; the client waits longer each time."""

_TITLES = {"ec2": "Amazon EC2", "rds": "Amazon RDS"}
_BUSY = frozenset(
    {
        *("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "RequestTimeout"),
        *("Unavailable", "ServiceUnavailable", "InternalError", "InternalFailure", "503", "500"),
    }
)
_HINTS = {
    "InvalidClientTokenId": "check aws_access_key_id",
    "SignatureDoesNotMatch": "check aws_secret_access_key",
    "AuthFailure": "check aws_access_key_id and aws_secret_access_key",
    "ExpiredToken": "the temporary credentials have expired: get new ones",
    "RequestExpired": "set this machine's clock",
}
_BUSY_HINT = "the account makes too many calls at this time, or AWS is in trouble: move the schedule, or run it again"


@dataclass(frozen=True)
class Login:
    """Whose rights are used; without a key, those of AWS's usual chain."""

    key_id: str = ""
    key: str = ""


def client(service: Literal["ec2", "rds"], region: str = "", login: Login | None = None) -> Any:
    """A client of a service; without a region, of the environment's. Raises SourceError for wrong settings."""
    try:
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError:
        hint = "install the package with the extra 'aws'"
        raise SourceError(f"{_TITLES[service]}: boto3 is not installed", hint=hint) from None

    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
    )
    keys = {"aws_access_key_id": login.key_id, "aws_secret_access_key": login.key} if login and login.key_id else {}
    try:
        session = new_session(region_name=region or None, **keys)
        return session.client(service, config=config)
    except (BotoCoreError, ValueError) as error:
        raise SourceError(f"{_TITLES[service]}: {error}", hint="give 'region', or set AWS_REGION") from None


def refusals() -> tuple[type[Exception], ...]:
    """What a call raises: the service's answer, or that there was none. Not imported before something is called."""
    from botocore.exceptions import BotoCoreError, ClientError

    return (BotoCoreError, ClientError)


def code_of(error: BaseException | None) -> str:
    """AWS's name for a refusal; empty when the service did not answer."""
    answer: dict[str, Any] = getattr(error, "response", {})
    return str(answer.get("Error", {}).get("Code", ""))


def is_busy(error: Exception) -> bool:
    """Whether the same call may well succeed a little later: the service is busy, or did not answer."""
    from botocore.exceptions import ConnectionError as NotConnectedError
    from botocore.exceptions import HTTPClientError

    return code_of(error) in _BUSY or isinstance(error, (HTTPClientError, NotConnectedError))


def said(error: Exception) -> str:
    """A refusal in AWS's own words, its name first."""
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError

    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return "no AWS credentials were found"
    code = code_of(error)
    message = str(getattr(error, "response", {}).get("Error", {}).get("Message", "")) or str(error)
    return f"{code}: {message}" if code else message


def way_out(error: Exception, own: Mapping[str, str]) -> str:
    """What to do about a refusal; ``own`` are the hints of one service by AWS's names, which come first."""
    from botocore.exceptions import NoCredentialsError, PartialCredentialsError

    if isinstance(error, (NoCredentialsError, PartialCredentialsError)):
        return "give aws_access_key_id and aws_secret_access_key, or run as a user or role that has some"
    code = code_of(error)
    hint = own.get(code) or _HINTS.get(code)
    if hint is None and is_busy(error):
        return _BUSY_HINT if code else "check region, name service and firewall"
    return hint or ""


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as AWS takes them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def as_mapping(tags: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """Tags as AWS lists them, by name."""
    return {tag["Key"]: tag.get("Value", "") for tag in tags or ()}
