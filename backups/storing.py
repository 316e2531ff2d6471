"""One source's copy at all its destinations: the pass, the second chance for those that failed, the manifests."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig, Upload
from backups.errors import BackupsError, DestinationError, VerificationError
from backups.fanout import Lane, LaneEnd
from backups.naming import MANIFEST_SUFFIX
from backups.pipeline import FINISH_SECONDS, Recipe, Streamed, stream
from backups.progress import Progress
from backups.records import Manifest, StoredAt
from backups.sources.base import SourceStream

log = logging.getLogger("backups.storing")


class Connections:
    """The destinations of one source, each opened when it is first used, all closed at the end."""

    def __init__(self, configs: Sequence[DestinationConfig], context: Context) -> None:
        self.configs = {config.id: config for config in configs}
        self._context = context
        self._open: dict[str, Destination] = {}
        self._locks = {id_: threading.Lock() for id_ in self.configs}

    def get(self, id_: str) -> Destination:
        """The open destination. Raises DestinationError or SecretError; may be tried again."""
        with self._locks[id_]:
            if id_ not in self._open:
                self._open[id_] = self._context.secrets.resolve(self.configs[id_]).connect(self._context)
            return self._open[id_]

    def close(self) -> None:
        """Close those that were opened."""
        for id_, destination in self._open.items():
            try:
                destination.close()
            except Exception as error:
                log.warning("closing %s: %s", id_, error)


def store(
    source: SourceStream, key: str, connections: Connections, recipe: Recipe, context: Context, progress: Progress
) -> tuple[Streamed, list[LaneEnd]]:
    """Pass a source to every destination at once. Raises what failed when the source was not whole."""
    bound = source.size_bound
    lanes = [Lane(id_, _beginning(connections, id_, key, bound), progress) for id_ in connections.configs]
    try:
        streamed = stream(source, lanes, recipe, context, progress)
    except DestinationError:
        # Every destination failed, each for its own reason: those tell more than that none is left.
        return Streamed(0, 0, "", ()), [lane.join(0) for lane in lanes]
    return streamed, [lane.join(FINISH_SECONDS) for lane in lanes]


def second_chance(
    failed: LaneEnd, good: Sequence[str], key: str, streamed: Streamed, connections: Connections
) -> StoredAt:
    """Copy from a destination that holds the copy to one that failed. Never raises a BackupsError."""
    config = connections.configs[failed.destination]
    first, error = failed.error, failed.error
    for origin in good:
        started = time.monotonic()
        try:
            verified = _copy(connections.get(origin), connections.get(failed.destination), key, streamed)
        except BackupsError as again:
            error = again
            continue
        return StoredAt(
            destination=config.id,
            type=config.type,
            status="stored",
            key=key,
            size=streamed.size,
            seconds=time.monotonic() - started,
            verified=verified,
            copied_from=origin,
            error=f"at first: {first.message}" if first else "",
        )
    return failure(config, error or DestinationError("failed"), failed.seconds)


def write_manifest(stored: StoredAt, manifest: Manifest, connections: Connections) -> StoredAt:
    """Write the manifest beside a verified copy. A copy without one does not count as stored."""
    data = (manifest.model_dump_json(indent=2) + "\n").encode()
    try:
        upload = connections.get(stored.destination).create(stored.key + MANIFEST_SUFFIX, size_bound=len(data))
        with _aborting(upload):
            upload.write(data)
            upload.commit(len(data), hashlib.sha256(data).hexdigest())
    except BackupsError as error:
        problem = DestinationError(f"the copy is there, but not its manifest: {error.message}", hint=error.hint)
        return failure(connections.configs[stored.destination], problem, stored.seconds)
    return stored


def as_stored(end: LaneEnd, config: DestinationConfig, key: str, size: int) -> StoredAt:
    """The record of a destination that the pass itself reached or not."""
    if end.error is not None:
        return failure(config, end.error, end.seconds)
    return StoredAt(
        destination=config.id,
        type=config.type,
        status="stored",
        key=key,
        size=size,
        seconds=end.seconds,
        verified=end.verified,
    )


def failure(config: DestinationConfig, error: BackupsError, seconds: float = 0.0) -> StoredAt:
    """The record of a destination that does not hold the copy."""
    return StoredAt(
        destination=config.id,
        type=config.type,
        status="failed",
        seconds=seconds,
        error=error.message,
        hint=error.hint,
    )


def _beginning(connections: Connections, id_: str, key: str, bound: int | None) -> Callable[[], Upload]:
    return lambda: connections.get(id_).create(key, size_bound=bound)


def _copy(origin: Destination, target: Destination, key: str, streamed: Streamed) -> str:
    """Copy one object, hashing what is read: a good destination that gives wrong bytes is found here."""
    upload = target.create(key, size_bound=streamed.size)
    with _aborting(upload):
        digest, size = hashlib.sha256(), 0
        for block in origin.read(key):
            digest.update(block)
            size += len(block)
            upload.write(block)
        if (size, digest.hexdigest()) != (streamed.size, streamed.sha256):
            raise VerificationError("the copy read back for the second chance is not what was stored")
        return upload.commit(streamed.size, streamed.sha256) or "size"


@contextlib.contextmanager
def _aborting(upload: Upload) -> Iterator[None]:
    try:
        yield
    except BaseException:
        upload.abort()
        raise
