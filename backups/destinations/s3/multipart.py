"""A multipart upload: parts are sent by a few threads while the next one fills.

The server compares a checksum of each part as it arrives, and of the whole before the object appears.
"""

from __future__ import annotations

import concurrent.futures
import logging
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from backups.destinations.retrying import GivenUp, again
from backups.destinations.s3.bucket import Bucket, crc32_text, encoded
from backups.destinations.s3.errors import code_of, explain
from backups.destinations.s3.parts import MIB, Part
from backups.errors import DestinationError

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import CompletedPartTypeDef

log = logging.getLogger("backups.destinations.s3")

SENDERS = 3
MEMORY = 48 * MIB
"""What one upload holds in memory at most: the part that fills, and those on their way."""
SPOOLED_SENDERS = 2
"""How many parts in files may be on their way; with the one that fills they take up to 15 GiB of disk."""

TOKEN = "backups-upload"  # noqa: S105 - the name of a metadata entry
"""Metadata by which an upload knows its own object, even when the answer to its completion was lost."""

_ABORT_WAIT = 15.0
"""Seconds that a part on its way gets to notice that it is not wanted any more."""


class Multipart:
    """An open multipart upload. One thread uses it; its own threads only send."""

    def __init__(self, bucket: Bucket, key: str, token: str, given_up: GivenUp) -> None:
        """Opens it, and learns which checksums the server knows. Raises DestinationError, StoppedError."""
        self._bucket = bucket
        self._key = key
        self._target = bucket.target(key)
        self._token = token
        self._given_up = given_up
        self._sending: dict[Future[CompletedPartTypeDef], Part] = {}
        self._sent: list[CompletedPartTypeDef] = []
        checksums: dict[str, Any] = (
            {"ChecksumAlgorithm": "CRC32", "ChecksumType": "FULL_OBJECT"} if bucket.checksums else {}
        )

        def create() -> Any:
            given_up.check()
            with bucket.errors(key, "can't be stored"):
                return bucket.client.create_multipart_upload(
                    **self._target, **bucket.stored_as(), **checksums, Metadata={TOKEN: token}
                )

        answer = again(create, given_up)
        self._id: str = answer["UploadId"]
        self._checksum_type: str = _agreed(answer) if checksums else ""
        self._senders = ThreadPoolExecutor(SENDERS, thread_name_prefix="s3-part")

    def make_room(self, part: Part) -> None:
        """Wait until what is on its way leaves room for another part. Raises what made a part fail."""
        while self._sending:
            held = part.in_memory + sum(other.in_memory for other in self._sending.values())
            spooled = sum(not other.in_memory for other in self._sending.values())
            if held <= MEMORY and spooled <= SPOOLED_SENDERS:
                return
            self._collect()

    def send(self, part: Part) -> None:
        """Hand a full part to the senders. Raises what made an earlier one fail."""
        self._sending[self._senders.submit(self._send, part)] = part

    def _send(self, part: Part) -> CompletedPartTypeDef:
        """Runs in a sender's thread. Raises DestinationError, StoppedError."""
        crc32 = crc32_text(part.crc32)
        sums: dict[str, Any]
        if self._checksum_type:
            sums = {"ChecksumCRC32": crc32}
        else:
            sums = {"ContentMD5": encoded(part.md5(self._given_up.check))}

        def send() -> Any:
            self._given_up.check()
            with self._bucket.errors(self._key, f"can't be stored: part {part.number}"):
                return self._bucket.client.upload_part(
                    **self._target,
                    **sums,
                    UploadId=self._id,
                    PartNumber=part.number,
                    ContentLength=part.size,
                    Body=part.open(self._given_up.check),
                )

        answer = again(send, self._given_up)
        part.release()
        sent: CompletedPartTypeDef = {"PartNumber": part.number, "ETag": answer["ETag"]}
        if self._checksum_type:
            sent["ChecksumCRC32"] = crc32
        return sent

    def _collect(self) -> None:
        """Wait until a part was sent or failed. Raises what made it fail."""
        events: list[Future[Any]] = [*self._sending, self._given_up.future]
        concurrent.futures.wait(events, return_when=concurrent.futures.FIRST_COMPLETED)
        self._given_up.check()
        for future in [future for future in self._sending if future.done()]:
            del self._sending[future]
            self._sent.append(future.result())

    def complete(self, size: int, crc32: int) -> tuple[dict[str, Any], str]:
        """Let the server put the parts together, if what it has is what was sent.

        Returns its answer, and what it compared. Raises DestinationError, VerificationError, StoppedError.
        """
        while self._sending:
            self._collect()
        parts = sorted(self._sent, key=lambda part: part["PartNumber"])
        whole: dict[str, Any] = {}
        if self._checksum_type == "FULL_OBJECT":
            whole = {"ChecksumCRC32": crc32_text(crc32), "ChecksumType": "FULL_OBJECT"}

        def complete() -> Any:
            self._given_up.check()
            try:
                return self._bucket.client.complete_multipart_upload(
                    **self._target,
                    **whole,
                    UploadId=self._id,
                    MultipartUpload={"Parts": parts},
                    MpuObjectSize=size,
                )
            except (BotoCoreError, ClientError) as error:
                problem = explain(error, self._bucket.about(self._key, "can't be completed"))
                done = self._completed_unheard() if not problem.permanent or _vanished(error) else None
                if done is None:
                    raise problem from error
                return done

        answer = again(complete, self._given_up)
        self._senders.shutdown(wait=False)
        return dict(answer), self._compared()

    def _completed_unheard(self) -> dict[str, Any] | None:
        """The object, if an earlier request did complete it but its answer was lost."""
        with suppress(DestinationError):
            head = self._bucket.head(self._key)
            if head.get("Metadata", {}).get(TOKEN) == self._token:
                return head
        return None

    def _compared(self) -> str:
        known = {"FULL_OBJECT": "crc32 of the whole", "": "md5 of each part"}
        return known.get(self._checksum_type, "crc32 of each part")

    def abort(self) -> None:
        """Remove the parts, which cost money otherwise. Never raises. ``GivenUp.set`` comes first."""
        self._senders.shutdown(wait=False, cancel_futures=True)
        on_their_way = [future for future in self._sending if not future.cancelled()]  # nobody would wake us for others
        concurrent.futures.wait(on_their_way, timeout=_ABORT_WAIT)
        try:
            for _ in range(3):
                self._bucket.client.abort_multipart_upload(**self._target, UploadId=self._id)
                # Parts that were still arriving may have been stored after the abort.
                if all(future.done() for future in on_their_way):
                    break
                concurrent.futures.wait(on_their_way, timeout=_ABORT_WAIT)
        except (BotoCoreError, ClientError) as error:
            if not _vanished(error):
                log.warning(
                    "%s; a lifecycle rule with AbortIncompleteMultipartUpload removes such parts",
                    explain(error, self._bucket.about(self._key, f"upload {self._id} can't be aborted")),
                )
        for part in self._sending.values():
            part.release()


def _agreed(answer: dict[str, Any]) -> str:
    """What the server said it will compare; nothing when it does not know checksums."""
    unsaid = "COMPOSITE" if answer.get("ChecksumAlgorithm") else ""
    return str(answer.get("ChecksumType") or unsaid)


def _vanished(error: Exception) -> bool:
    return code_of(error) == "NoSuchUpload"
