"""Reads copies back whole: is every byte what was stored, and does gpg find its own integrity check right?"""

from __future__ import annotations

import time
from collections.abc import Iterator

from backups.context import Context
from backups.errors import (
    BackupsError,
    CommandError,
    DestinationError,
    MissingError,
    StoppedError,
    VerificationError,
)
from backups.job import Job
from backups.restoring.decoding import MissingKeyError, StoredCopy, decoding
from backups.restoring.finding import Wanted, find, newest
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
                    yield check_copy(job, stored, context, watch)
    finally:
        connections.close()


def check_copy(job: Job, stored: StoredCopy, context: Context, watch: Watch) -> Check:
    """Read one copy back whole: its size and sha256 against the manifest, and gpg's own check. Raises StoppedError."""
    key = stored.copy.key
    meter = Meter(f"{key.source_id} at {stored.destination_id}", stored.copy.size)

    def failed(status: CheckStatus, error: BackupsError) -> Check:
        failure = _failed(key.source_id, stored.destination_id, str(key), status, error)
        return failure.model_copy(update={"size": meter.bytes, "seconds": time.monotonic() - meter.started})

    try:
        encryption = context.secrets.resolve(job.encryption_for(job.source(key.source_id)))
        manifest = stored.manifest()
        with watch.follow(meter), decoding(stored, manifest, encryption, context, meter, whole=True) as decoded:
            while decoded.output.read(_BLOCK_BYTES):
                pass
            by = "gpg"
            try:
                decoded.finish()
            except MissingKeyError:
                if manifest is None:
                    raise
                by = "not gpg: the secret key is not on this machine"
        checked = f"size, sha256 and {by}" if manifest else f"size and {by}: there is no manifest"
    except StoppedError:
        raise
    except VerificationError as error:
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


def _failed(source: str, destination: str, key: str, status: CheckStatus, error: BackupsError) -> Check:
    return Check(source=source, destination=destination, key=key, status=status, error=error.message, hint=error.hint)


def _missing(source: str, destination: str, wanted: Wanted) -> Check:
    when = f" of {wanted.date}" if wanted.date else ""
    error = DestinationError(f"there is no copy{when}", hint="`backups list` shows what is there")
    return _failed(source, destination, "", "missing", error)
