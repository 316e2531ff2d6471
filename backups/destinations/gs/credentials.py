"""Google credentials: a JSON key, the old tool's P12 key, workload identity federation, or the machine's own."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import google.auth
import google.auth.aws
import google.auth.crypt
import google.auth.identity_pool
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12
from google.auth.exceptions import GoogleAuthError
from google.oauth2 import service_account

from backups.aws_sessions import new_session
from backups.destinations.gs.errors import NoAwsCredentialsError, explain
from backups.errors import DeniedError, DestinationError

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

    from backups.destinations.gs.destination import GoogleStorage

SCOPES = ["https://www.googleapis.com/auth/devstorage.read_write"]
TOKEN_URL = "https://oauth2.googleapis.com/token"  # noqa: S105 - an address
P12_PASSWORD = "notasecret"  # noqa: S105 - what Google gives every P12 key that it makes
_SEQUENCE = b"\x30"  # with which every P12 key begins
_AWS = "urn:ietf:params:aws:token-type:aws4_request"


def credentials(config: GoogleStorage) -> Credentials:
    """Nothing is sent yet. Raises DeniedError or DestinationError for keys that can't be used."""
    where = f"gs://{config.bucket}"
    try:
        if config.gs_service_key:
            text, about = config.gs_service_key.get_secret_value(), f"{where}: gs_service_key"
            content = _p12_in(text)
            return _from_p12(content, config, about) if content else _from_json(text.encode(), about)
        if config.gs_service_key_file:
            path = Path(config.gs_service_key_file).expanduser()
            about, content = f"{where}: {path}", path.read_bytes()
            return (
                _from_json(content, about) if content.lstrip().startswith(b"{") else _from_p12(content, config, about)
            )
        found, _ = google.auth.default(scopes=SCOPES)
    except OSError as error:
        raise DestinationError(
            f"{where}: {config.gs_service_key_file}: {error.strerror}", hint="check gs_service_key_file", permanent=True
        ) from None
    except GoogleAuthError as error:
        raise explain(error, where) from None
    return found


def _p12_in(text: str) -> bytes:
    """The P12 key that a text in base64 holds; empty for any other text."""
    try:
        content = base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return b""
    return content if content.startswith(_SEQUENCE) else b""


def _from_json(content: bytes, about: str) -> Credentials:
    """A key, or the configuration of a federation. Nothing of the content may show in an error."""
    denied = DeniedError(
        f"{about} is neither a JSON key nor the configuration of a workload identity federation",
        hint="give the file as Google's console or gcloud made it, whole",
    )
    try:
        info = json.loads(content)
        if info.get("type") == "service_account":
            found: Credentials = service_account.Credentials.from_service_account_info(info, scopes=SCOPES)
            return found
        if info.get("type") == "external_account" and info.get("subject_token_type") == _AWS:
            return _from_aws(info)
        if info.get("type") != "external_account":
            raise denied
        other: Credentials = google.auth.identity_pool.Credentials.from_info(info, scopes=SCOPES)
    except (ValueError, TypeError, AttributeError, KeyError, GoogleAuthError):
        raise denied from None
    return other


def _from_aws(info: dict[str, Any]) -> Credentials:
    """AWS credentials as boto3 finds them, such as a task's role, which Google's own code does not look for."""
    return google.auth.aws.Credentials(
        audience=info["audience"],
        subject_token_type=info["subject_token_type"],
        token_url=info["token_url"],
        aws_security_credentials_supplier=_TaskRole(),
        service_account_impersonation_url=info.get("service_account_impersonation_url"),
        scopes=SCOPES,
    )


class _TaskRole(google.auth.aws.AwsSecurityCredentialsSupplier):
    def get_aws_security_credentials(self, context: Any, request: Any) -> google.auth.aws.AwsSecurityCredentials:  # noqa: ARG002
        found = new_session().get_credentials()
        frozen = found.get_frozen_credentials() if found else None
        if not frozen or not frozen.access_key or not frozen.secret_key:
            raise NoAwsCredentialsError
        return google.auth.aws.AwsSecurityCredentials(frozen.access_key, frozen.secret_key, frozen.token)

    def get_aws_region(self, context: Any, request: Any) -> str:  # noqa: ARG002
        return os.environ.get("AWS_REGION") or new_session().region_name or "us-east-1"


def _from_p12(content: bytes, config: GoogleStorage, about: str) -> Credentials:
    given = config.gs_service_key_file_password
    password = given.get_secret_value() if given else P12_PASSWORD
    denied = DeniedError(
        f"{about} is no P12 key, or gs_service_key_file_password is not its password",
        hint="give the password, or take a JSON key instead",
    )
    try:
        key, _, _ = pkcs12.load_key_and_certificates(content, password.encode())
        if key is None:
            raise denied
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        signer = google.auth.crypt.RSASigner.from_string(pem)
    except ValueError:
        raise denied from None
    if not config.gs_service_client_id:
        raise DeniedError(
            f"{about} is a P12 key, which does not say whose it is", hint="give gs_service_client_id beside it"
        )
    return service_account.Credentials(signer, config.gs_service_client_id, TOKEN_URL, scopes=SCOPES)
