"""How far retention is: what it knows, what it has removed, and the records that tell of it."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterator

from backups.pruning.index import CopyIndex, IndexRecord
from backups.pruning.task import Task
from backups.records import Pruned, Record

MOST_KEYS = 200
"""Keys that a record lists of a source, of those removed and of those refused; the rest is counted."""


class TallyRecord(Record):
    """What became of one source so far."""

    removed: tuple[str, ...] = ()
    more_removed: int = 0
    refused: dict[str, str] = {}  # noqa: RUF012 - pydantic copies it
    more_refused: int = 0
    error: str = ""


class Tally:
    """What became of one source."""

    def __init__(self, record: TallyRecord | None = None) -> None:
        record = record or TallyRecord()
        self.error = record.error
        self._removed = [*record.removed]
        self._more_removed = record.more_removed
        self._refused = {**record.refused}
        self._more_refused = record.more_refused

    @property
    def removed_count(self) -> int:
        """Objects that are gone, without the manifests of copies that are."""
        return len(self._removed) + self._more_removed

    def removed(self, key: str) -> None:
        """An object is gone."""
        if len(self._removed) < MOST_KEYS:
            self._removed.append(key)
        else:
            self._more_removed += 1

    def refused(self, key: str, reason: str) -> None:
        """An object could not be removed."""
        if len(self._refused) < MOST_KEYS:
            self._refused[key] = reason
        else:
            self._more_refused += 1

    def failed(self, error: str) -> None:
        """An object that should go may be there still."""
        self.error = self.error or error

    def record(self) -> TallyRecord:
        """To store."""
        return TallyRecord(
            removed=tuple(self._removed),
            more_removed=self._more_removed,
            refused=self._refused,
            more_refused=self._more_refused,
            error=self.error,
        )

    def pruned(self, source: str, destination: str, kept: int) -> Pruned:
        """What the report tells."""
        return Pruned(
            source=source,
            destination=destination,
            kept=kept,
            removed=tuple(sorted(self._removed)),
            more_removed=self._more_removed,
            refused=self._refused,
            more_refused=self._more_refused,
            error=self.error,
        )


class WorkRecord(Record):
    """Work as it is stored between two calls."""

    now: dt.datetime
    stored: dict[str, str]
    """The sources that the work is about, each with the key of what the run has stored of it, if it has."""
    index: IndexRecord
    scope: int = 0
    after: str = ""
    handled: int = 0
    tallies: dict[str, TallyRecord] = {}  # noqa: RUF012 - pydantic copies it


class Work:
    """Where retention stands at one destination. ``now`` is that of its beginning, however long it goes on."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.index = CopyIndex(task.hostname)
        self.scope = 0
        """How many prefixes have been listed whole."""
        self.after = ""
        """The last key that was listed of the next."""
        self.handled = 0
        """The last place of the plan whose removal was tried."""
        self.tallies: dict[str, Tally] = defaultdict(Tally)
        self.failed = ""
        """Why nothing could be decided, since the destination can't be listed."""

    @property
    def is_listed(self) -> bool:
        """Whether everything was listed that has to be."""
        return self.scope == len(self.task.scopes)

    @property
    def removed_count(self) -> int:
        """Objects that are gone so far."""
        return sum(tally.removed_count for tally in self.tallies.values())

    def record(self) -> WorkRecord:
        """To store."""
        tallies = {source: tally.record() for source, tally in self.tallies.items()}
        return WorkRecord(
            now=self.task.now,
            stored={source: self.task.stored.get(source, "") for source in self.task.sources},
            index=self.index.record(),
            scope=self.scope,
            after=self.after,
            handled=self.handled,
            tallies=tallies,
        )

    @classmethod
    def of(cls, task: Task, record: WorkRecord) -> Work:
        """Work to go on with; ``task`` must be the one of its beginning."""
        work = cls(task)
        work.index = CopyIndex.of(record.index)
        work.scope, work.after, work.handled = record.scope, record.after, record.handled
        work.tallies.update((source, Tally(tally)) for source, tally in record.tallies.items())
        return work

    def pruned(self) -> Iterator[Pruned]:
        """One record for each source. Backups are counted by date; a manifest that went with its copy is not listed."""
        for source in self.task.sources:
            tally = self.tallies[source]
            if self.failed:  # how many copies there are is unknown; what an earlier turn has removed is not
                record = tally.pruned(source, self.task.destination, 0)
                yield record.model_copy(update={"error": self.failed})
                continue
            yield tally.pruned(source, self.task.destination, self.index.days(source))
