"""Makes the client of a bucket; nothing is sent yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from backups.context import Context
from backups.destinations.s3_bucket import Bucket
from backups.destinations.s3_errors import explain
from backups.errors import DestinationError

if TYPE_CHECKING:
    from backups.destinations.s3 import S3

CONNECT_SECONDS = 10
READ_SECONDS = 60
CONNECTIONS = 20


def connect(config: S3, context: Context) -> Bucket:
    """Raises DestinationError when the settings can't be meant."""
    secret = config.aws_secret_access_key
    try:
        client = boto3.session.Session().client(  # a session of our own: the shared one is not for threads
            "s3",
            region_name=config.region or ("us-east-1" if config.endpoint_url else None),
            endpoint_url=config.endpoint_url or None,
            aws_access_key_id=config.aws_access_key_id or None,
            aws_secret_access_key=secret.get_secret_value() if secret else None,
            config=Config(
                connect_timeout=CONNECT_SECONDS,
                read_timeout=READ_SECONDS,
                retries={"mode": "standard", "total_max_attempts": 3},
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
    sse = config.sse or ("aws:kms" if config.kms_key_id else "")
    stored_as = {"StorageClass": config.storage_class, "ServerSideEncryption": sse, "SSEKMSKeyId": config.kms_key_id}
    return Bucket(
        client=client,
        name=config.bucket,
        prefix=config.prefix,
        stored_as={name: value for name, value in stored_as.items() if value},
        checksums=config.checksums,
        full=config.verify == "full",
        tmpdir=context.tmpdir,
        cancel=context.cancel,
    )
