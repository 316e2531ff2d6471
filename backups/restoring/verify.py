"""Reads copies back whole: is every byte what was stored, and does gpg find its own integrity check right?"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from backups.context import Context
from backups.copies import Copy, paired, scopes
from backups.errors import (
    BackupsError,
    CommandError,
    DestinationError,
    MissingError,
    RestoreError,
    StoppedError,
    VerificationError,
)
from backups.job import Job
from backups.restoring.decoding import AFTER_DAMAGE, MissingKeyError, StoredCopy, damaged, decoding
from backups.restoring.finding import Wanted, find, newest
from backups.restoring.packets import Structure
from backups.storing import Connections
from backups.verification.status import Check, CheckStatus
from backups.watching import Meter, Watch

_BLOCK_BYTES = 1 << 20
_GPG_FAILED = 2  # a wrong passphrase and a missing key have errors of their own


def verify(job: Job, wanted: Wanted, context: Context, watch: Watch) -> Iterator[Check]:
    """Check the wanted copies, by default the newest of each source at each destination, one after the other.

    Copies without a manifest are checked too, by gpg alone. Raises StoppedError.
    """
    connections = Connections(wanted.destinations(job), context)
    try:
        found = find(wanted, connections)
        for id_ in connections.configs:
            for source in wanted.sources:
                if id_ in found.unreachable:
                    yield _failed(source, id_, "", "unreadable", found.unreachable[id_])
                    continue
                own = [c for c in found.copies if (c.destination_id, c.copy.key.source_id) == (id_, source)]
                chosen = newest(own, wanted)
                if not chosen:
                    yield _missing(source, id_, wanted)
                for stored in chosen:
                    context.cancel.check()
                    check = check_steadily(job, stored, context, watch)
                    yield check or _missing(source, id_, wanted)
    finally:
        connections.close()


def check_steadily(job: Job, stored: StoredCopy, context: Context, watch: Watch) -> Check | None:
    """Check a copy that may be replaced or removed in the meantime: that is no damage. None when it is gone.

    Raises StoppedError.
    """
    check = check_copy(job, stored, context, watch)
    if check.status in ("ok", "unreadable"):
        return check
    try:
        now = as_it_is_now(stored)
    except DestinationError as error:
        watch.warn(f"{stored.destination_id} can't be asked whether {stored.copy.key} was replaced: {error}")
        return check
    if now is None:
        return None
    return check if now.copy == stored.copy else check_copy(job, now, context, watch)


def check_copy(job: Job, stored: StoredCopy, context: Context, watch: Watch) -> Check:
    """Read one copy back whole: its size and sha256 against the manifest, and gpg's own check. Raises StoppedError."""
    key = stored.copy.key
    meter = Meter(f"{key.source_id} at {stored.destination_id}", stored.copy.size)

    def failed(status: CheckStatus, error: BackupsError) -> Check:
        failure = _failed(key.source_id, stored.destination_id, str(key), status, error)
        if status == "damaged" and not failure.hint:  # gpg says what is wrong, and not what to do
            failure = failure.model_copy(update={"hint": AFTER_DAMAGE})
        return failure.model_copy(update={"size": meter.bytes, "seconds": time.monotonic() - meter.started})

    try:
        checked = _checked(job, stored, context, watch, meter)
    except StoppedError:
        raise
    except (VerificationError, RestoreError) as error:  # the latter: gpg was content, what it decrypted is broken
        return failed("damaged", error)
    except MissingError as error:
        return failed("missing", error)
    except BackupsError as error:
        broken = isinstance(error, CommandError) and error.status == _GPG_FAILED
        return failed("damaged" if broken else "unreadable", error)
    return Check(
        source=key.source_id,
        destination=stored.destination_id,
        key=str(key),
        status="ok",
        checked=checked,
        size=meter.bytes,
        seconds=time.monotonic() - meter.started,
    )


def _checked(job: Job, stored: StoredCopy, context: Context, watch: Watch, meter: Meter) -> str:
    """Read a copy to its end; what was found right of it. Raises BackupsError for the first thing that was not."""
    encryption = context.secrets.resolve(job.encryption_for(job.source(stored.copy.key.source_id)))
    manifest = stored.manifest()
    structure = Structure()
    also = None if encryption.passphrase else structure.see
    with (
        watch.follow(meter),
        decoding(stored, manifest, encryption, context, meter, whole=True, also=also) as decoded,
    ):
        while decoded.output.read(_BLOCK_BYTES):
            pass
        try:
            decoded.finish()
        except MissingKeyError:
            structure.check()
            by = "packets; not gpg, since the secret key is not on this machine"
            if manifest is None and stored.copy.has_manifest:
                _compare_with_older(stored, decoded.feed.sha256)
                return f"size, sha256 and {by}"
        else:
            by = "gpg"
    if manifest is not None:
        return f"size, sha256 and {by}"
    return f"size and {by}: {'its manifest is older' if stored.copy.has_manifest else 'there is no manifest'}"


def _compare_with_older(stored: StoredCopy, sha256: str) -> None:
    """Without the key nothing but the manifest can say that a copy is good, even one that is older than the copy."""
    older = replace(stored, copy=replace(stored.copy, verified=True)).manifest()
    if older is not None and older.sha256 != sha256:
        raise damaged(
            f"{stored.destination_id}: {stored.copy.key} is not what its manifest describes, and is newer than it: "
            "it was changed, or replaced by a run that died before it wrote the manifest"
        )


def as_it_is_now(stored: StoredCopy) -> StoredCopy | None:
    """The copy as its destination lists it once more; None when it does not. Raises DestinationError."""
    key = stored.copy.key
    scope = replace(scopes(key.hostname, [key.source_id])[0], prefix=str(key))
    listed = sorted(stored.destination.list(scope.prefix), key=lambda one: one.key)
    found = next((one for one in paired(scope, listed) if isinstance(one, Copy) and one.key == key), None)
    return replace(stored, copy=found) if found else None


def _failed(source: str, destination: str, key: str, status: CheckStatus, error: BackupsError) -> Check:
    return Check(source=source, destination=destination, key=key, status=status, error=error.message, hint=error.hint)


def _missing(source: str, destination: str, wanted: Wanted) -> Check:
    when = f" of {wanted.date}" if wanted.date else ""
    error = DestinationError(f"there is no copy{when}", hint="`backups list` shows what is there")
    return _failed(source, destination, "", "missing", error)
