"""Reads an object as one stream, going on where a broken connection left off."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

from botocore.exceptions import BotoCoreError, ClientError

from backups.destinations.s3_bucket import PAUSES, Bucket, GivenUp, log
from backups.destinations.s3_errors import code_of, explain
from backups.destinations.s3_parts import MIB
from backups.errors import DestinationError


def read_object(bucket: Bucket, key: str, version: str | None = None) -> Iterator[bytes]:
    """Blocks of up to 1 MiB. Raises MissingError; DestinationError when it breaks off or is replaced meanwhile."""
    request = {**bucket.target(key), **({"VersionId": version} if version else {})}
    given_up = GivenUp(bucket.cancel)
    offset = fruitless = 0
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
                fruitless = 0 if offset > before else fruitless + 1
                # What can't even be opened is told of at once; the client has tried three times.
                if problem.permanent or "IfMatch" not in request or fruitless > len(PAUSES):
                    raise problem from error
                log.warning("%s; going on at byte %d", problem, offset)
                if fruitless:
                    given_up.wait(PAUSES[fruitless - 1])
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
