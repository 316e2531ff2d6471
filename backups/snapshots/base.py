"""What EBS and RDS have in common: snapshots that are begun, looked at, copied, marked and deleted in one region."""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

State = Literal["pending", "complete", "failed"]


@dataclass(frozen=True)
class Shot:
    """One snapshot, as AWS tells of it."""

    id: str
    of: str
    """The volume, instance or cluster."""
    region: str
    state: State
    started: dt.datetime
    percent: int = 0
    size_gib: int = 0
    """Size of what was snapshotted, not what the snapshot costs."""
    said: str = ""
    """AWS's own words about its state."""
    encrypted: bool = False
    kms_key: str = ""
    arn: str = ""
    engine: str = ""
    """Of a database, with its version."""
    tags: Mapping[str, str] = field(default_factory=dict)


class Snapshots(ABC):
    """Snapshots of one kind in one region. Every method raises SourceError, BusyError for what may pass."""

    kind: str
    region: str
    target: str
    """What is snapshotted, as messages call it."""

    @abstractmethod
    def begin(self, tags: Mapping[str, str], name: str) -> list[Shot]:
        """Begin snapshots of the target, all of one moment. ``name`` is for kinds that have one."""

    @abstractmethod
    def look(self, ids: Sequence[str]) -> list[Shot]:
        """How far these are; one that is not there (yet) is left out."""

    @abstractmethod
    def copy(self, shot: Shot, tags: Mapping[str, str], kms_key: str) -> Shot:
        """Begin to copy a complete snapshot of another region to this one."""

    @abstractmethod
    def owned(self, tags: Mapping[str, str]) -> list[Shot]:
        """Every snapshot with these tags."""

    @abstractmethod
    def mark(self, shots: Iterable[Shot], tags: Mapping[str, str]) -> None:
        """Change tags of snapshots."""

    @abstractmethod
    def delete(self, shot: Shot) -> None:
        """Delete one; no error when it is gone already."""
