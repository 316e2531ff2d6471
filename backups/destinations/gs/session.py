"""Google's resumable upload: chunks go to the address of a session, and only the last one makes an object."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import requests

from backups.destinations.gs.bucket import Bucket, log
from backups.destinations.gs.errors import explain_response
from backups.destinations.retrying import Attempts, GivenUp, again
from backups.errors import BackupsError, DestinationError, MissingError, VerificationError

UNIT = 256 << 10
"""Chunks must be multiples of it, but for the last."""

_PIECE = 64 << 10  # each has the time limit of its own that a whole chunk would be too slow for
_TOKEN = "backups-upload"  # noqa: S105 - metadata that tells our object from another of the same name
_ABORT_SECONDS = (5.0, 10.0)


class Session:
    """One upload. Used by one thread at a time."""

    def __init__(self, bucket: Bucket, key: str, given_up: GivenUp) -> None:
        """Nothing is sent yet."""
        self._bucket = bucket
        self._key = key
        self._given_up = given_up
        self._token = secrets.token_hex(16)
        self._url = ""
        self._sent = 0

    def put(self, chunk: bytes, *, last: bool = False, crc32c: str = "") -> dict[str, Any]:
        """Send the next bytes; the last ones with their sum make the object, which is returned as Google tells of it.

        Raises DestinationError, StoppedError.
        """
        if not self._url:
            self._url = again(self._start, self._given_up)
        end = self._sent + len(chunk)
        total = str(end) if last else "*"
        sums = {"X-Goog-Hash": f"crc32c={crc32c}"} if last else {}
        at, asking, got_on, attempts = self._sent, False, False, Attempts(self._given_up)
        while True:
            self._given_up.check()
            try:
                answer = self._send(b"" if asking else chunk[at - self._sent :], at, total, sums)
            except MissingError as error:
                if last and (found := self._finished()):
                    return found
                raise DestinationError(self._about("can't be stored: Google has forgotten the upload")) from error
            except DestinationError as error:
                error.permanent |= isinstance(error, VerificationError)  # the sum is the caller's
                attempts.failed(error, got_on=got_on)
                asking, got_on = True, False  # how far it came has to be asked for
                continue
            if answer.status_code != requests.codes.permanent_redirect:
                return dict(answer.json())
            persisted = _persisted(answer)
            if persisted == end and not last:
                self._sent = end
                return {}
            if not self._sent <= persisted <= end or (persisted == at and not asking):
                raise DestinationError(self._about(f"can't be stored: Google has {persisted} bytes of {end}"))
            got_on |= persisted > at
            at, asking = persisted, False

    @property
    def is_open(self) -> bool:
        """Whether Google knows of the upload, and we know where."""
        return bool(self._url)

    def cancel(self) -> None:
        """Let Google forget what was sent. Never raises."""
        if not self._url:
            return
        problem = ""
        try:
            with self._bucket.errors(self._key, "can't be aborted"):
                answer = self._bucket.request("DELETE", self._url, timeout=_ABORT_SECONDS)
            if answer.status_code not in (204, 404, 410, 499):
                problem = self._about(f"can't be aborted: {answer.status_code}")
        except BackupsError as error:
            problem = str(error)
        if problem:
            log.warning("%s; Google removes what was sent after a week", problem)
        self._url = ""

    def _start(self) -> str:
        blob = self._bucket.blob(self._key)
        blob.metadata = {_TOKEN: self._token}
        if self._bucket.storage_class:
            blob.storage_class = self._bucket.storage_class
        if self._bucket.kms_key_name:
            blob.kms_key_name = self._bucket.kms_key_name
        with self._bucket.errors(self._key, "can't be stored"):
            return str(
                blob.create_resumable_upload_session(
                    content_type="application/octet-stream", client=self._bucket.client, checksum=None, retry=None
                )
            )

    def _send(self, data: bytes, at: int, total: str, sums: dict[str, str]) -> requests.Response:
        """Without data it only asks how far the upload came, or says that this was all."""
        span = f"{at}-{at + len(data) - 1}" if data else "*"
        with self._bucket.errors(self._key, "can't be stored"):
            answer = self._bucket.request(
                "PUT",
                self._url,
                data=_Body(data, self._given_up) if data else b"",
                headers={"Content-Range": f"bytes {span}/{total}", **sums},
                allow_redirects=False,
            )
        if answer.status_code in (200, 201, 308):
            return answer
        raise explain_response(answer, self._about("can't be stored"))

    def _finished(self) -> dict[str, Any] | None:
        """The object, if the answer to our last request was lost and it is there."""
        with suppress(DestinationError), self._bucket.errors(self._key, "can't be looked at"):
            blob = self._bucket.client.bucket(self._bucket.name).get_blob(self._bucket.prefix + self._key)
            if blob and (blob.metadata or {}).get(_TOKEN) == self._token:
                return {"size": blob.size, "crc32c": blob.crc32c, "generation": blob.generation}
        return None

    def _about(self, what: str) -> str:
        return self._bucket.about(self._key, what)


class _Body:
    """A request's body that can be sent again after new credentials, and stops when the upload must."""

    def __init__(self, data: bytes, given_up: GivenUp) -> None:
        self._data = data
        self._given_up = given_up

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[memoryview]:
        view = memoryview(self._data)
        for start in range(0, len(view), _PIECE):
            self._given_up.check()
            yield view[start : start + _PIECE]


def _persisted(answer: requests.Response) -> int:
    """How many bytes Google has; without the header none."""
    match = re.fullmatch(r"bytes=0-(\d+)", answer.headers.get("Range", ""))
    return int(match[1]) + 1 if match else 0
