"""The copies that a destination holds of one host: objects paired with their manifests."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from dataclasses import dataclass

from pydantic import ValidationError

from backups.destinations.base import Destination, StoredObject
from backups.errors import MissingError, VerificationError
from backups.naming import CopyKey, copy_of_manifest, host_prefix, parse_key
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
class Listing:
    """What a destination holds of one host."""

    copies: tuple[Copy, ...]
    """In the order of their keys."""
    orphans: tuple[tuple[CopyKey, StoredObject], ...]
    """Manifests without a copy: what a removal leaves that was cut off."""


def list_copies(destination: Destination, hostname: str, source_ids: Collection[str] | None = None) -> list[Copy]:
    """The copies of a host, or of some of its sources, in the order of their keys. Raises DestinationError."""
    return list(listing(destination, hostname, source_ids).copies)


def listing(destination: Destination, hostname: str, source_ids: Collection[str] | None = None) -> Listing:
    """The copies and the orphans. Objects of other hosts, sources or patterns are left out. Raises DestinationError."""
    wanted = None if source_ids is None else frozenset(source_ids)
    objects: dict[str, tuple[CopyKey, StoredObject]] = {}
    manifests: dict[str, tuple[CopyKey, StoredObject]] = {}
    for stored in destination.list(host_prefix(hostname)):
        described = copy_of_manifest(stored.key)
        key = parse_key(stored.key if described is None else described)
        if key is None or key.hostname != hostname or (wanted is not None and key.source_id not in wanted):
            continue
        (objects if described is None else manifests)[str(key)] = (key, stored)
    copies = (_copy(key, stored, manifests.get(name)) for name, (key, stored) in sorted(objects.items()))
    orphans = (found for name, found in sorted(manifests.items()) if name not in objects)
    return Listing(tuple(copies), tuple(orphans))


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


def _copy(key: CopyKey, stored: StoredObject, manifest: tuple[CopyKey, StoredObject] | None) -> Copy:
    beside = manifest[1] if manifest else None
    locks = [lock for lock in (stored.locked_until, beside and beside.locked_until) if lock]
    return Copy(
        key=key,
        size=stored.size,
        modified=stored.modified,
        verified=beside is not None and beside.modified >= stored.modified,
        has_manifest=beside is not None,
        locked_until=max(locks, default=None),
    )
