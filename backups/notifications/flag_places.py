"""Where a flag file is when it is not on this machine: an object in S3, or a file on a host with an SSM agent."""

from __future__ import annotations

from typing import Any

from backups import ssm
from backups.aws_sessions import new_session
from backups.context import Context
from backups.errors import BackupsError, NotificationError
from backups.notifications.base import REQUEST_SECONDS

_WAIT_SECONDS = 45
_HINTS = {
    3: "make the directory on the host",
    4: "choose another 'filename', or remove what is there by hand",
    8: "is the disk of the host full, or mounted read-only?",
}
"""What to do about the exit statuses of infra/host_flag.sh."""

_S3_HINTS = {
    "NoSuchBucket": "make the bucket, or correct 'bucket'",
    "AccessDenied": "whoever tells channels needs s3:PutObject on this key, and the bucket's key",
    "PermanentRedirect": "the bucket is in another region: correct 'region'",
}
_TEMPORARY = frozenset({"SlowDown", "InternalError", "ServiceUnavailable", "RequestTimeout", "ExpiredToken"})


def put_object(bucket: str, key: str, region: str, content: bytes) -> None:
    """Put a flag file into a bucket. Raises NotificationError."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    where = f"flag file s3://{bucket}/{key}"
    once: Any = {"total_max_attempts": 1}  # repetitions are for whoever tells all channels
    config = Config(connect_timeout=REQUEST_SECONDS / 2, read_timeout=REQUEST_SECONDS / 2, retries=once)
    try:
        client = new_session(region_name=region or None).client("s3", config=config)
        client.put_object(Bucket=bucket, Key=key, Body=content, ContentType="text/plain")
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        raise NotificationError(
            f"{where}: S3 refused it: {code}",
            hint=_S3_HINTS.get(code, ""),
            permanent=status < 500 and code not in _TEMPORARY,
        ) from None
    except BotoCoreError as error:
        hint = "are AWS credentials and a region set?"
        raise NotificationError(f"{where}: {type(error).__name__}", hint=hint) from None


def write_on_host(host: str, path: str, context: Context) -> None:
    """Have the agent on a host write a flag file. Raises NotificationError."""
    where = f"flag file {path} on {host}"
    if not context.flag_document:
        hint = "leave 'host' out and run the job there, or give 'bucket'"
        raise NotificationError(f"{where}: only a deployed stack reaches hosts", hint=hint, permanent=True)
    try:
        client = ssm.client()
        node = ssm.find_host(client, host)
        command = ssm.send(client, context.flag_document, node, {"file": ssm.encoded(path)}, about="flag file")
        ended = command.wait(_WAIT_SECONDS)
        if ended is None:
            command.cancel()
    except BackupsError as error:
        raise NotificationError(f"{where}: {error.message}", hint=error.hint) from None
    if ended is None:
        raise NotificationError(f"{where}: the agent has not written it within {_WAIT_SECONDS} s")
    if ended.complaint:
        known = _HINTS.get(ended.code, "") if ended.status == "Failed" else ""
        raise NotificationError(f"{where}: {ended.complaint}", hint=known, permanent=bool(known) and ended.code != 8)
