"""The small JSON that is stored as the copy of a snapshot: what was snapshotted, where, and when."""

from __future__ import annotations

import datetime as dt
import json

from backups.records import Record
from backups.snapshots.base import Shot
from backups.snapshots.taking import Taking


class SnapshotStatus(Record):
    """One snapshot. Sizes are GiB of the volume or database, not what the snapshot costs."""

    id: str
    of: str
    region: str
    started: dt.datetime
    size_gib: int
    encrypted: bool
    kms_key: str = ""
    arn: str = ""
    engine: str = ""
    copy_of: str = ""
    """The snapshot in the other region that this is a copy of."""


class Status(Record):
    """What a source of type ``snapshot`` made in one run."""

    job: str
    run: str
    hostname: str
    source: str
    kind: str
    """``ebs``, ``rds`` or ``rds-cluster``."""
    target: str
    """The volume, EC2 instance, RDS instance or cluster."""
    started: dt.datetime
    finished: dt.datetime
    snapshots: tuple[SnapshotStatus, ...]

    def text(self) -> str:
        """As it is stored."""
        return json.dumps(self.model_dump(mode="json", exclude_defaults=True), indent=2) + "\n"


def status_of(taking: Taking, started: dt.datetime) -> Status:
    """What was taken; the copies after what they are copies of."""
    task = taking.context.task
    copies = [_status(copy, copy_of=shot.id) for shot, copy in taking.copies]
    return Status(
        job=task.job,
        run=task.run,
        hostname=task.hostname,
        source=task.source,
        kind=taking.home.kind,
        target=taking.home.target,
        started=started,
        finished=dt.datetime.now(dt.UTC),
        snapshots=(*map(_status, taking.shots), *copies),
    )


def _status(shot: Shot, *, copy_of: str = "") -> SnapshotStatus:
    return SnapshotStatus(
        id=shot.id,
        of=shot.of,
        region=shot.region,
        started=shot.started,
        size_gib=shot.size_gib,
        encrypted=shot.encrypted,
        kms_key=shot.kms_key,
        arn=shot.arn,
        engine=shot.engine,
        copy_of=copy_of,
    )
