"""The staging area: where a host without AWS credentials puts the parts of a stream, and the worker takes them away.

    staging/{job}/{run}/{source}/{attempt}/lease      which parts the host may upload now, and where to
                                          command    the command and the host, for whoever has to clean up
                                          part-…     the stream, each part removed as soon as it was read
                                          part-end   the host's last word: tar's status, and the sum of each part

The lease holds signed addresses, one of which is its own. It is written anew every few seconds, so that an address
is never older than that however long the stream takes and whenever the worker's credentials change; a host that
sees no new one knows that the worker is gone. It lists no more than a few parts beyond what was read, so the
area stays small.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from backups import ssm
from backups.aws_sessions import new_session
from backups.errors import BackupsError, SourceError
from backups.signed_reading import SignedReader

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger("backups.staging")

PREFIX = "staging/"
"""Of everything in a state bucket that expires after a day."""

CANCEL_SECONDS = 20.0
"""How long to wait for the end of a command that was cancelled."""

_ADDRESS_SECONDS = 3_600
_END = "end"
_FETCHES = 3

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where streams of hosts are staged, and the document that hosts run."""

    bucket: str
    prefix: str
    """Begins with ``staging/`` and ends with a slash."""
    document: str


def staged_under(job: str, run: str, source: str) -> str:
    """The prefix of everything that is staged for a source of a run."""
    return f"{PREFIX}{job}/{run}/{source}/"


class Area:
    """The staging area of one stream. Every method raises SourceError when the bucket refuses."""

    def __init__(self, place: Place, client: S3Client) -> None:
        self.bucket = place.bucket
        self.prefix = f"{place.prefix}{uuid.uuid4().hex}/"
        self._s3 = client
        self._beat = 0
        self._lock = threading.Lock()
        self._reader = SignedReader(client.meta.endpoint_url)
        self._addresses: dict[int, str] = {}
        """Of parts that are being read."""

    def lease_address(self) -> str:
        """Where the host begins to read."""
        return self._sign("get_object", "lease")

    def lease(self, first: int, last: int) -> None:
        """Let the host upload these parts, and the last word. Safe from several threads."""
        names = [*(str(number) for number in range(first, last + 1)), _END]
        with self._lock:
            self._beat += 1
            lines = [f"lease {self.lease_address()}"]
            lines += [f"{name} {self._sign('put_object', _part(name))}" for name in names]
            self._put("lease", "\n".join([*lines, f"beat {self._beat}\n"]))

    def remember(self, command: ssm.RemoteCommand) -> None:
        """Leave word of the command for whoever cleans up after a worker that died."""
        self._put("command", json.dumps({"command": command.id, "host": command.host}))

    def arrived(self, after: int) -> tuple[dict[int, int], bool]:
        """The sizes of parts beyond ``after`` that are there, by their numbers, and whether the last word is."""
        start = f"{self.prefix}{_part(str(after))}"

        def ask() -> dict[str, int]:
            # The window is smaller than one page, and the last word sorts behind all parts.
            found = self._s3.list_objects_v2(Bucket=self.bucket, Prefix=f"{self.prefix}part-", StartAfter=start)
            return {item["Key"].rpartition("-")[2]: item["Size"] for item in found.get("Contents", [])}

        sizes = self._ask("list", ask)
        return {int(name): size for name, size in sizes.items() if name != _END}, _END in sizes

    def fetch(self, number: int, start: int, size: int) -> bytes:
        """So many bytes of a part, all at once: the client copies a body once more when it is read in blocks."""
        name = _part(str(number))
        address = self._addresses.get(number) or self._addresses.setdefault(number, self._sign("get_object", name))
        key, wanted = self.prefix + name, f"bytes={start}-{start + size - 1}"

        def get() -> bytes:
            read = self._reader.read(address, start, size)
            if read is None:  # the client tries longer, and says why
                read = self._s3.get_object(Bucket=self.bucket, Key=key, Range=wanted)["Body"].read()
            return read

        return self._ask("read from", get)

    def last_word(self) -> str:
        """What the host wrote at the end."""
        key = self.prefix + _part(_END)

        def get() -> bytes:
            return self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()

        return self._ask("read from", get).decode("utf-8", "replace")

    def remove(self, number: int) -> None:
        """Remove a part that was read."""
        self._addresses.pop(number, None)
        key = self.prefix + _part(str(number))
        self._ask("remove from", lambda: self._s3.delete_object(Bucket=self.bucket, Key=key))

    def clear(self) -> None:
        """Remove everything."""
        self._ask("empty", lambda: remove_below(self._s3, self.bucket, self.prefix))

    def _put(self, name: str, content: str) -> None:
        key = self.prefix + name
        self._ask("write to", lambda: self._s3.put_object(Bucket=self.bucket, Key=key, Body=content.encode()))

    def _sign(self, method: str, name: str) -> str:
        return self._s3.generate_presigned_url(
            method, Params={"Bucket": self.bucket, "Key": self.prefix + name}, ExpiresIn=_ADDRESS_SECONDS
        )

    def _ask(self, what: str, call: Callable[[], T]) -> T:
        """Ask a few times: a body may break off after the client's own tries are over."""
        from botocore.exceptions import BotoCoreError, ClientError

        for tries_left in reversed(range(_FETCHES)):
            try:
                return call()
            except (BotoCoreError, ClientError) as error:
                if not tries_left or isinstance(error, ClientError):
                    raise SourceError(
                        f"could not {what} the staging area s3://{self.bucket}/{self.prefix}: {error}",
                        hint="does the worker's role reach the state bucket and its key? deploy again",
                    ) from None
        raise AssertionError("the last try returns or raises")


