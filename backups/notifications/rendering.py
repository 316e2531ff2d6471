"""How a report, a start or a finding becomes a message, in the words of the old tool. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence

from backups.notifications.message import Entry, Fact, Message
from backups.notifications.words import (
    LONGEST_REASON,
    human_size,
    human_time,
    listed,
    name_of,
    one_line,
    reason_of,
    shortened,
)
from backups.records import Notice, Outcome, Result, RunReport, RunStart

JOB_LABEL = "Job"
"""Stands where the type of a source does, when a message is about a whole run."""

_MOST_NOTES = 10  # warnings or refused keys of one source; the rest is counted
_SEVERITIES = {"error": Outcome.FAILED, "warning": Outcome.PARTIAL}
_WORST_FIRST = (Outcome.FAILED, Outcome.PARTIAL, Outcome.SKIPPED, Outcome.STORED)


def render(report: RunReport) -> Message:
    """The message about a run."""
    ok = report.outcome is Outcome.STORED
    results = sorted(report.results, key=lambda result: _WORST_FIRST.index(result.outcome))
    lines = [_source_line(result) for result in results]
    if report.error or not results:
        lines.insert(0, _run_line(report))
    retention = list(_retention(report))
    return Message(
        ok=ok,
        subject=_subject(report),
        lines=tuple(lines),
        notes=(*_warnings(results), *retention),
        link=one_line(report.link),
        entries=tuple(_entries(report, results, lines, retention)),
        job=report.job,
        run=report.run,
        hostname=report.hostname,
        at=report.finished,
        ids=tuple(result.source for result in report.results) or (report.job,),
        labels=tuple(result.label for result in report.results) or (JOB_LABEL,),
    )


def render_start(begun: RunStart) -> Message:
    """The message that a run begins."""
    name, host, count = name_of(begun.job), one_line(begun.hostname), len(begun.sources)
    line = f"Backup of '{name}' ({JOB_LABEL}) on '{host}' has started [sources: {count}]."
    names = shortened(", ".join(name_of(source) for source in begun.sources), LONGEST_REASON)
    facts = (Fact("Sources", names), Fact("Began", f"{begun.started:%Y-%m-%d %H:%M} UTC"))
    return Message(
        ok=True,
        subject=f"Backup of {name} ({JOB_LABEL}) on {host} has started",
        lines=(line,),
        link=one_line(begun.link),
        entries=(Entry(f"{name} ({JOB_LABEL}) on {host}", line, Outcome.STORED, facts),),
        begins=True,
        job=begun.job,
        run=begun.run,
        hostname=begun.hostname,
        at=begun.started,
        ids=(begun.job,),
        labels=(JOB_LABEL,),
    )


def render_notice(notice: Notice) -> Message:
    """The message about what the watch has found between runs."""
    what = f"{name_of(notice.job)} ({JOB_LABEL}) on {one_line(notice.hostname)}"
    quoted = f"'{name_of(notice.job)}' ({JOB_LABEL}) on '{one_line(notice.hostname)}'"
    count = len(notice.findings) + notice.more
    lines = [f"Backups of {quoted}: {reason_of(found.text, found.hint)}" for found in notice.findings]
    entries = [
        Entry(
            f"{found.source} at {found.destination}" if found.source else what,
            line,
            _SEVERITIES[found.severity],
            tuple(_reasons(found.text, found.hint)),
        )
        for found, line in zip(notice.findings, lines, strict=True)
    ]
    if notice.more:
        lines.append(f"Backups of {quoted}: {notice.more} more problems")
    if not count:
        lines = [f"Backups of {quoted} are as they should be again."]
        entries = [Entry(what, lines[0], Outcome.STORED)]
    still = "still " if notice.reminder else ""
    worst = "ERROR" if any(found.severity == "error" for found in notice.findings) else "WARNING"
    problems = f"{worst}: Backups of {what} {still}have {count} {'problem' if count == 1 else 'problems'}"
    return Message(
        ok=not count,
        subject=problems if count else f"Backups of {what} are as they should be again",
        lines=tuple(lines),
        link=one_line(notice.link),
        entries=tuple(entries),
        job=notice.job,
        run=f"notice {notice.run}",
        watched=True,
        hostname=notice.hostname,
        at=notice.at,
        ids=tuple(dict.fromkeys(found.source for found in notice.findings if found.source)) or (notice.job,),
        labels=(JOB_LABEL,),
    )


def _subject(report: RunReport) -> str:
    name, label = name_of(report.job), JOB_LABEL
    # A run that was cut off after its only source was stored has failed itself, and not that source.
    if len(report.results) == 1 and not (report.error and report.results[0].outcome is Outcome.STORED):
        name, label = name_of(report.results[0].name), report.results[0].label
    elif len(report.results) > 1:
        label = _counts(report.results)
    what = f"Backup of {name} ({one_line(label)}) on {one_line(report.hostname)}"
    if report.outcome is Outcome.STORED:
        return f"{what} was successful"
    return f"ERROR: {what} {'was skipped' if report.outcome is Outcome.SKIPPED else 'failed'}"


def _entries(
    report: RunReport, results: Sequence[Result], lines: Sequence[str], retention: Sequence[str]
) -> Iterable[Entry]:
    """What rich forms show, in the order of the lines."""
    rest = list(lines)
    if len(lines) > len(results):
        title = f"{name_of(report.job)} ({JOB_LABEL}) on {one_line(report.hostname)}"
        facts = [*_reasons(report.error, report.hint), _time(report.started, report.finished)]
        yield Entry(title, rest.pop(0), report.outcome, tuple(facts))
    for result, line in zip(results, rest, strict=True):
        yield Entry(
            f"{name_of(result.name)} ({one_line(result.label)}) on {one_line(result.hostname)}",
            line,
            result.outcome,
            tuple(_facts(result)),
        )
    if retention:
        facts = [Fact("Problem", line) for line in retention]
        problems = f"{len(retention)} {'problem' if len(retention) == 1 else 'problems'}"
        yield Entry("Retention", f"Retention: {problems}", Outcome.PARTIAL, tuple(facts))


def _facts(result: Result) -> Iterable[Fact]:
    stored = [place for place in result.destinations if place.status == "stored"]
    if result.outcome is not Outcome.STORED:
        yield from _reasons(result.error, result.hint)
        for place in result.destinations:
            if place.status == "failed":
                reason = reason_of(place.error, place.hint) or "no reason was given"
                yield Fact("Not stored at", f"'{one_line(place.destination)}': {reason}", in_line=True)
    if stored:
        yield Fact("Size", human_size(result.size), in_line=True)
    if result.outcome is not Outcome.STORED:
        which = f"'{one_line(result.source)}' of job '{name_of(result.job)}', run {one_line(result.run)}"
        yield Fact("Source", which)  # what commands ask for
    yield _time(result.started, result.finished)
    if stored:
        where = ", ".join(f"'{one_line(at.destination)}' in {human_time(at.seconds)}" for at in stored)
        yield Fact("Stored at", shortened(where, LONGEST_REASON))
    for warning in _told_warnings(result):
        yield Fact("Warning", warning)


def _reasons(error: str, hint: str) -> Iterable[Fact]:
    if error:
        yield Fact("Error", reason_of(error), in_line=True)
    if hint:
        yield Fact("Way out", reason_of(hint), in_line=True)


def _time(started: dt.datetime, finished: dt.datetime) -> Fact:
    began, ended = started.astimezone(dt.UTC), finished.astimezone(dt.UTC)
    took = human_time((ended - began).total_seconds())
    until = f"{ended:%H:%M}" if ended.date() == began.date() else f"{ended:%Y-%m-%d %H:%M}"
    return Fact("Time", f"{took}, from {began:%Y-%m-%d %H:%M} to {until} UTC")


def _counts(results: Sequence[Result]) -> str:
    bad = sum(result.outcome is not Outcome.STORED for result in results)
    return f"{bad} of {len(results)} sources" if bad else f"{len(results)} sources"


def _run_line(report: RunReport) -> str:
    what = f"Backup of '{name_of(report.job)}' ({JOB_LABEL}) on '{one_line(report.hostname)}'"
    reason = reason_of(report.error, report.hint)
    if report.outcome is Outcome.SKIPPED:
        return f"{what} was skipped: {reason or 'an earlier run is still going'}"
    if report.outcome is Outcome.STORED:
        return f"{what} was successful{f': {reason}' if reason else ''}."
    return f"{what} failed: {reason or 'no source has a result'}"


def _source_line(result: Result) -> str:
    what = f"Backup of '{name_of(result.name)}' ({one_line(result.label)}) on '{one_line(result.hostname)}'"
    if result.outcome is Outcome.STORED:
        return f"{what} was successful [size: {human_size(result.size)}]."
    return f"{what} failed: {_failure(result)}"


def _failure(result: Result) -> str:
    """Why a source failed; for one that is stored in part: where it is, where not, and why not."""
    stored = [place.destination for place in result.destinations if place.status == "stored"]
    whole = reason_of(result.error, result.hint)
    reasons = [
        f"'{place.destination}': {reason_of(place.error, place.hint) or 'no reason was given'}"
        for place in result.destinations
        if place.status == "failed" and not (place.error and place.error in result.error)
    ]
    if stored:
        where = f"stored at {listed(stored)} [size: {human_size(result.size)}]"
        missing = [place.destination for place in result.destinations if place.status == "failed"]
        where += f" but not at {listed(missing)}" if missing else ""
        return "; ".join(part for part in (where, whole, *reasons) if part)
    return "; ".join(part for part in (whole, *reasons) if part) or "no reason was given"


def _warnings(results: Iterable[Result]) -> Iterable[str]:
    for result in results:
        about = f"'{name_of(result.name)}' ({one_line(result.label)})"
        yield from (f"Warning for {about}: {warning}" for warning in _told_warnings(result))


def _told_warnings(result: Result) -> Iterable[str]:
    yield from (reason_of(warning) for warning in result.warnings[:_MOST_NOTES])
    if len(result.warnings) > _MOST_NOTES:
        yield f"{len(result.warnings) - _MOST_NOTES} more warnings"


def _retention(report: RunReport) -> Iterable[str]:
    for pruned in report.pruned:
        about = f"Retention of '{name_of(pruned.source)}' at '{name_of(pruned.destination)}'"
        if pruned.error:
            yield f"{about} failed: {reason_of(pruned.error)}"
        for key, reason in list(pruned.refused.items())[:_MOST_NOTES]:
            yield f"{about} could not remove {one_line(key)}: {reason_of(reason)}"
        told = min(len(pruned.refused), _MOST_NOTES)
        if pruned.refused_count > told:
            yield f"{about} could not remove {pruned.refused_count - told} more objects"
