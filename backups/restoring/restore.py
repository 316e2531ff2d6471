"""Restores a copy: finds it, reads it back through every check, and makes it visible only when it was whole."""

from __future__ import annotations

import time
from dataclasses import dataclass

from backups.context import Context
from backups.errors import CommandError, DestinationError, EncryptionError, RestoreError, StoppedError
from backups.job import Job
from backups.restoring.decoding import decoding
from backups.restoring.finding import Wanted, candidates
from backups.restoring.target import Target
from backups.storing import Connections
from backups.watching import Meter, Watch


@dataclass(frozen=True)
class Restored:
    """What was restored."""

    key: str
    destination: str
    run: str
    """The run that stored it; empty for an unverified copy."""
    size: int
    """Bytes of the copy."""
    seconds: float
    target: str
    warnings: tuple[str, ...]


def restore(job: Job, source_id: str, target: Target, wanted: Wanted, context: Context, watch: Watch) -> Restored:
    """Restore one source's copy into a target, from the first destination whose copy is whole.

    Raises UsageError, RestoreError, StoppedError: what was there before still is, unless the error says otherwise.
    """
    encryption = context.secrets.resolve(job.encryption_for(job.source(source_id)))
    target.check()
    connections = Connections(wanted.destinations(job), context)
    problems: list[str] = []
    try:
        for stored, manifest in candidates(wanted, connections, watch):
            context.cancel.check()
            meter = Meter(f"{source_id} from {stored.destination_id}", stored.copy.size)
            watch.note(f"restoring {stored.copy.key} from {stored.destination_id}")
            try:
                with watch.follow(meter), decoding(stored, manifest, encryption, context, meter) as decoded:
                    warnings = target.take(decoded)
            except (DestinationError, EncryptionError, CommandError, RestoreError) as error:
                context.cancel.check()
                if target.dirty:
                    raise RestoreError(f"{error.message}; {target.aftermath}", hint=error.hint) from None
                if isinstance(error, RestoreError):
                    raise  # the target's own trouble, which no other destination mends
                watch.warn(f"{stored.destination_id}: {error}")
                problems.append(f"{stored.destination_id}: {error.message}")
                continue
            return Restored(
                key=str(stored.copy.key),
                destination=stored.destination_id,
                run=manifest.run if manifest else "",
                size=meter.bytes,
                seconds=time.monotonic() - meter.started,
                target=str(target),
                warnings=tuple(warnings),
            )
    except StoppedError:
        if target.dirty:
            watch.warn(target.aftermath)
        raise
    finally:
        connections.close()
    raise RestoreError(f"{source_id} could not be restored; nothing was left at {target}: {'; '.join(problems)}")
