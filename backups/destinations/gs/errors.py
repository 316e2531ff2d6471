"""What Google Cloud Storage and its client report, as errors that a person can act on."""

from __future__ import annotations

import requests
from google.api_core.exceptions import GoogleAPICallError, from_http_response
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError, OAuthError, RefreshError, TransportError

from backups.errors import DeniedError, DestinationError, MissingError, VerificationError

KINDS = (GoogleAPICallError, GoogleAuthError, requests.RequestException)
"""What ``explain`` knows."""

_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_KEYS = "check gs_service_key_file, gs_service_key, gs_service_client_id and gs_service_key_file_password"
_RIGHTS = "give the service account the roles that docs/operations.md names, on this bucket"
_REACH = "check endpoint_url, name service, firewall and proxy"


class NoAwsCredentialsError(DefaultCredentialsError):
    """There are none to exchange for Google's."""


def explain(error: Exception, doing: str) -> DestinationError:
    """``doing`` says where and what, such as ``gs://nightly: a/b can't be listed``."""
    match error:
        case GoogleAPICallError():
            return _answered(error, doing)
        case DefaultCredentialsError():
            return _without_credentials(error, doing)
        case RefreshError() | OAuthError() if _refused(error):
            return DeniedError(f"{doing}: Google refused the credentials: {_said(error)}", hint=_KEYS)
        case requests.exceptions.SSLError():
            return DestinationError(
                f"{doing}: {error}", hint="is the certificate trusted here? REQUESTS_CA_BUNDLE names more authorities"
            )
        case requests.RequestException() | TransportError():
            return DestinationError(f"{doing}: {error}", hint=_REACH)
    said = _said(error) if isinstance(error, GoogleAuthError) else str(error)
    return DestinationError(f"{doing}: {said}", hint=_KEYS)


def explain_response(response: requests.Response, doing: str) -> DestinationError:
    """The same for an answer that is no success."""
    return explain(from_http_response(response), doing)


def _without_credentials(error: DefaultCredentialsError, doing: str) -> DeniedError:
    if isinstance(error, NoAwsCredentialsError):
        return DeniedError(
            f"{doing}: no AWS credentials were found to exchange for Google's",
            hint="run as a role, or where AWS's own tools find an access key",
        )
    return DeniedError(
        f"{doing}: no Google credentials were found",
        hint="give gs_service_key or gs_service_key_file, or run where there is a service account",
    )


def _refused(error: RefreshError | OAuthError) -> bool:
    """Whether it will be the same next time. An exchange only tells by the name that OAuth has for the error."""
    if isinstance(error, RefreshError):
        return not error.retryable
    code = _said(error).removeprefix("Error code ").partition(":")[0]
    return code in (
        "access_denied",
        "invalid_client",
        "invalid_grant",
        "invalid_request",
        "invalid_target",
        "unauthorized_client",
        "unsupported_grant_type",
    )


def _said(error: GoogleAuthError) -> str:
    return str(error.args[0]) if error.args else type(error).__name__


def _answered(error: GoogleAPICallError, doing: str) -> DestinationError:
    status = int(error.code or 0)
    message = _words(error)
    text = f"{doing}: {status}: {message}"
    if status == 400 and any(word in message.lower() for word in ("crc32c", "md5", "hash")):
        return VerificationError(f"{text}: the server received other bytes than were sent")
    if status in (401, 403):
        if "retention" in message.lower() or "hold" in message.lower().split():
            return DestinationError(text, hint="the bucket's retention policy or a hold keeps it", permanent=True)
        return DeniedError(text, hint=_KEYS if status == 401 else _RIGHTS)
    if status in (404, 410):
        return MissingError(text, hint="check bucket and endpoint_url; the bucket is never made here")
    return DestinationError(text, permanent=400 <= status < 500 and status not in _PASSING)


def _words(error: GoogleAPICallError) -> str:
    """Google's own words; the client puts the whole address before them."""
    try:
        return str(error.response.json()["error"]["message"])
    except (AttributeError, KeyError, TypeError, ValueError):
        return " ".join(str(error.message).split())
