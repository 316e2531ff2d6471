"""What S3 reports, as errors that a person can act on."""

from __future__ import annotations

from typing import Any

import pytest
from botocore import exceptions as boto
from pydantic import ValidationError

from backups.context import Context
from backups.destinations.s3.destination import S3
from backups.destinations.s3.errors import explain
from backups.errors import DeniedError, DestinationError, MissingError, VerificationError


def answer(code: str, status: int, message: str = "said so") -> boto.ClientError:
    response: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return boto.ClientError(response, "PutObject")


@pytest.mark.parametrize(
    ("error", "kind", "permanent", "hint"),
    [
        (answer("NoSuchBucket", 404), MissingError, True, "bucket"),
        (answer("NoSuchKey", 404), MissingError, True, ""),
        (answer("AccessDenied", 403), DeniedError, True, "right"),
        (answer("InvalidAccessKeyId", 403), DeniedError, True, "aws_access_key_id"),
        (answer("SignatureDoesNotMatch", 403), DeniedError, True, "aws_secret_access_key"),
        (answer("RequestTimeTooSkewed", 403), DeniedError, True, "clock"),
        (answer("SomethingNew", 403), DeniedError, True, "credentials"),
        (answer("PermanentRedirect", 301), DestinationError, True, "region"),
        (answer("BadDigest", 400), VerificationError, False, ""),
        (answer("InvalidObjectState", 403), DestinationError, True, "archived"),
        (answer("InvalidArgument", 400), DestinationError, True, ""),
        (answer("RequestTimeout", 400), DestinationError, False, ""),
        (answer("SlowDown", 503), DestinationError, False, ""),
        (answer("InternalError", 500), DestinationError, False, ""),
        (answer("Throttled", 429), DestinationError, False, ""),
        (boto.NoCredentialsError(), DeniedError, True, "aws_access_key_id"),
        (boto.EndpointConnectionError(endpoint_url="http://x"), DestinationError, False, "endpoint_url"),
        (boto.ConnectTimeoutError(endpoint_url="http://x"), DestinationError, False, "endpoint_url"),
        (boto.SSLError(endpoint_url="http://x", error=OSError("bad")), DestinationError, False, "AWS_CA_BUNDLE"),
        (boto.ReadTimeoutError(endpoint_url="http://x"), DestinationError, False, ""),
        (boto.ParamValidationError(report="Bucket"), DestinationError, True, "settings"),
    ],
    ids=lambda value: getattr(value, "__name__", "") or str(value)[:30],
)
def test_errors(error: Any, kind: type[DestinationError], permanent: bool, hint: str) -> None:
    found = explain(error, "s3://b: k can't be stored")
    assert type(found) is kind
    assert found.permanent is permanent
    assert hint in found.hint
    assert bool(hint) == bool(found.hint)
    assert found.message.startswith("s3://b: k can't be stored: ")


def test_no_credentials_at_all(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    destination = S3(bucket="bucket", endpoint_url="http://127.0.0.1:9").connect(context)
    with pytest.raises(DeniedError, match="no AWS credentials"):
        list(destination.list(""))


@pytest.mark.parametrize("url", ["not a url", "http://", "ftp//x"])
def test_an_endpoint_that_is_none(context: Context, url: str) -> None:
    with pytest.raises(DestinationError, match=r"s3://bucket: ") as caught:
        S3(bucket="bucket", endpoint_url=url).connect(context)
    assert "endpoint_url" in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "bucket"),
        ({"bucket": ""}, "bucket"),
        ({"bucket": "b", "aws_access_key_id": "a"}, "both"),
        ({"bucket": "b", "credentials": {"aws_secret_access_key": "planted"}}, "both"),
        ({"bucket": "b", "kms_key_id": "k", "sse": "AES256"}, "kms_key_id"),
        ({"bucket": "b", "storage_class": "DEEP_ARCHIVE", "verify": "full"}, "read back"),
        ({"bucket": "b", "checksum": 1}, "checksum"),
    ],
)
def test_settings_that_can_not_be_meant(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem) as caught:
        S3.model_validate(fields)
    assert "planted" not in str(caught.value)


def test_settings_of_the_old_tool() -> None:
    flat = {"id": "x", "type": "s3", "bucket": "b", "region": "eu-west-1", "retention_copies": 7}
    keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
    assert S3.model_validate({**flat, **keys}) == S3.model_validate({**flat, "credentials": keys})


def test_what_objects_are_stored_as(context: Context) -> None:
    from backups.destinations.s3.connect import connect

    assert connect(S3(bucket="b", region="eu-west-1"), context).stored_as() == {}
    config = S3(bucket="b", region="eu-west-1", kms_key_id="alias/backups", storage_class="GLACIER_IR")
    assert connect(config, context).stored_as() == {
        "StorageClass": "GLACIER_IR",
        "ServerSideEncryption": "aws:kms",
        "SSEKMSKeyId": "alias/backups",
    }
