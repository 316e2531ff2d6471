"""Events about runs, on the default event bus of the account, for others to build on. docs/events.md describes them.

They are sent at least once, beside the records, and change nothing: what can't be sent is logged and forgotten. No
event holds a secret, since records hold none.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any, ClassVar, Literal

from pydantic import Field

from backups.notifications.words import shortened
from backups.records import Outcome, Record, Result, RunReport

log = logging.getLogger("backups.cloud.events")

SOURCE = "backups"

_MOST_ENTRIES = 10  # that one request may hold
_LARGEST = 200_000  # bytes of an event; EventBridge takes 256 KiB with what is around it
_TEXTS = frozenset({"error", "hint", "warnings"})
_TEXT_LENGTHS = (1_000, 200, 40)  # characters, whichever lets an event fit
_MOST_NAMES = 200
_MOST_WARNINGS = 10
_PARALLEL = 8  # a run that was cut off may leave thousands of sources to tell of


class Event(Record):
    """What all events have."""

    detail_type: ClassVar[str]

    version: Literal[1] = 1
    job: str
    run: str
    """Names the run: the job's name and this one are the same in all of its events."""
    hostname: str

    @property
    def resources(self) -> list[str]:
        """ARNs that the event is about."""
        return []


class RunStarted(Event):
    """A run that was planned begins."""

    detail_type: ClassVar[str] = "Backup Run Started"

    started: dt.datetime
    sources: int
    """How many sources it backs up."""
    execution: str
    """ARN of its execution."""

    @property
    def resources(self) -> list[str]:
        return [self.execution]


class SourceAt(Record):
    """What became of a source at one destination."""

    destination: str
    type: str
    status: Literal["stored", "failed"]
    size: int = 0
    """Bytes that were stored."""
    seconds: float = 0.0
    verified: str = ""
    error: str = ""
    hint: str = ""


class SourceFinished(Event):
    """A source of a run has ended, one way or the other."""

    detail_type: ClassVar[str] = "Backup Source Finished"

    source: str
    """Id of the source."""
    name: str
    type: str
    outcome: Outcome
    started: dt.datetime
    finished: dt.datetime
    key: str = ""
    """Of its copy at every destination, without the destination's own prefix."""
    plain_size: int = 0
    """Bytes before compression and encryption."""
    size: int = 0
    """Bytes of the encrypted copy."""
    sha256: str = ""
    """Of the encrypted copy."""
    destinations: tuple[SourceAt, ...] = ()
    warnings: tuple[str, ...] = ()
    """The first ten."""
    error: str = ""
    hint: str = ""


class RunFinished(Event):
    """A run has ended, also one that was skipped, could not be planned or was cut off."""

    detail_type: ClassVar[str] = "Backup Run Finished"

    outcome: Outcome
    started: dt.datetime
    finished: dt.datetime
    sources: dict[Outcome, int] = Field(default={})
    """How many sources ended how."""
    not_stored: tuple[str, ...] = ()
    """Ids of the sources that are not stored everywhere, at most 200 of them."""
    size: int = 0
    """Bytes of all encrypted copies, each counted once."""
    removed: int = 0
    """Copies and leftovers that retention removed."""
    refused: int = 0
    """Removals that were refused, or did not finish."""
    error: str = ""
    hint: str = ""
    link: str = ""
    """Page of the execution."""
    execution: str
    """ARN of the execution."""

    @property
    def resources(self) -> list[str]:
        return [self.execution]


EVENTS: tuple[type[Event], ...] = (RunStarted, SourceFinished, RunFinished)


def source_finished(result: Result) -> SourceFinished:
    """The event about a source that has ended."""
    return SourceFinished(
        **_common(result, ("source", "name", "type", "key", "plain_size", "size", "sha256", "error", "hint")),
        outcome=result.outcome,
        started=result.started,
        finished=result.finished,
        destinations=tuple(SourceAt.model_validate(vars(at)) for at in result.destinations),
        warnings=result.warnings[:_MOST_WARNINGS],
    )


def run_finished(report: RunReport, execution: str) -> RunFinished:
    """The event about a run that has ended."""
    bad = tuple(result.source for result in report.results if result.outcome is not Outcome.STORED)
    return RunFinished(
        **_common(report, ("error", "hint", "link")),
        outcome=report.outcome,
        started=report.started,
        finished=report.finished,
        sources=dict(Counter(result.outcome for result in report.results)),
        not_stored=bad[:_MOST_NAMES],
        size=sum(result.size for result in report.results),
        removed=sum(record.removed_count for record in report.pruned),
        refused=sum(record.refused_count + bool(record.error) for record in report.pruned),
        execution=execution,
    )


def tell(events: Sequence[Event]) -> None:
    """Put events on the bus. Never raises: an event that is lost is a line in the log, and nothing else."""
    if not events:
        return
    try:
        client = _client()
        with ThreadPoolExecutor(_PARALLEL) as pool:
            for complaint in pool.map(lambda batch: _put(client, batch), _batches(events)):
                if complaint:
                    log.warning("events were lost: %s", complaint)
    except Exception as error:  # whatever it is, the run goes on
        log.warning("events were lost: %s: %s", type(error).__name__, error)


def _batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    """As many as one request may hold, of one type each, since the right to send them is by type."""
    for _, alike in groupby(events, key=lambda event: event.detail_type):
        rest = list(alike)
        yield from (rest[start : start + _MOST_ENTRIES] for start in range(0, len(rest), _MOST_ENTRIES))


def _put(client: Any, events: Iterable[Event]) -> str:
    """Returns why some were not taken after two tries; empty when all were."""
    entries = [_entry(event) for event in events]
    reasons: set[str] = set()
    for _ in range(2):
        answers = client.put_events(Entries=entries)["Entries"]
        refused = [(entry, answer) for entry, answer in zip(entries, answers, strict=True) if "ErrorCode" in answer]
        reasons = {f"{answer['ErrorCode']}: {answer.get('ErrorMessage', '')}" for _, answer in refused}
        entries = [entry for entry, _ in refused]
        if not entries:
            break
    return "; ".join(sorted(reasons))


def _entry(event: Event) -> dict[str, Any]:
    return {
        "Source": SOURCE,
        "DetailType": event.detail_type,
        "Detail": _detail(event),
        "Resources": event.resources,
    }


def _detail(event: Event) -> str:
    """The event as JSON, with texts that are so short that it fits."""
    content = event.model_dump(mode="json")
    detail = ""
    for length in _TEXT_LENGTHS:
        detail = json.dumps(_cut(content, length), ensure_ascii=False, separators=(",", ":"))
        if len(detail.encode()) <= _LARGEST:
            break
    return detail


def _cut(value: object, length: int, *, text: bool = False) -> object:
    if isinstance(value, dict):
        return {name: _cut(item, length, text=name in _TEXTS) for name, item in value.items()}
    if isinstance(value, list):
        return [_cut(item, length, text=text) for item in value]
    return shortened(value, length) if text and isinstance(value, str) else value


def _common(record: Result | RunReport, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(record, name) for name in ("job", "run", "hostname", *names)}


def _client() -> Any:
    """A client that gives up after half a minute at most, so that no function runs out of time for an event."""
    import boto3
    from botocore.config import Config

    retries: Any = {"mode": "standard", "total_max_attempts": 3}
    return boto3.client("events", config=Config(connect_timeout=3, read_timeout=5, retries=retries))
