"""One object on its way to S3: a small one in one request, any other in parts."""

from __future__ import annotations

import hashlib
import logging
import secrets
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from backups.destinations.base import Upload
from backups.destinations.retrying import GivenUp, again
from backups.destinations.s3.abandoned import abort_abandoned
from backups.destinations.s3.bucket import Bucket, encoded
from backups.destinations.s3.errors import explain
from backups.destinations.s3.multipart import TOKEN, Multipart
from backups.destinations.s3.parts import Part, part_sizes
from backups.destinations.s3.read import read_object
from backups.errors import DestinationError, MissingError, VerificationError

log = logging.getLogger("backups.destinations.s3")


class S3Upload(Upload):
    """Fills one part at a time. Nothing is sent before the first one is full."""

    def __init__(self, bucket: Bucket, key: str, size_bound: int | None) -> None:
        from fastcrc import crc32  # where nothing is uploaded it need not be there

        self._bucket = bucket
        self._key = key
        self._token = secrets.token_hex(16)
        self._given_up = GivenUp(bucket.cancel)
        self._sizes = part_sizes(size_bound, bucket.most_parts)
        self._part: Part | None = None
        self._parts = 0
        self._multipart: Multipart | None = None
        self._size = 0
        self._crc32 = 0
        self._continued = crc32.iso_hdlc
        self._sha256 = hashlib.sha256() if bucket.full else None

    def write(self, block: bytes) -> None:
        """Add to the part that fills. Waits while too much is on its way."""
        self._given_up.check()
        self._size += len(block)
        self._crc32 = self._continued(block, self._crc32)
        if self._sha256:
            self._sha256.update(block)
        rest = memoryview(block)
        while rest:
            part = self._part = self._part or self._next_part()
            fits = min(part.room, len(rest))
            try:
                part.append(block if fits == len(block) else bytes(rest[:fits]))
            except OSError as error:
                raise self._spool_error(error) from None
            rest = rest[fits:]
            if not part.room:
                self._send(part)

    def _next_part(self) -> Part:
        planned = next(self._sizes, None)
        if planned is None:
            raise DestinationError(
                self._bucket.about(
                    self._key, f"can't be stored: it does not fit into {self._bucket.most_parts:,} parts"
                ),
                hint="raise max_parts if the server takes more; or the source grew far beyond its estimated size",
                permanent=True,
            )
        self._parts += 1
        try:
            part = Part(self._parts, planned, self._bucket.tmpdir)
        except OSError as error:
            raise self._spool_error(error) from None
        if self._multipart:
            self._multipart.make_room(part)
        return part

    def _send(self, part: Part) -> Multipart:
        if not self._multipart:
            abort_abandoned(self._bucket, self._key)
            self._multipart = Multipart(self._bucket, self._key, self._token, self._given_up)
        self._multipart.send(part)
        self._part = None
        return self._multipart

    def commit(self, size: int, sha256: str) -> str:
        """Send the rest, let the server put it together, and look at what it has."""
        if size != self._size:
            raise VerificationError(
                self._bucket.about(self._key, f"can't be completed: {self._size} bytes were given instead of {size}")
            )
        if self._sha256 and self._sha256.hexdigest() != sha256:
            raise VerificationError(self._bucket.about(self._key, "can't be completed: its sha256 is another one"))
        if self._multipart:
            if self._part:
                self._send(self._part)
            answer, compared = self._multipart.complete(size, self._crc32)
            self._multipart = None  # there is nothing left to abort
        else:
            answer, compared = self._put(sha256)
        verified = self._confirm(answer, compared)
        if self._bucket.full:
            self._read_back(sha256, answer.get("VersionId"))
            verified += "; sha256 read back"
        self._end()
        return verified

    def _put(self, sha256: str) -> tuple[dict[str, Any], str]:
        """Less than one part: a single request, whose sums the server compares before the object appears."""
        part = self._part or Part(1, 0, self._bucket.tmpdir)
        md5 = part.md5(self._given_up.check)
        sums: dict[str, Any] = {"ContentMD5": encoded(md5)}
        if self._bucket.checksums:
            sums["ChecksumSHA256"] = encoded(bytes.fromhex(sha256))

        def put() -> Any:
            self._given_up.check()
            try:
                return self._bucket.client.put_object(
                    **self._bucket.target(self._key),
                    **self._bucket.stored_as(),
                    **sums,
                    ContentLength=part.size,
                    Body=part.open(self._given_up.check),
                    Metadata={TOKEN: self._token},
                )
            except (BotoCoreError, ClientError) as error:
                problem = explain(error, self._bucket.about(self._key, "can't be stored"))
                # The sha256 is the caller's: another attempt would fare no better.
                problem.permanent |= isinstance(problem, VerificationError)
                raise problem from error

        answer = dict(again(put, self._given_up))
        if answer.get("ChecksumSHA256") == sums.get("ChecksumSHA256", ""):
            return answer, "sha256"
        return answer, "md5" if answer.get("ETag", "").strip('"') == md5.hex() else ""

    def _confirm(self, answer: dict[str, Any], compared: str) -> str:
        """Look at the object; returns how it was verified. Raises VerificationError."""
        said = f"{compared} compared by the server" if compared else ""
        try:
            head = again(lambda: self._bucket.head(self._key), self._given_up)
        except MissingError as error:
            raise VerificationError(self._bucket.about(self._key, "is not there after it was completed")) from error
        except DestinationError as error:
            if not said:
                raise
            # Who may only write can't look. The server refuses to complete what differs, so it is whole.
            log.info("%s", error)
            return said
        if head.get("Metadata", {}).get(TOKEN, self._token) != self._token:
            return said  # another run has replaced it in the meantime
        if head["ContentLength"] != self._size:
            self._withdraw(answer, f"has {head['ContentLength']} bytes instead of {self._size}")
        return ", ".join(text for text in ("size", said) if text)

    def _read_back(self, sha256: str, version: str | None) -> None:
        digest = hashlib.sha256()
        for block in read_object(self._bucket, self._key, version):
            digest.update(block)
        if digest.hexdigest() != sha256:
            self._withdraw({"VersionId": version}, "reads back with another sha256 than it was written with")

    def _withdraw(self, answer: dict[str, Any], reason: str) -> None:
        """Take a wrong object away; in a versioned bucket the one before shows again. Raises VerificationError."""
        version: dict[str, Any] = {"VersionId": answer["VersionId"]} if answer.get("VersionId") else {}
        outcome = "it was removed"
        try:
            with self._bucket.errors(self._key, "can't be removed"):
                self._bucket.client.delete_object(**self._bucket.target(self._key), **version)
        except DestinationError as error:
            outcome = f"remove it by hand, since {error}"
        raise VerificationError(self._bucket.about(self._key, f"{reason}; {outcome}"))

    def abort(self) -> None:
        """Stop sending, and remove the parts from the server."""
        self._given_up.set()
        if self._multipart:
            self._multipart.abort()
            self._multipart = None
        self._end()

    def _end(self) -> None:
        self._given_up.forget()
        if self._part:
            self._part.release()
            self._part = None

    def _spool_error(self, error: OSError) -> DestinationError:
        return DestinationError(
            self._bucket.about(self._key, f"can't be stored: {self._bucket.tmpdir}: {error.strerror}"),
            hint="parts above 24 MiB wait in tmpdir until they are sent: give it more room",
            permanent=True,
        )
