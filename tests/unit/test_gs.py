"""What Google answers as errors that people can act on, and the settings of the destination."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests
from google.api_core.exceptions import from_http_response
from google.auth.exceptions import DefaultCredentialsError, RefreshError, TransportError
from pydantic import ValidationError

from backups.destinations.gs.destination import GoogleStorage
from backups.destinations.gs.errors import explain
from backups.errors import DeniedError, DestinationError, MissingError, VerificationError


def answer(status: int, message: str) -> Exception:
    response = requests.Response()
    response.status_code = status
    response._content = json.dumps({"error": {"code": status, "message": message}}).encode()
    response.request = requests.Request("GET", "https://storage.googleapis.com/storage/v1/b/x/o").prepare()
    error: Exception = from_http_response(response)
    return error


@pytest.mark.parametrize(
    ("error", "kind", "permanent"),
    [
        (answer(401, "Invalid Credentials"), DeniedError, True),
        (answer(403, "no storage.objects.create access"), DeniedError, True),
        (answer(403, "Object is subject to bucket's retention policy"), DestinationError, True),
        (answer(403, "Object is under active Temporary hold"), DestinationError, True),
        (answer(404, "The specified bucket does not exist."), MissingError, True),
        (answer(400, "Provided CRC32C a doesn't match calculated CRC32C b"), VerificationError, False),
        (answer(400, "Invalid argument"), DestinationError, True),
        (answer(429, "slow down"), DestinationError, False),
        (answer(408, "timeout"), DestinationError, False),
        (answer(500, "oops"), DestinationError, False),
        (answer(503, "oops"), DestinationError, False),
        (DefaultCredentialsError("none"), DeniedError, True),
        (RefreshError("invalid_grant", {"error": "invalid_grant"}), DeniedError, True),
        (RefreshError("internal_failure", retryable=True), DestinationError, False),
        (TransportError("no route"), DestinationError, False),
        (requests.ConnectionError("refused"), DestinationError, False),
        (requests.Timeout("slow"), DestinationError, False),
        (requests.exceptions.SSLError("self-signed"), DestinationError, False),
    ],
    ids=lambda value: str(value)[:60] if isinstance(value, Exception) else "",
)
def test_each_problem_is_an_error_of_its_kind(error: Exception, kind: type[DestinationError], permanent: bool) -> None:
    told = explain(error, "gs://nightly: a/b can't be stored")
    assert type(told) is kind
    assert told.permanent is permanent
    assert told.message.startswith("gs://nightly: a/b can't be stored: ")


def test_googles_own_words_are_told_without_the_address() -> None:
    told = explain(answer(403, "you lack storage.objects.create access"), "here")
    assert told.message == "here: 403: you lack storage.objects.create access"
    assert "roles" in told.hint


@pytest.mark.parametrize(
    "given",
    [
        {"bucket": "b"},
        {"bucket": "b", "gs_service_key": "{{resolve:secretsmanager:google:SecretString}}"},
        {"bucket": "b", "credentials": {"gs_service_key_file": "/k.p12", "gs_service_client_id": "c"}},
    ],
)
def test_settings(given: dict[str, Any]) -> None:
    assert GoogleStorage.model_validate(given).verify == "checksum"


def test_one_key_only() -> None:
    with pytest.raises(ValidationError, match="not both"):
        GoogleStorage.model_validate({"bucket": "b", "gs_service_key": "{}", "gs_service_key_file": "/k"})
