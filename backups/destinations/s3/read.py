"""Reads an object as one stream, going on where a broken connection left off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from botocore.exceptions import BotoCoreError, ClientError

from backups.destinations.retrying import Attempts, GivenUp
from backups.destinations.s3.bucket import Bucket
from backups.destinations.s3.errors import code_of, explain
from backups.destinations.s3.parts import MIB
from backups.errors import DestinationError


def read_object(bucket: Bucket, key: str, version: str | None = None) -> Iterator[bytes]:
    """Blocks of up to 1 MiB. Raises MissingError; DestinationError when it breaks off or is replaced meanwhile."""
    request = {**bucket.target(key), **({"VersionId": version} if version else {})}
    given_up = GivenUp(bucket.cancel)
    attempts, offset = Attempts(given_up), 0
    try:
        while True:
            before = offset
            try:
                answer = bucket.client.get_object(**request)
                if "ETag" in answer:  # go on in the very same object only, so that no two are ever mixed
                    request["IfMatch"] = answer["ETag"]
                with closing(answer["Body"]) as body:
                    while block := body.read(MIB):
                        yield block
                        offset += len(block)
            except (BotoCoreError, ClientError) as error:
                problem = _explain(bucket, key, error)
                if "IfMatch" not in request:  # what can't even be opened is told of at once
                    raise problem from error
                attempts.failed(problem, got_on=offset > before)
            else:
                return
            if offset:
                request["Range"] = f"bytes={offset}-"
    finally:
        given_up.forget()


def _explain(bucket: Bucket, key: str, error: BotoCoreError | ClientError) -> DestinationError:
    if code_of(error) in ("PreconditionFailed", "412"):
        return DestinationError(
            bucket.about(key, "was replaced while it was read"), hint="read it again", permanent=True
        )
    return explain(error, bucket.about(key, "can't be read"))
