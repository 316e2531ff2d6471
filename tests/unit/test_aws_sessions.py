"""Sessions with AWS understand times as its own client does, only quicker."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from botocore.utils import parse_timestamp

from backups.aws_sessions import moment, new_core


@pytest.mark.parametrize(
    "said",
    [
        "2026-11-26T20:20:20.000Z",
        "2026-11-26T20:20:20Z",
        "2026-11-26T20:20:20.123456Z",
        "2026-11-26T20:20:20+02:00",
        "2026-11-26T20:20:20",
        "2026-11-26",
        "Thu, 26 Nov 2026 20:20:20 GMT",
        "1795724420",
        "1795724420.5",
        1795724420,
        1795724420.5,
    ],
)
def test_every_form_of_a_time_means_what_it_means_to_the_client(said: Any) -> None:
    assert moment(said) == parse_timestamp(said)


def test_what_is_no_time_is_an_error() -> None:
    with pytest.raises(ValueError, match="Invalid timestamp"):
        moment("yesterday, more or less")


def test_a_session_s_clients_read_times_so() -> None:
    client: Any = new_core().create_client("s3", region_name="eu-central-1")
    parser = client._endpoint._response_parser_factory.create_parser("rest-xml")
    entry = b"<Contents><LastModified>2026-11-26T20:20:20.000Z</LastModified></Contents>"
    body = b"<ListBucketResult>" + entry + b"</ListBucketResult>"
    shape = client.meta.service_model.operation_model("ListObjectsV2").output_shape
    parsed = parser.parse({"status_code": 200, "headers": {}, "body": body}, shape)
    assert parsed["Contents"][0]["LastModified"] == dt.datetime(2026, 11, 26, 20, 20, 20, tzinfo=dt.UTC)
    assert parser._timestamp_parser is moment
