"""A destination in memory, for properties that need thousands of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from backups.copies import Copy
from backups.destinations.base import Destination, StoredObject, Upload
from backups.errors import DestinationError
from backups.naming import MANIFEST_SUFFIX


class Memory(Destination):
    """Objects without content. It can be told to break or to refuse."""

    parallel = 1

    def __init__(self, objects: Iterable[StoredObject] = ()) -> None:
        self.objects = {stored.key: stored for stored in objects}
        self.listed = 0
        """Objects that were listed."""
        self.break_listing_at: int | None = None
        self.break_removal_at: int | None = None
        self.refuses: Mapping[str, str] = {}
        self.tells_locks = True
        """Whether listings tell of locks, as Google's do and S3's don't."""
        self.asked: list[str] = []
        """Objects that were asked for their locks."""
        self.removals: list[list[str]] = []

    @classmethod
    def of(cls, copies: Iterable[Copy]) -> Memory:
        """What these copies look like to a listing, with their manifests."""
        memory = cls()
        for copy in copies:
            memory.put(copy)
        return memory

    def put(self, copy: Copy) -> None:
        """Store a copy, in the place of another of its key."""
        key = str(copy.key)
        self.objects[key] = StoredObject(key, copy.size, copy.modified, copy.locked_until)
        self.objects.pop(key + MANIFEST_SUFFIX, None)
        if copy.has_manifest or copy.verified:
            late = dt.timedelta(seconds=1 if copy.verified else -1)
            self.objects[key + MANIFEST_SUFFIX] = StoredObject(key + MANIFEST_SUFFIX, 300, copy.modified + late)

    def list(self, prefix: str) -> Iterator[StoredObject]:
        return self.list_after(prefix, "")

    def list_after(self, prefix: str, after: str) -> Iterator[StoredObject]:
        for key in sorted(self.objects):
            stored = self.objects.get(key)
            if stored and key.startswith(prefix) and key > after:
                if self.listed == self.break_listing_at:
                    raise DestinationError("memory: the connection was cut")
                self.listed += 1
                yield stored if self.tells_locks else replace(stored, locked_until=None)

    def with_locks(self, listed: Iterable[StoredObject]) -> Iterator[StoredObject]:
        for stored in listed:
            self.asked.append(stored.key)
            yield self.objects.get(stored.key, stored)

    def remove(self, keys: Iterable[str]) -> dict[str, str]:
        if len(self.removals) == self.break_removal_at:
            raise DestinationError("memory: the connection was cut")
        wanted = [*keys]
        self.removals.append(wanted)
        for key in wanted:
            if key not in self.refuses:
                self.objects.pop(key, None)
        return {key: self.refuses[key] for key in wanted if key in self.refuses}

    def create(self, key: str, *, size_bound: int | None = None) -> Upload:
        raise NotImplementedError

    def read(self, key: str) -> Iterator[bytes]:
        raise NotImplementedError
