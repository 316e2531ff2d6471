"""The words of a run's message: a line for each source as the old tool wrote it, and what else must be known. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from backups.records import Outcome, Result, RunReport

JOB_LABEL = "Job"
"""Stands where the type of a source does, when a message is about a whole run."""

_LONGEST_NAME = 200  # characters
_LONGEST_REASON = 1000
_MOST_NOTES = 10  # warnings or refused keys of one source; the rest is counted
_CUT = "… [cut]"
_WORST_FIRST = (Outcome.FAILED, Outcome.PARTIAL, Outcome.SKIPPED, Outcome.STORED)


@dataclass(frozen=True)
class Message:
    """What a channel sends, as it is or cut to its size."""

    ok: bool
    """Everything was stored everywhere."""
    subject: str
    lines: tuple[str, ...]
    """One for each source, the worst first; one for the run when it has no sources."""
    notes: tuple[str, ...] = ()
    """Warnings and refused removals."""
    link: str = ""
    """Where to look."""

    @property
    def text(self) -> str:
        """The whole message."""
        return self.cut(None)

    def cut(self, limit: int | None) -> str:
        """The message in at most ``limit`` characters (None: all of it), saying so when lines are left out."""
        lines = [*self.lines, *self.notes]
        end = [f"See {self.link}"] if self.link else []
        whole = "\n".join(lines + end)
        if limit is None or len(whole) <= limit:
            return whole
        room = limit - len("\n".join([_left_out(len(lines)), *end]))
        shown = bisect_right(list(accumulate(len(line) + 1 for line in lines)), room)
        if not shown:  # not even the worst fits
            return shortened("\n".join([lines[0], *end]), limit)
        return "\n".join([*lines[:shown], _left_out(len(lines) - shown), *end])


def render(report: RunReport) -> Message:
    """The message about a run."""
    ok = report.outcome is Outcome.STORED
    results = sorted(report.results, key=lambda result: _WORST_FIRST.index(result.outcome))
    lines = [_source_line(result) for result in results]
    if report.error or not results:
        lines.insert(0, _run_line(report))
    notes = [*_warnings(results), *_retention(report)]
    return Message(ok, _subject(report), tuple(lines), tuple(notes), one_line(report.link))


def one_line(text: str) -> str:
    """Text without line breaks, control characters or anything else that could end a header or forge a line."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters, with a note when some are missing."""
    return text if len(text) <= limit else text[: max(0, limit - len(_CUT))] + _CUT[:limit]


def human_size(size: int) -> str:
    """Bytes as ``12.3 MB``, base 1024."""
    if size < 1024:
        return f"{size} bytes"
    value = float(size)
    for unit in ("KB", "MB", "GB", "TB"):
        value /= 1024
        if round(value, 1) < 1024:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} PB"


def _subject(report: RunReport) -> str:
    name, label = _name(report.job), JOB_LABEL
    if len(report.results) == 1:
        name, label = _name(report.results[0].name), report.results[0].label
    elif report.results:
        label = _counts(report.results)
    what = f"Backup of {name} ({one_line(label)}) on {one_line(report.hostname)}"
    if report.outcome is Outcome.STORED:
        return f"{what} was successful"
    return f"ERROR: {what} {'was skipped' if report.outcome is Outcome.SKIPPED else 'failed'}"


def _counts(results: Sequence[Result]) -> str:
    bad = sum(result.outcome is not Outcome.STORED for result in results)
    return f"{bad} of {len(results)} sources" if bad else f"{len(results)} sources"


def _run_line(report: RunReport) -> str:
    what = f"Backup of '{_name(report.job)}' ({JOB_LABEL}) on '{one_line(report.hostname)}'"
    reason = _reason(report.error, report.hint)
    if report.outcome is Outcome.SKIPPED:
        return f"{what} was skipped: {reason or 'an earlier run is still going'}"
    if report.outcome is Outcome.STORED:
        return f"{what} was successful{f': {reason}' if reason else ''}."
    return f"{what} failed: {reason or 'no source has a result'}"


def _source_line(result: Result) -> str:
    what = f"Backup of '{_name(result.name)}' ({one_line(result.label)}) on '{one_line(result.hostname)}'"
    if result.outcome is Outcome.STORED:
        return f"{what} was successful [size: {human_size(result.size)}]."
    return f"{what} failed: {_failure(result)}"


def _failure(result: Result) -> str:
    """Why a source failed; for one that is stored in part: where it is, where not, and why not."""
    stored = [place.destination for place in result.destinations if place.status == "stored"]
    whole = _reason(result.error, result.hint)
    reasons = [
        f"'{place.destination}': {_reason(place.error, place.hint) or 'no reason was given'}"
        for place in result.destinations
        if place.status == "failed" and not (place.error and place.error in result.error)
    ]
    if stored:
        where = f"stored at {_listed(stored)} [size: {human_size(result.size)}]"
        missing = [place.destination for place in result.destinations if place.status == "failed"]
        where += f" but not at {_listed(missing)}" if missing else ""
        return "; ".join(part for part in (where, whole, *reasons) if part)
    return "; ".join(part for part in (whole, *reasons) if part) or "no reason was given"


def _warnings(results: Iterable[Result]) -> Iterable[str]:
    for result in results:
        about = f"'{_name(result.name)}' ({one_line(result.label)})"
        for warning in result.warnings[:_MOST_NOTES]:
            yield f"Warning for {about}: {_reason(warning)}"
        if len(result.warnings) > _MOST_NOTES:
            yield f"Warning for {about}: {len(result.warnings) - _MOST_NOTES} more warnings"


def _retention(report: RunReport) -> Iterable[str]:
    for pruned in report.pruned:
        about = f"Retention of '{_name(pruned.source)}' at '{_name(pruned.destination)}'"
        if pruned.error:
            yield f"{about} failed: {_reason(pruned.error)}"
        for key, reason in list(pruned.refused.items())[:_MOST_NOTES]:
            yield f"{about} could not remove {one_line(key)}: {_reason(reason)}"
        if len(pruned.refused) > _MOST_NOTES:
            yield f"{about} could not remove {len(pruned.refused) - _MOST_NOTES} more objects"


def _name(text: str) -> str:
    return shortened(one_line(text), _LONGEST_NAME)


def _reason(error: str, hint: str = "") -> str:
    text = one_line(error)
    return shortened(f"{text} ({one_line(hint)})" if text and hint else text or one_line(hint), _LONGEST_REASON)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{one_line(name)}'" for name in names)


def _left_out(count: int) -> str:
    return f"… [cut: {count} more {'line' if count == 1 else 'lines'}]"
