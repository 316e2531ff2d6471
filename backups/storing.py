"""One source's copy at all its destinations: the pass, the second chance for those that failed, the manifests."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import math
import threading
import traceback
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from backups.context import Context
from backups.destinations.base import Destination, DestinationConfig
from backups.errors import BackupsError, DestinationError
from backups.fanout import Lane, UnforeseenError
from backups.naming import MANIFEST_SUFFIX
from backups.pipeline import NoDestinationLeftError, Recipe, Streamed, stream
from backups.progress import Progress
from backups.records import Manifest, StoredAt
from backups.relay import Relay
from backups.sources.base import SourceStream

log = logging.getLogger("backups.storing")

_QUICK_SECONDS = 15.0


class Connections:
    """The destinations of one source, each opened when it is first used, all closed at the end."""

    def __init__(self, configs: Sequence[DestinationConfig], context: Context) -> None:
        self.configs = {config.id: config for config in configs}
        self._context = context
        self._open: dict[str, Destination] = {}
        self._opening = {id_: threading.Lock() for id_ in self.configs}
        self._lock = threading.Lock()
        self._closed = False

    def get(self, id_: str) -> Destination:
        """The open destination. Raises DestinationError or SecretError; may be tried again."""
        with self._opening[id_]:
            if id_ not in self._open:
                destination = self._context.secrets.resolve(self.configs[id_]).connect(self._context)
                with self._lock:
                    late = self._closed
                    if not late:
                        self._open[id_] = destination
                if late:  # a lane that hung was dropped long ago
                    destination.close()
                    raise DestinationError("answered only after the end of the run")
            return self._open[id_]

    def close(self) -> None:
        """Close those that were opened, and those that open later."""
        with self._lock:
            self._closed = True
        for id_, destination in self._open.items():
            try:
                destination.close()
            except Exception as error:
                log.warning("%s", self._context.secrets.scrub(f"closing {id_}: {error}"))


def quickest_first(destinations: Sequence[str], busy: Mapping[str, float]) -> list[str]:
    """Those that had the least work with a copy first: they will give it back as quickly.

    Only what is twice as slow and more than some seconds counts; else the job's order stands.
    """
    return sorted(destinations, key=lambda id_: math.frexp(max(busy[id_], _QUICK_SECONDS))[1])


class Storing:
    """One source's copy on its way to all its destinations."""

    def __init__(
        self, key: str, connections: Connections, recipe: Recipe, context: Context, progress: Progress
    ) -> None:
        self._key = key
        self._connections = connections
        self._recipe = recipe
        self._context = context
        self._progress = progress
        self._busy: dict[str, float] = {}

    def first_pass(self, source: SourceStream) -> tuple[Streamed, list[StoredAt]]:
        """Pass the source to every destination at once. Raises what failed when the source was not whole."""
        lanes = [self._lane(id_, self._key, source.size_bound, self._progress) for id_ in self._connections.configs]
        with self._stoppable(lanes):
            try:
                streamed = stream(source, lanes, self._recipe, self._context, self._progress)
            except NoDestinationLeftError:
                # Every destination failed, each for its own reason: those tell more than that none is left.
                streamed = Streamed(0, 0, "", ())
            places = [self._place(lane, streamed.size) for lane in lanes]
        self._context.cancel.check()
        return streamed, places

    def write_manifests(self, places: Sequence[StoredAt], manifest: Manifest) -> list[StoredAt]:
        """Write the manifest beside each verified copy, all at once. A copy without one does not count as stored."""
        data = (manifest.model_dump_json(indent=2) + "\n").encode()
        lanes: dict[str, Lane] = {}
        for place in places:
            if place.status == "stored":
                unseen = Progress(place.destination)
                lane = lanes[place.destination] = self._lane(
                    place.destination, self._key + MANIFEST_SUFFIX, len(data), unseen
                )
                lane.put(data)
                lane.commit(len(data), hashlib.sha256(data).hexdigest())
        with self._stoppable(list(lanes.values())):
            return [
                self._with_manifest(place, lanes[place.destination]) if place.destination in lanes else place
                for place in places
            ]

    def second_chances(self, places: Sequence[StoredAt], streamed: Streamed, manifest: Manifest) -> list[StoredAt]:
        """Copy from the best destination that holds the copy to each one that failed, to all of them at once.

        A failure that stays is returned.
        """
        good = quickest_first([place.destination for place in places if place.status == "stored"], self._busy)

        def chance(place: StoredAt) -> StoredAt:
            return place if place.status == "stored" else self._second_chance(place, good, streamed, manifest)

        with ThreadPoolExecutor(max(1, len(places)), thread_name_prefix="second-chance") as threads:
            return list(threads.map(chance, places))

    def _second_chance(self, failed: StoredAt, good: Sequence[str], streamed: Streamed, manifest: Manifest) -> StoredAt:
        for origin in good:
            if self._context.cancel.stopped:
                break
            lane = self._lane(failed.destination, self._key, streamed.size, self._progress)
            with self._stoppable([lane]):
                try:
                    relay = Relay(partial(self._read, origin), lane, streamed.size, streamed.sha256)
                    relay.wait(self._recipe.patience.stall)
                except Exception as error:
                    lane.abort()
                    self._log(f"copying from {origin} to {failed.destination}", error)
                copied = self._place(lane, streamed.size)
            [place] = self.write_manifests([copied], manifest)
            if place.status == "stored":
                return place.model_copy(update={"copied_from": origin, "error": f"at first: {failed.error}"})
        return failed

    def _lane(self, destination: str, key: str, bound: int | None, progress: Progress) -> Lane:
        return Lane(
            destination,
            lambda: self._connections.get(destination).create(key, size_bound=bound),
            progress,
            self._recipe.patience,
        )

    def _read(self, origin: str) -> Iterator[bytes]:
        return self._connections.get(origin).read(self._key)

    @contextlib.contextmanager
    def _stoppable(self, lanes: Sequence[Lane]) -> Iterator[None]:
        def abort() -> None:
            for lane in lanes:
                lane.abort()

        forget = self._context.cancel.on_stop(abort)
        try:
            yield
        finally:
            forget()

    def _with_manifest(self, place: StoredAt, lane: Lane) -> StoredAt:
        written = self._place(lane, place.size)
        if written.status == "stored":
            return place
        error = f"the copy is there, but not its manifest: {written.error}"
        return place.model_copy(update={"status": "failed", "verified": "", "error": error, "hint": written.hint})

    def _place(self, lane: Lane, size: int) -> StoredAt:
        """Wait for a lane; what nobody foresaw goes to the log with its traceback."""
        end = lane.join()
        self._busy.setdefault(end.destination, end.busy)  # of the pass, not of the manifest
        place = StoredAt(
            destination=end.destination,
            type=self._connections.configs[end.destination].type,
            status="stored",
            key=self._key,
            size=size,
            seconds=end.seconds,
            verified=end.verified,
        )
        if end.error is None:
            return place
        self._log(f"destination {end.destination}", end.error)
        return place.model_copy(
            update={"status": "failed", "key": "", "size": 0, "error": end.error.message, "hint": end.error.hint}
        )

    def _log(self, what: str, error: Exception) -> None:
        unforeseen = error.__cause__ if isinstance(error, UnforeseenError) else error
        foreseen = unforeseen is None or isinstance(unforeseen, BackupsError)
        told = str(error) if foreseen else "".join(traceback.format_exception(unforeseen))
        log.warning("%s", self._context.secrets.scrub(f"{what}: {told}"))
