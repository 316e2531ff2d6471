"""Reports of runs to tell about, written down shortly."""

from __future__ import annotations

import datetime as dt
from typing import Any

from backups.records import Outcome, Result, RunReport, RunStart, StoredAt, overall

STARTED = dt.datetime(2026, 11, 23, 2, 0, tzinfo=dt.UTC)
FINISHED = dt.datetime(2026, 11, 23, 2, 7, tzinfo=dt.UTC)
SIZE = 12_897_485  # 12.3 MB


def stored(destination: str = "myamazon") -> StoredAt:
    """A destination that has the copy."""
    return StoredAt(destination=destination, type="s3", status="stored", size=SIZE, verified="size and crc32")


def lost(destination: str = "offsite", error: str = "offsite: access denied", hint: str = "") -> StoredAt:
    """A destination that has not."""
    return StoredAt(destination=destination, type="s3", status="failed", error=error, hint=hint)


def result(source: str = "db", outcome: Outcome = Outcome.STORED, **changes: Any) -> Result:
    """What became of a source; stored at one destination unless told otherwise."""
    fields: dict[str, Any] = {
        "job": "nightly",
        "run": "run-1",
        "hostname": "web1",
        "source": source,
        "name": "Live Company Data",
        "type": "mysql",
        "label": "MySQL",
        "outcome": outcome,
        "started": STARTED,
        "finished": FINISHED,
        "size": SIZE if outcome is not Outcome.FAILED else 0,
        "destinations": (stored(),) if outcome is Outcome.STORED else (),
    }
    return Result(**(fields | changes))


def report(*results: Result, **changes: Any) -> RunReport:
    """The report of a run with these results."""
    fields: dict[str, Any] = {
        "job": "nightly",
        "run": "run-1",
        "hostname": "web1",
        "outcome": overall(results),
        "started": STARTED,
        "finished": FINISHED,
        "results": results,
    }
    return RunReport(**(fields | changes))


SUCCESS = report(result())
FAILURE = report(result(outcome=Outcome.FAILED, error="mysqldump ended with status 2", hint="check dbuser"))
START = RunStart(job="nightly", run="run-1", hostname="web1", started=STARTED, sources=("Live Company Data", "Etc"))
