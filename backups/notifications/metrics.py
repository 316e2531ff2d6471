"""The metrics of a run, in the groups in which a push gateway keeps them. Pure.

    /metrics/job/{source}                                   the old tool's series, after a source was stored everywhere
    /metrics/job/{source}/instance/{host}                   how the source ended, whatever became of it
    /metrics/job/{source}/instance/{host}/destination/{id}  the same for each destination
    /metrics/job/{job}/instance/{host}/scope/run            how the run ended, also when it has no sources

A gateway keeps what it was last given. A success replaces its group whole (PUT); a failure replaces only the metrics
it brings (POST), so that the time, size and duration of the last success stay beside the bad news.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from backups.records import Outcome, Pruned, Result, RunReport, StoredAt

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.~-]*")


@dataclass(frozen=True)
class Metric:
    """One number."""

    name: str
    kind: Literal["gauge", "summary"]
    help: str
    value: float


@dataclass(frozen=True)
class Group:
    """Metrics that are pushed together."""

    labels: Mapping[str, str]
    """Its name: the labels that each metric gets; ``job`` is the first."""
    metrics: tuple[Metric, ...]
    whole: bool
    """Replace all of the group; else only metrics of the same names."""


def groups(report: RunReport) -> Iterator[Group]:
    """Everything that is pushed after a run."""
    for result in report.results:
        pruned = [record for record in report.pruned if record.source == result.source and not record.error]
        host = {"job": result.source, "instance": result.hostname}
        stored = result.outcome is Outcome.STORED
        if stored:
            yield Group({"job": result.source}, tuple(_as_before(result, pruned)), whole=True)
        yield Group(host, tuple(_source(result)), whole=stored)
        for place in result.destinations:
            kept = next((p.kept for p in pruned if p.destination == place.destination), None)
            labels = {**host, "destination": place.destination}
            metrics = tuple(_destination(result, place, kept))
            yield Group(labels, metrics, whole=place.status == "stored")
    labels = {"job": report.job, "instance": report.hostname, "scope": "run"}
    yield Group(labels, tuple(_run(report)), whole=report.outcome is Outcome.STORED)


def group_path(labels: Mapping[str, str]) -> str:
    """The path of a group; values with a slash or another special character in base64, as gateways understand it."""
    return "/metrics" + "".join(_step(name, value) for name, value in labels.items())


def exposition(metrics: Iterable[Metric]) -> bytes:
    """Metrics in Prometheus's text form."""
    lines: list[str] = []
    for metric in metrics:
        lines += [f"# HELP {metric.name} {metric.help}", f"# TYPE {metric.name} {metric.kind}"]
        if metric.kind == "summary":  # of one observation, as the old tool's library wrote it
            lines += [f"{metric.name}_count 1", f"{metric.name}_sum {_number(metric.value)}"]
        else:
            lines.append(f"{metric.name} {_number(metric.value)}")
    return ("\n".join(lines) + "\n").encode()


def _as_before(result: Result, pruned: Iterable[Pruned]) -> Iterator[Metric]:
    """The old tool's series. Reading and storing are at the same time now, so both times are about the same."""
    yield Metric("backup_size", "summary", "Size of backup file in bytes", result.size)
    yield Metric("backup_dumptime", "summary", "Time taken to dump and encrypt backup in seconds", result.seconds)
    upload = max((place.seconds for place in result.destinations), default=0.0)
    yield Metric("backup_uploadtime", "summary", "Time taken to upload backup in seconds", upload)
    kept = [record.kept for record in pruned]
    if kept:
        fewest = min(kept)
        yield Metric("backup_retained_copies", "gauge", "Number of retained copies, where they are fewest", fewest)
    yield Metric("backup_timestamp", "gauge", "Time backup completed as seconds-since-the-epoch", _epoch(result))


def _source(result: Result) -> Iterator[Metric]:
    stored = result.outcome is Outcome.STORED
    yield Metric("backup_last_status", "gauge", "1 if the last run stored the source everywhere, else 0", stored)
    yield Metric("backup_last_run_timestamp", "gauge", "When the last run of the source ended", _epoch(result))
    yield Metric("backup_last_duration_seconds", "gauge", "How long the last run of the source took", result.seconds)
    yield Metric("backup_last_warnings", "gauge", "Warnings of the last run of the source", len(result.warnings))
    if stored:
        yield Metric(
            "backup_last_success_timestamp", "gauge", "When the source was last stored everywhere", _epoch(result)
        )


def _destination(result: Result, place: StoredAt, kept: int | None) -> Iterator[Metric]:
    stored = place.status == "stored"
    yield Metric("backup_destination_last_status", "gauge", "1 if the last run stored the source here, else 0", stored)
    if not stored:
        return
    yield Metric(
        "backup_destination_last_success_timestamp", "gauge", "When the source was last stored here", _epoch(result)
    )
    yield Metric("backup_destination_size_bytes", "gauge", "Size of the last copy stored here", place.size)
    yield Metric("backup_destination_duration_seconds", "gauge", "How long storing it here took", place.seconds)
    if kept is not None:
        yield Metric("backup_destination_retained_copies", "gauge", "Copies of the source kept here", kept)


def _run(report: RunReport) -> Iterator[Metric]:
    stored = report.outcome is Outcome.STORED
    ended = report.finished.timestamp()
    seconds = (report.finished - report.started).total_seconds()
    yield Metric("backup_run_last_status", "gauge", "1 if the last run stored everything, else 0", stored)
    yield Metric("backup_run_last_timestamp", "gauge", "When the last run ended", ended)
    yield Metric("backup_run_last_duration_seconds", "gauge", "How long the last run took", seconds)
    if stored:
        yield Metric("backup_run_last_success_timestamp", "gauge", "When a run last stored everything", ended)


def _epoch(result: Result) -> float:
    return result.finished.timestamp()


def _number(value: float) -> str:
    number = float(value)
    return str(int(number)) if math.isfinite(number) and number.is_integer() else repr(number)


def _step(name: str, value: str) -> str:
    if _PLAIN.fullmatch(value):
        return f"/{name}/{value}"
    encoded = base64.urlsafe_b64encode(value.encode()).decode() or "="  # an empty path step would be lost
    return f"/{name}@base64/{encoded}"
