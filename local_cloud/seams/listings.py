"""Listings of S3 whose pages cost what they hold: MiniStack sorts every key of a bucket for each of them.

A bucket of a million objects has a thousand pages, and each took a second. Keys are kept in order instead, in buckets
that were made by CreateBucket; all else, and what a listing says, is MiniStack's own. Such a bucket may hold objects
from the first moment, for those who look at how a million behave.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from local_cloud.seams.patching import Pinned, service
from local_cloud.settings import Settings


class OrderedObjects(dict[str, Any]):
    """A bucket's objects by key; ``within`` goes through them in the order of the keys.

    Order is made when it is asked for. Removed keys stay in the list until half of it is of them, and are passed over.
    """

    def __init__(self) -> None:
        super().__init__()
        self._keys: list[str] = []
        self._new: list[str] = []
        self._removed: set[str] = set()

    def __setitem__(self, key: str, record: Any) -> None:
        if key in self._removed:
            self._removed.discard(key)
        elif key not in self:
            self._new.append(key)
        super().__setitem__(key, record)

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._removed.add(key)

    def pop(self, key: str, *default: Any) -> Any:
        if key in self:
            self._removed.add(key)
        return super().pop(key, *default)

    def within(self, prefix: str, after: str) -> Iterator[str]:
        """Keys that begin with ``prefix`` and are greater than ``after``."""
        self._settle()
        keys = self._keys
        for at in range(max(bisect_left(keys, prefix), bisect_right(keys, after) if after else 0), len(keys)):
            key = keys[at]
            if not key.startswith(prefix):
                return
            if key not in self._removed:
                yield key

    def _settle(self) -> None:
        if len(self._removed) * 2 > len(self._keys):
            self._keys, self._new, self._removed = sorted(self), [], set()
        if self._new:
            self._keys += self._new
            self._keys.sort()
            self._new = []


def _create(s3: Pinned, settings: Settings, original: Any, name: str, *given: Any, **named: Any) -> Any:
    known = name in s3._buckets
    answer = original(name, *given, **named)
    if name in s3._buckets and not known:
        s3._buckets[name]["objects"] = OrderedObjects()
        if settings.objects:
            _fill(s3, name, settings.objects)
    return answer


def _fill(s3: Pinned, name: str, objects: Path) -> None:
    """Put into a new bucket what the settings say that it holds. Raises ValueError when MiniStack refuses it."""
    contents: dict[int, bytes] = {}
    with objects.open() as lines:
        for line in lines:
            bucket, key, size = line.rstrip("\n").split("\t")
            if bucket == name:
                content = contents.setdefault(int(size), bytes(int(size)))
                status, _, answer = s3._put_object(name, key, content, {})
                if status >= 300:
                    raise ValueError(f"{bucket}/{key}: {answer.decode(errors='replace')}")


def _collect(original: Any, objects: Any, prefix: str, delimiter: str, max_keys: int, start_after: str) -> Any:
    if delimiter or not isinstance(objects, OrderedObjects):
        return original(objects, prefix, delimiter, max_keys, start_after)
    page: list[str] = []
    for key in objects.within(prefix, start_after):
        if len(page) == max_keys:
            return page, [], True, page[-1] if page else ""
        page.append(key)
    return page, [], False, page[-1] if page else ""


def install(settings: Settings) -> None:
    """Keep keys in order."""
    s3 = service("s3")
    s3.require("_buckets", "_put_object")
    create = partial(_create, s3, settings, s3._create_bucket)
    s3.replace("_create_bucket", "name body headers endpoint_region", create)
    s3.replace(
        "_collect_list_entries",
        "bucket_objects prefix delimiter max_keys start_after",
        partial(_collect, s3._collect_list_entries),
    )
