"""A bucket and the connections to reach it: what an upload, a listing and a reader share."""

from __future__ import annotations

import logging
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import requests
from google.auth.transport.requests import AuthorizedSession
from google.cloud import storage
from requests.adapters import HTTPAdapter

from backups.context import Cancel, Context
from backups.destinations.gs.credentials import credentials
from backups.destinations.gs.errors import KINDS, explain

if TYPE_CHECKING:
    from backups.destinations.gs.destination import GoogleStorage

log = logging.getLogger("backups.destinations.gs")

GOOGLE = "https://storage.googleapis.com"
SECONDS = (10.0, 60.0)
"""To connect, and between two bytes of an answer."""
CONNECTIONS = 20


@dataclass(frozen=True)
class Bucket:
    """One open connection to a bucket, and how objects are stored there."""

    client: storage.Client
    session: AuthorizedSession
    url: str
    name: str
    prefix: str
    storage_class: str
    kms_key_name: str
    full: bool
    """Whether to read every object back."""
    cancel: Cancel

    def about(self, key: str, what: str) -> str:
        """How messages begin."""
        return f"gs://{self.name}: {self.prefix}{key} {what}"

    @contextmanager
    def errors(self, key: str, what: str) -> Iterator[None]:
        """Turns the client's errors into ours."""
        try:
            yield
        except KINDS as error:
            raise explain(error, self.about(key, what)) from error

    def blob(self, key: str) -> Any:
        """The object in terms of the client."""
        return self.client.bucket(self.name).blob(self.prefix + key)

    def media_url(self, key: str) -> str:
        """Where an object's bytes are."""
        bucket, name = (urllib.parse.quote(text, safe="") for text in (self.name, self.prefix + key))
        return f"{self.url}/download/storage/v1/b/{bucket}/o/{name}"

    def request(self, method: str, url: str, **options: Any) -> requests.Response:
        """Ask with the bucket's credentials. Raises what ``errors`` turns into ours."""
        answer: requests.Response = self.session.request(method, url, **{"timeout": SECONDS, **options})
        return answer


def connect(config: GoogleStorage, context: Context) -> Bucket:
    """Nothing is sent yet. Raises DestinationError for settings that can't be meant."""
    url = config.endpoint_url.rstrip("/") or GOOGLE
    found = credentials(config)
    session = AuthorizedSession(found)
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
    client = storage.Client(project=None, credentials=found, _http=session, client_options={"api_endpoint": url})
    return Bucket(
        client=client,
        session=session,
        url=url,
        name=config.bucket,
        prefix=config.prefix,
        storage_class=config.storage_class,
        kms_key_name=config.kms_key_name,
        full=config.verify == "full",
        cancel=context.cancel,
    )
