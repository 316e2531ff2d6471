"""One exchange with a web service: apart, since its library takes long to import and few runs need it."""

from __future__ import annotations

from dataclasses import dataclass

import requests
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.exceptions import HTTPError

from backups.errors import NotificationError
from backups.notifications.base import REQUEST_SECONDS
from backups.notifications.webhook import ANSWER_BYTES, Call

_CERTIFICATE = "is a proxy in between? REQUESTS_CA_BUNDLE names a file with authorities of your own"


@dataclass(frozen=True)
class Answer:
    """What the service said, cut to what may matter of it."""

    status: int
    body: str
    retry_after: str


class _OwnLogin(AuthBase):
    """No login but what the call brings: without this, a ~/.netrc would replace its Authorization header."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def ask(call: Call, session: requests.Session | None) -> Answer:
    """Make a request once. Raises NotificationError when there is no answer."""
    login = HTTPBasicAuth(*(text.encode() for text in call.login)) if call.login else _OwnLogin()
    try:
        with (session or requests).request(
            call.method,
            call.address,
            data=call.body,
            headers={"Content-Type": call.content_type, **call.headers},
            auth=login,
            timeout=REQUEST_SECONDS,
            allow_redirects=False,  # what the request holds is for this service alone
            stream=True,
        ) as response:
            body = response.raw.read(ANSWER_BYTES, decode_content=True) or b""
            return Answer(response.status_code, body.decode(errors="replace"), response.headers.get("Retry-After", ""))
    except requests.Timeout:
        raise NotificationError(f"{call.service}: no answer within {REQUEST_SECONDS} s") from None
    except requests.exceptions.SSLError:
        raise NotificationError(
            f"{call.service}: its certificate can't be trusted", hint=_CERTIFICATE, permanent=True
        ) from None
    except (requests.exceptions.InvalidURL, requests.exceptions.MissingSchema, requests.exceptions.InvalidSchema):
        raise NotificationError(f"{call.service}: '{call.setting}' is no web address", permanent=True) from None
    except (requests.RequestException, HTTPError, OSError, UnicodeError) as error:
        # its text is left out: libraries show the address in it
        raise NotificationError(f"{call.service}: the connection failed ({type(error).__name__})") from None