class Lease:
    """Keeps the lease of an area fresh, in a thread, until it is closed."""

    def __init__(self, area: Area, *, window: int, seconds: float) -> None:
        """``window`` parts may wait in the area; every so many seconds the lease is written anew."""
        self._area = area
        self._window = window
        self._seconds = seconds
        self._read = 0
        self._published = 0
        self._over = threading.Event()
        self._publish()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)
        self._thread.start()

    def advance(self, read: int) -> None:
        """So many parts were read. Raises SourceError when the bucket refuses."""
        self._read = read
        if 2 * (read - self._published) >= self._window:  # half of the window at a time: few requests, no waiting
            self._publish()

    def close(self) -> None:
        """Write no more."""
        self._over.set()
        self._thread.join()

    def _publish(self) -> None:
        self._published = self._read
        self._area.lease(self._published + 1, self._published + self._window)

    def _keep(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                self._publish()
            except BackupsError as error:
                log.warning("%s", error)  # the next time may be better; the reader meets what lasts


def s3_client() -> S3Client:
    """A client whose signed addresses do for encrypted objects too."""
    from botocore.config import Config

    return new_session().client(
        "s3",
        config=Config(
            signature_version="s3v4",
            connect_timeout=10,
            read_timeout=60,
            retries={"mode": "standard", "total_max_attempts": 4},
            # Signed addresses would demand sums of the host that only this client knows how to make.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def remove_below(client: S3Client, bucket: str, prefix: str) -> int:
    """Remove every object under a prefix; returns how many there were. Raises ClientError, BotoCoreError."""
    count = 0
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        keys = [{"Key": item["Key"]} for item in page.get("Contents", [])]
        for key in keys:
            client.delete_object(Bucket=bucket, Key=key["Key"])
        count += len(keys)
    return count


def abandon(bucket: str, prefix: str) -> int:
    """End the commands of a worker that died, and empty its areas; returns how many objects there were.

    Raises BackupsError when AWS refuses.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    s3 = s3_client()
    try:
        for command in _commands(s3, bucket, prefix):
            with contextlib.suppress(ssm.HostError):  # one that has ended can't be cancelled, and needn't
                stop(command)
        return remove_below(s3, bucket, prefix)
    except (BotoCoreError, ClientError) as error:
        raise BackupsError(f"could not empty the staging area s3://{bucket}/{prefix}: {error}") from None


def stop(command: ssm.RemoteCommand) -> None:
    """Cancel a command, and wait a moment for its end: until then it may still upload. Raises HostError."""
    if not command.look().ended:
        command.cancel()
        command.wait(CANCEL_SECONDS)


class Cksum:
    """What POSIX's ``cksum`` prints first: the sum that every host can make, fast."""

    def __init__(self) -> None:
        from fastcrc import crc32

        self.size = 0
        """Bytes so far."""
        self._continued = crc32.cksum
        self._sum = self._continued(b"")

    def add(self, data: bytes) -> None:
        """Go on with these bytes."""
        self.size += len(data)
        self._sum = self._continued(data, self._sum)

    @property
    def value(self) -> int:
        """The sum of what was added; the length counts as if it were the last bytes."""
        return self._continued(self.size.to_bytes((self.size.bit_length() + 7) // 8, "little"), self._sum)


def _part(name: str) -> str:
    return f"part-{name.zfill(8)}" if name != _END else "part-end"


def _commands(s3: S3Client, bucket: str, prefix: str) -> Iterator[ssm.RemoteCommand]:
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            if item["Key"].endswith("/command"):
                told = json.loads(s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read())
                yield ssm.RemoteCommand(ssm.client(), told["command"], told["host"])
