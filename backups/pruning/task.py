"""What retention is to do at one destination; it stays the same however often the work is handed over."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from backups.copies import Copy, Orphan, Scope, scopes
from backups.destinations.base import DestinationConfig
from backups.job import Job
from backups.pruning.index import CopyIndex
from backups.retention import UNVERIFIED_STAYS, Decision, Policy, decide


@dataclass(frozen=True)
class Task:
    """The policy for one destination, applied to the copies of these sources of the job's host, and to nothing else."""

    destination: str
    hostname: str
    sources: tuple[str, ...]
    policy: Policy
    today: dt.date
    now: dt.datetime
    legacy: bool = False
    """Whether the old tool's copies of these sources are its business too."""
    stored: Mapping[str, str] = field(default_factory=dict)
    """Keys of the copies that this run has stored there, by source: a listing without them is not believed."""

    @classmethod
    def of(
        cls,
        job: Job,
        config: DestinationConfig,
        sources: Collection[str],
        *,
        stored: Mapping[str, str],
        today: dt.date,
        now: dt.datetime,
    ) -> Task:
        """For some of the sources of a job."""
        return cls(
            destination=config.id,
            hostname=job.hostname,
            sources=tuple(sorted(set(sources))),
            policy=job.policy_for(config),
            today=today,
            now=now,
            legacy=config.retention_legacy,
            stored={source: key for source, key in stored.items() if key},
        )

    @property
    def scopes(self) -> list[Scope]:
        """What has to be listed, in this order."""
        return scopes(self.hostname, self.sources, legacy=self.legacy)

    def decisions(self, index: CopyIndex, source: str) -> list[Decision]:
        """What becomes of each copy of a source, the newest first."""
        return self.decide(index.rows(source))

    def decide(self, known: Iterable[Copy | Orphan]) -> list[Decision]:
        """The same for what is known of a source."""
        copies = [found for found in known if isinstance(found, Copy)]
        return decide(copies, self.policy, today=self.today, now=self.now)

    def is_junk(self, orphan: Orphan) -> bool:
        """Whether a manifest without a copy goes; one that is new may have got its copy during the listing."""
        locked = orphan.locked_until is not None and orphan.locked_until > self.now
        return self.now - orphan.modified >= UNVERIFIED_STAYS and not locked
