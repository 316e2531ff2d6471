"""One object on its way to Google Cloud Storage: a chunk fills while the one before is sent."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import google_crc32c

from backups.destinations.base import Upload
from backups.destinations.gs.bucket import Bucket
from backups.destinations.gs.read import read_object
from backups.destinations.gs.session import UNIT, Session
from backups.destinations.retrying import GivenUp
from backups.errors import DestinationError, VerificationError

CHUNK = 64 * UNIT  # 16 MiB; two of them are in memory

_ABORT_WAIT = 15.0
"""Seconds that a session gets that is just being opened: only then can it be ended."""


class GsUpload(Upload):
    """Nothing is sent before the first chunk is full."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key
        self._given_up = GivenUp(bucket.cancel)
        self._session = Session(bucket, key, self._given_up)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="gs-upload")
        self._sending: Future[dict[str, Any]] | None = None
        self._buffer = bytearray()
        self._size = 0
        self._crc32c = google_crc32c.Checksum()
        self._sha256 = hashlib.sha256() if bucket.full else None
        self._done = False

    def write(self, block: bytes) -> None:
        """Add to the chunk that fills. Waits while the one before is on its way."""
        self._given_up.check()
        self._size += len(block)
        self._crc32c.update(block)
        if self._sha256:
            self._sha256.update(block)
        self._buffer += block
        while len(self._buffer) > CHUNK:  # not when it is just full: the last chunk must not be empty
            self._settle()
            chunk = bytes(memoryview(self._buffer)[:CHUNK])
            del self._buffer[:CHUNK]
            self._sending = self._thread.submit(self._session.put, chunk)

    def _settle(self) -> dict[str, Any]:
        """Wait for what is being sent. Raises its error, or StoppedError."""
        if not self._sending:
            return {}
        either: set[Future[Any]] = {self._sending, self._given_up.future}
        concurrent.futures.wait(either, return_when=concurrent.futures.FIRST_COMPLETED)
        self._given_up.check()
        return self._sending.result()

    def commit(self, size: int, sha256: str) -> str:
        """Send the rest; the server compares the sum of everything before the object appears."""
        if size != self._size:
            raise VerificationError(
                self._bucket.about(self._key, f"can't be completed: {self._size} bytes were given instead of {size}")
            )
        if self._sha256 and self._sha256.hexdigest() != sha256:
            raise VerificationError(self._bucket.about(self._key, "can't be completed: its sha256 is another one"))
        self._settle()
        crc32c = base64.b64encode(self._crc32c.digest()).decode()
        self._sending = self._thread.submit(self._session.put, bytes(self._buffer), last=True, crc32c=crc32c)
        stored = self._settle()
        self._done = True  # there is nothing left to abort
        if int(stored.get("size", -1)) != size or stored.get("crc32c") != crc32c:
            self._withdraw(stored, f"has {stored.get('size')} bytes or another crc32c instead of {size} bytes")
        verified = "size, crc32c compared by the server"
        if self._bucket.full:
            self._read_back(sha256, stored)
            verified += "; sha256 read back"
        self._end()
        return verified

    def _read_back(self, sha256: str, stored: dict[str, Any]) -> None:
        digest = hashlib.sha256()
        for block in read_object(self._bucket, self._key, str(stored["generation"])):
            digest.update(block)
        if digest.hexdigest() != sha256:
            self._withdraw(stored, "reads back with another sha256 than it was written with")

    def _withdraw(self, stored: dict[str, Any], reason: str) -> None:
        """Take a wrong object away, and no other that may have replaced it. Raises VerificationError."""
        outcome = "it was removed"
        try:
            with self._bucket.errors(self._key, "can't be removed"):
                self._bucket.blob(self._key).delete(if_generation_match=int(stored["generation"]), retry=None)
        except DestinationError as error:
            outcome = f"remove it by hand, since {error}"
        raise VerificationError(self._bucket.about(self._key, f"{reason}; {outcome}"))

    def abort(self) -> None:
        """Stop sending, and let the server forget what it has."""
        self._given_up.set()
        if not self._done:
            if self._sending and not self._session.is_open:
                concurrent.futures.wait({self._sending}, timeout=_ABORT_WAIT)
            self._session.cancel()
            self._done = True
        self._end()

    def _end(self) -> None:
        self._given_up.forget()
        self._thread.shutdown(wait=False)
        self._buffer = bytearray()
