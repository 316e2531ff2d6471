"""Makes the client of a bucket; nothing is sent yet."""

from __future__ import annotations

import urllib.parse
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError

from backups.aws_sessions import new_core, new_session
from backups.context import Context
from backups.destinations.s3.bucket import CONNECTIONS, Bucket
from backups.destinations.s3.errors import explain
from backups.errors import DeniedError, DestinationError

if TYPE_CHECKING:
    from backups.destinations.s3.destination import S3

CONNECT_SECONDS = 10
READ_SECONDS = 60
ATTEMPTS = 3
"""Those of the client, within seconds; ours come with longer pauses."""

SESSION_NAME = "backups"
"""How the bucket owner's logs call us when a role is taken on."""


def connect(config: S3, context: Context) -> Bucket:
    """Raises DestinationError when the settings can't be meant."""
    try:
        client = _session(config).client(
            "s3",
            region_name=config.region or ("us-east-1" if config.endpoint_url else None),
            endpoint_url=config.endpoint_url or None,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
                max_pool_connections=CONNECTIONS,
                tcp_keepalive=True,
                # Other servers than Amazon's are rarely reached as bucket.host.
                s3={"addressing_style": "path" if config.endpoint_url else "auto"},
                # We give the sums ourselves: the client would read every part once more.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
    except BotoCoreError as error:
        raise explain(error, f"s3://{config.bucket}") from error
    except ValueError as error:  # what the client raises for an address that is none
        raise DestinationError(
            f"s3://{config.bucket}: {error}", hint="check endpoint_url and region", permanent=True
        ) from None
    if config.requester_pays:
        client.meta.events.register("provide-client-params.s3", _we_pay)
    sse = config.sse or ("aws:kms" if config.kms_key_id else "")
    made_with = {
        "StorageClass": config.storage_class,
        "ServerSideEncryption": sse,
        "SSEKMSKeyId": config.kms_key_id,
        "Tagging": urllib.parse.urlencode(config.tags, quote_via=urllib.parse.quote),
    }
    return Bucket(
        client=client,
        name=config.bucket,
        prefix=config.prefix,
        made_with={name: value for name, value in made_with.items() if value},
        lock=config.object_lock or "",
        lock_days=config.object_lock_days or 0,
        most_parts=config.max_parts,
        checksums=config.checksums,
        full=config.verify == "full",
        tmpdir=context.tmpdir,
        cancel=context.cancel,
    )


def _session(config: S3) -> boto3.session.Session:
    """A session of our own, since the shared one is not for threads; with the role, if one is to be taken on."""
    secret = config.aws_secret_access_key
    own = new_session(
        aws_access_key_id=config.aws_access_key_id or None,
        aws_secret_access_key=secret.get_secret_value() if secret else None,
        region_name=config.region or None,
    )
    if not config.role_arn:
        return own
    found = own.get_credentials()
    if found is None:
        raise DeniedError(
            f"s3://{config.bucket}: no AWS credentials were found to take on {config.role_arn}",
            hint="give aws_access_key_id and aws_secret_access_key, or run as a user or role that has some",
        )

    def sts(service: str, **options: Any) -> Any:
        limits = Config(connect_timeout=CONNECT_SECONDS, read_timeout=READ_SECONDS)
        return own.client(service, **options, config=limits)  # type: ignore[call-overload]

    external = {"ExternalId": config.external_id} if config.external_id else {}
    fetcher = AssumeRoleCredentialFetcher(
        sts, found, config.role_arn, extra_args={"RoleSessionName": SESSION_NAME, **external}
    )
    other = new_core()
    # The name is what botocore's own sources of a role's credentials say.
    other._credentials = DeferredRefreshableCredentials(fetcher.fetch_credentials, "assume-role")  # type: ignore[attr-defined]
    return boto3.session.Session(botocore_session=other, region_name=config.region or own.region_name)


def _we_pay(params: dict[str, Any], model: Any, **_: Any) -> None:
    """Added to every request that knows the header."""
    if "RequestPayer" in model.input_shape.members:
        params["RequestPayer"] = "requester"
