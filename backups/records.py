"""What crosses processes: the plan of a run, the result of each source, the manifest beside each copy, the report.

All of it is JSON, none of it holds a secret. Sizes are bytes, durations seconds, times are aware and in UTC.
Unknown keys are ignored when reading, so that an older reader understands a newer writer.
"""

from __future__ import annotations

import datetime as dt
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """Base of all records."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Outcome(StrEnum):
    """How a source or a whole run ended; never better than the truth."""

    STORED = "stored"  # everything is stored everywhere
    PARTIAL = "partial"  # some source or destination failed
    FAILED = "failed"  # no copy was stored
    SKIPPED = "skipped"  # an earlier run of the same job is still going


class PlanItem(Record):
    """One source of a run, and where its copy goes."""

    job: str
    run: str
    source: str
    name: str
    type: str
    key: str
    destinations: tuple[str, ...]


class Plan(Record):
    """What a run will do."""

    job: str
    run: str
    hostname: str
    date: dt.date
    planned: dt.datetime
    items: tuple[PlanItem, ...]


class StoredAt(Record):
    """What became of one source at one destination."""

    destination: str
    type: str
    status: Literal["stored", "failed"]
    key: str = ""
    size: int = 0
    seconds: float = 0.0
    verified: str = ""
    """How the copy was verified, such as ``size and crc32``; empty when nothing was stored."""
    copied_from: str = ""
    """The good destination that a second chance copied from; empty for a copy of the first pass."""
    error: str = ""
    hint: str = ""


class Result(Record):
    """What became of one source."""

    job: str
    run: str
    hostname: str
    source: str
    name: str
    type: str
    label: str
    """How messages call the type: Folder, MySQL …"""
    outcome: Outcome
    started: dt.datetime
    finished: dt.datetime
    key: str = ""
    plain_size: int = 0
    size: int = 0
    """Encrypted bytes: what was stored."""
    sha256: str = ""
    """Of the encrypted bytes."""
    destinations: tuple[StoredAt, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    hint: str = ""

    @property
    def seconds(self) -> float:
        """How long the source took."""
        return (self.finished - self.started).total_seconds()


class Manifest(Record):
    """Stands beside a copy and says that it was stored whole: written last, after the copy was verified."""

    job: str
    run: str
    hostname: str
    source: str
    type: str
    key: str
    started: dt.datetime
    finished: dt.datetime
    plain_size: int
    size: int
    sha256: str
    compression: str
    encryption: Literal["passphrase", "recipients"]
    tools: dict[str, str]
    warnings: tuple[str, ...] = ()


class Pruned(Record):
    """What retention did for one source at one destination."""

    source: str
    destination: str
    kept: int = 0
    removed: tuple[str, ...] = ()
    more_removed: int = 0
    """Objects that are gone and not listed: of thousands only the first are."""
    refused: dict[str, str] = {}
    """Keys that could not be removed, each with the reason."""
    more_refused: int = 0
    """Objects that could not be removed and are not listed."""
    error: str = ""

    @property
    def removed_count(self) -> int:
        """Objects that are gone, without manifests that went with their copies."""
        return len(self.removed) + self.more_removed

    @property
    def refused_count(self) -> int:
        """Objects that could not be removed."""
        return len(self.refused) + self.more_refused


class Notified(Record):
    """What became of one channel's message."""

    channel: str
    type: str
    status: Literal["sent", "not wanted", "failed"]
    error: str = ""
    permanent: bool = False
    """Trying again is useless until somebody changes something."""


class RunStart(Record):
    """A run that begins."""

    job: str
    run: str
    hostname: str
    started: dt.datetime
    sources: tuple[str, ...] = ()
    """Names of the sources."""
    link: str = ""
    """Where to look, such as the execution's page; empty on one machine."""


class Told(Record):
    """What a channel was last told of, for those that are told of changes only."""

    at: dt.datetime
    """When the run began that it was told of."""
    failing: tuple[str, ...] = ()
    """Ids of the sources that were not stored everywhere; an empty id stands for the run itself."""


Kind = Literal[
    "late", "missed", "never", "disabled", "empty", "shrunk", "unverified", "damaged", "missing", "unreadable"
]


class Finding(Record):
    """Something about the copies of a job that is not as it should be."""

    severity: Literal["error", "warning"]
    kind: Kind
    source: str = ""
    """Empty when it is about the whole job."""
    destination: str = ""
    key: str = ""
    """Of the copy, when it is about one."""
    text: str
    """What is wrong, in a sentence that names it."""
    hint: str = ""

    @property
    def identity(self) -> tuple[str, ...]:
        """The same as long as the same thing is wrong, whatever the numbers in its text."""
        return (self.kind, self.source, self.destination, *([self.key] if self.key else []))


class Notice(Record):
    """What the watch tells of a job, between its runs."""

    job: str
    run: str
    """Names the notice, as runs are named: when it was made."""
    hostname: str
    at: dt.datetime
    findings: tuple[Finding, ...] = ()
    """The worst first; none when all is well again."""
    more: int = 0
    """Findings that are not listed."""
    reminder: bool = False
    """Nothing has changed since the last one."""
    link: str = ""


class RunReport(Record):
    """A whole run: what the notifications tell."""

    job: str
    run: str
    hostname: str
    outcome: Outcome
    started: dt.datetime
    finished: dt.datetime
    results: tuple[Result, ...] = ()
    pruned: tuple[Pruned, ...] = ()
    error: str = ""
    """Why there are no results: planning failed, or an earlier run is still going."""
    hint: str = ""
    link: str = ""
    """Where to look, such as the execution's page; empty on one machine."""


def overall(results: tuple[Result, ...]) -> Outcome:
    """The outcome of a run from those of its sources: the worst truth, not the average."""
    outcomes = {result.outcome for result in results}
    if outcomes == {Outcome.STORED}:
        return Outcome.STORED
    if not outcomes or outcomes <= {Outcome.FAILED, Outcome.SKIPPED}:
        return Outcome.FAILED
    return Outcome.PARTIAL
