"""What S3 and its client report, as errors that a person can act on."""

from __future__ import annotations

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    ProxyConnectionError,
    SSLError,
)

from backups.errors import DeniedError, DestinationError, MissingError, VerificationError

_MISSING = {
    "NoSuchBucket": "check bucket, region and endpoint_url; the bucket is never made here",
    "NoSuchKey": "",
    "NoSuchVersion": "",
    "404": "",
}
_DENIED = {
    "AccessDenied": "give the key or role the right to do this, and check the policies of the bucket and its KMS key",
    "AllAccessDisabled": "the bucket's owner has disabled it",
    "AccountProblem": "ask AWS what is wrong with the account",
    "InvalidAccessKeyId": "check aws_access_key_id",
    "SignatureDoesNotMatch": "check aws_secret_access_key",
    "AuthorizationHeaderMalformed": "check region and aws_access_key_id",
    "ExpiredToken": "the temporary credentials have expired: get new ones",
    "InvalidToken": "get new temporary credentials",
    "RequestTimeTooSkewed": "set this machine's clock",
    "403": "check the credentials, and the policies of the bucket",
    "401": "check the credentials",
}
_ROLE = "check role_arn and external_id, that the role trusts us, and that we may take it on (sts:AssumeRole)"
_ELSEWHERE = "the bucket is in another region: set region"
_REFUSED = {
    "PermanentRedirect": _ELSEWHERE,
    "TemporaryRedirect": _ELSEWHERE,
    "IllegalLocationConstraintException": _ELSEWHERE,
    "301": _ELSEWHERE,
    "InvalidObjectState": "it is archived: restore it in S3 first",
}
_CORRUPT = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})


def code_of(error: Exception) -> str:
    """S3's own name for an error; empty when the server did not answer."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def explain(error: BotoCoreError | ClientError, doing: str) -> DestinationError:
    """``doing`` says where and what, such as ``s3://nightly: a/b can't be listed``."""
    if isinstance(error, ClientError):
        return _answered(error, doing)
    match error:
        case NoCredentialsError() | PartialCredentialsError():
            return DeniedError(
                f"{doing}: no AWS credentials were found",
                hint="give aws_access_key_id and aws_secret_access_key, or run as a user or role that has some",
            )
        case EndpointConnectionError() | ConnectTimeoutError() | ProxyConnectionError():
            return DestinationError(f"{doing}: {error}", hint="check endpoint_url, region, name service and firewall")
        case SSLError():
            return DestinationError(
                f"{doing}: {error}", hint="is the certificate trusted here? AWS_CA_BUNDLE names more authorities"
            )
        case ParamValidationError():
            return DestinationError(f"{doing}: {error}", hint="check the destination's settings", permanent=True)
    return DestinationError(f"{doing}: {error}")


def _answered(error: ClientError, doing: str) -> DestinationError:
    code = code_of(error)
    said = error.response.get("Error", {}).get("Message", "")
    text = f"{doing}: {code}" + (f": {said}" if said else "")
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code in _MISSING:
        return MissingError(text, hint=_MISSING[code])
    if code in _REFUSED:
        return DestinationError(text, hint=_REFUSED[code], permanent=True)
    if code in _DENIED or status in (401, 403):
        return DeniedError(
            text, hint=_ROLE if error.operation_name == "AssumeRole" else _DENIED.get(code, _DENIED["403"])
        )
    if code in _CORRUPT:
        return VerificationError(f"{text}: the server received other bytes than were sent")
    # 400 and the like won't be better next time; too many requests, or too slow ones, will.
    lasting = 400 <= status < 500 and code not in ("RequestTimeout", "SlowDown") and status not in (408, 409, 429)
    return DestinationError(text, permanent=lasting)
