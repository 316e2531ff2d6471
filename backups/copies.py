"""The copies that a destination holds of one host: objects paired with their manifests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

from pydantic import ValidationError

from backups.destinations.base import Destination, StoredObject
from backups.errors import DestinationError, MissingError, VerificationError
from backups.naming import (
    MANIFEST_SUFFIX,
    CopyKey,
    copy_of_manifest,
    host_prefix,
    legacy_prefix,
    parse_key,
    parse_legacy_key,
)
from backups.records import Manifest

_LONGEST_MANIFEST = 4 << 20  # bytes; a real one has a few KiB


@dataclass(frozen=True)
class Copy:
    """One object under the pattern of copies."""

    key: CopyKey
    size: int
    """Bytes."""
    modified: dt.datetime
    verified: bool
    """Its manifest stands beside it and is not older. The manifest is written last: an older one belongs to a copy
    that has been replaced since, by a run that died before it had written its own."""
    has_manifest: bool = False
    locked_until: dt.datetime | None = None
    """Until when the destination refuses to remove the object or its manifest."""


@dataclass(frozen=True)
class Orphan:
    """A manifest without a copy: what a removal leaves that was cut off."""

    key: CopyKey
    """Of the copy that is not there."""
    modified: dt.datetime
    locked_until: dt.datetime | None = None


@dataclass(frozen=True)
class Scope:
    """One prefix to list, and which of the objects there belong to the copies that are looked for."""

    prefix: str
    parse: Callable[[str], CopyKey | None]
    legacy: bool = False
    """It holds copies of the old tool, which never wrote a manifest: what has one is another host's."""

    def about(self, key: str) -> CopyKey | None:
        """The copy that a key is of, or of whose manifest; None when that is not looked for."""
        described = copy_of_manifest(key)
        return self.parse(key if described is None else described)

    def holds(self, found: Copy | Orphan) -> bool:
        """Whether what was found counts."""
        return not self.legacy or (isinstance(found, Copy) and not found.has_manifest)


def scopes(hostname: str, source_ids: Collection[str] | None = None, *, legacy: bool = False) -> list[Scope]:
    """Where to look for the copies of a host, or of some of its sources; with ``legacy`` for the old tool's too."""
    wanted = None if source_ids is None else frozenset(source_ids)

    def own(key: str) -> CopyKey | None:
        parsed = parse_key(key)
        here = parsed and parsed.hostname == hostname and (wanted is None or parsed.source_id in wanted)
        return parsed if here else None

    found = [Scope(host_prefix(hostname), own)]
    if legacy:
        # Where a source is called like its host, what the old tool stored has the key of a copy of today.
        found += [_legacy_scope(hostname, id_) for id_ in sorted(wanted or ()) if id_ != hostname]
    return found


def _legacy_scope(hostname: str, source_id: str) -> Scope:
    def own(key: str) -> CopyKey | None:
        parsed = parse_legacy_key(key, hostname)
        return parsed if parsed and parsed.source_id == source_id else None

    return Scope(legacy_prefix(source_id), own, legacy=True)


class Pairing:
    """Brings objects and manifests together while a listing goes by, without remembering more than a few of them."""

    def __init__(self, scope: Scope, after: str = "") -> None:
        self.last = after
        """The last key that went by."""
        self._scope = scope
        self._waiting: dict[str, tuple[CopyKey, StoredObject]] = {}

    @property
    def settled(self) -> bool:
        """No object waits for its manifest: a listing may be cut here, and go on after ``last``."""
        return not self._waiting

    def pass_by(self, stored: StoredObject) -> Iterator[Copy]:
        """Call before ``add``: the copies whose manifest would have come before this object, so they have none.

        Raises DestinationError when the listing has no order: then a manifest could be anywhere.
        """
        if stored.key <= self.last:
            raise DestinationError(
                f"the listing is out of order: {stored.key} comes after {self.last}",
                hint="copies can't be told from what is half removed there; ask who makes the server",
                permanent=True,
            )
        if self._waiting:
            passed = [name for name in self._waiting if name + MANIFEST_SUFFIX < stored.key]
            yield from self._alone(passed)

    def add(self, stored: StoredObject) -> Iterator[Copy | Orphan]:
        """The next object of the listing, in the order of keys."""
        self.last = stored.key
        described = copy_of_manifest(stored.key)
        if described is None:
            if key := self._scope.parse(stored.key):
                self._waiting[stored.key] = (key, stored)
            return
        if waited := self._waiting.pop(described, None):
            found: Copy | Orphan = _copy(*waited, stored)
        elif key := self._scope.parse(described):
            found = Orphan(key, stored.modified, stored.locked_until)
        else:
            return
        if self._scope.holds(found):
            yield found

    def finish(self) -> Iterator[Copy]:
        """The listing is over."""
        yield from self._alone([*self._waiting])

    def _alone(self, names: Iterable[str]) -> Iterator[Copy]:
        for name in names:
            yield _copy(*self._waiting.pop(name), None)


def list_copies(
    destination: Destination,
    hostname: str,
    source_ids: Collection[str] | None = None,
    *,
    legacy: bool = False,
    locks: bool = False,
) -> list[Copy]:
    """The copies of a host, or of some of its sources, in the order of their keys. Raises DestinationError.

    With ``locks`` also until when each is locked, which may take a request for each.
    """
    copies: list[Copy] = []
    for scope in scopes(hostname, source_ids, legacy=legacy):
        # A restore must not fail because a server lists without order; for removals Pairing insists on it.
        listed = sorted(destination.list(scope.prefix), key=lambda stored: stored.key)
        own = (stored for stored in listed if scope.about(stored.key))
        copies += [
            found for found in paired(scope, destination.with_locks(own) if locks else own) if isinstance(found, Copy)
        ]
    return sorted(copies, key=lambda copy: str(copy.key))


def paired(scope: Scope, listed: Iterable[StoredObject]) -> Iterator[Copy | Orphan]:
    """What of a listing counts; objects of other hosts, sources or patterns are left out. Raises DestinationError."""
    pairing = Pairing(scope)
    for stored in listed:
        yield from pairing.pass_by(stored)
        yield from pairing.add(stored)
    yield from pairing.finish()


def read_manifest(destination: Destination, copy: Copy) -> Manifest | None:
    """The manifest that describes a copy; None for an unverified one.

    Raises VerificationError when there is one that can't be used, DestinationError when reading it fails.
    """
    if not copy.verified:
        return None
    content = bytearray()
    try:
        for block in destination.read(copy.key.manifest):
            content += block
            if len(content) > _LONGEST_MANIFEST:
                break
        manifest = Manifest.model_validate_json(bytes(content))
    except MissingError:
        return None  # removed since the listing
    except ValidationError:
        raise VerificationError(
            f"{copy.key.manifest} is no manifest", hint="take another copy; this one can't be checked"
        ) from None
    if manifest.key != str(copy.key) or manifest.size != copy.size:
        raise VerificationError(
            f"{copy.key.manifest} describes {manifest.size} bytes under {manifest.key}, but {copy.key} has {copy.size}",
            hint="take another copy; this one was changed after it was stored",
        )
    return manifest


def _copy(key: CopyKey, stored: StoredObject, beside: StoredObject | None) -> Copy:
    locks = [lock for lock in (stored.locked_until, beside and beside.locked_until) if lock]
    return Copy(
        key=key,
        size=stored.size,
        modified=stored.modified,
        verified=beside is not None and beside.modified >= stored.modified,
        has_manifest=beside is not None,
        locked_until=max(locks, default=None),
    )
