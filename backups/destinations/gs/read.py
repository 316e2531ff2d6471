"""Reads an object as one stream, going on where a broken connection left off."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import closing

import google_crc32c
import requests
import urllib3

from backups.destinations.gs.bucket import Bucket
from backups.destinations.gs.errors import KINDS, explain, explain_response
from backups.destinations.retrying import Attempts, GivenUp
from backups.errors import DestinationError, MissingError, VerificationError

READ_BYTES = 1 << 20


def read_object(bucket: Bucket, key: str, generation: str = "") -> Iterator[bytes]:
    """Blocks of up to 1 MiB. Raises MissingError; DestinationError when it breaks off or is replaced meanwhile."""
    given_up = GivenUp(bucket.cancel)
    crc32c = google_crc32c.Checksum()
    attempts, offset = Attempts(given_up), 0
    try:
        while True:
            before = offset
            try:
                with closing(_open(bucket, key, generation, offset)) as answer:
                    generation = answer.headers.get("X-Goog-Generation", generation)
                    while block := answer.raw.read(READ_BYTES, decode_content=False):
                        given_up.check()
                        yield block
                        crc32c.update(block)
                        offset += len(block)
                    _compare(bucket, key, answer, crc32c)
            except (*KINDS, urllib3.exceptions.HTTPError, DestinationError) as error:
                problem = (
                    error if isinstance(error, DestinationError) else explain(error, bucket.about(key, "can't be read"))
                )
                if isinstance(problem, MissingError) and offset:
                    raise _replaced(bucket, key) from error
                if not generation:  # what can't even be opened is told of at once
                    raise problem from error
                attempts.failed(problem, got_on=offset > before)
            else:
                return
    finally:
        given_up.forget()


def _open(bucket: Bucket, key: str, generation: str, offset: int) -> requests.Response:
    """From the offset on; of this generation only, so that no two objects are ever mixed."""
    answer = bucket.request(
        "GET",
        bucket.media_url(key),
        params={"alt": "media", **({"generation": generation} if generation else {})},
        headers={"Accept-Encoding": "identity", **({"Range": f"bytes={offset}-"} if offset else {})},
        stream=True,
    )
    if answer.ok and (not offset or answer.status_code == requests.codes.partial_content):
        return answer
    with closing(answer):
        if answer.status_code == requests.codes.not_found:
            raise MissingError(bucket.about(key, "does not exist"), hint="check bucket and prefix")
        if answer.ok or answer.status_code == requests.codes.precondition_failed:
            raise _replaced(bucket, key)
        raise explain_response(answer, bucket.about(key, "can't be read"))


def _compare(bucket: Bucket, key: str, answer: requests.Response, crc32c: google_crc32c.Checksum) -> None:
    """The sum that the server has of the whole object, if it tells."""
    told = re.search(r"crc32c=([A-Za-z0-9+/=]+)", answer.headers.get("X-Goog-Hash", ""))
    if told and told[1] != base64.b64encode(crc32c.digest()).decode():
        problem = VerificationError(bucket.about(key, "was read with another crc32c than it is stored with"))
        problem.permanent = True
        raise problem


def _replaced(bucket: Bucket, key: str) -> DestinationError:
    return DestinationError(bucket.about(key, "was replaced while it was read"), hint="read it again", permanent=True)
