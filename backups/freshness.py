"""Whether the copies of a job are as fresh and as large as they should be: from records alone. Pure.

What is known of a job is kept from look to look in ``Seen``, since the records of runs expire and a place that has not
had a good copy for months must not be forgotten with them.
"""

from __future__ import annotations

import datetime as dt
import statistics
from collections.abc import Iterable, Iterator, Sequence

from backups.jobfile.occurrences import due_between, last_due, longest_pause
from backups.notifications.words import human_size, human_time
from backups.records import Finding, Outcome, Record, RunReport
from backups.verification.findings import never_checked, of_bad, of_places, of_promise
from backups.verification.status import Verification

GRACE = dt.timedelta(hours=2)
"""How much later than the schedule has it a good copy may come: a nightly job has 26 hours."""

_START_GRACE = dt.timedelta(minutes=30)
"""How much later than it was due a run may begin, beside the schedule's own window."""
_COPIES_COMPARED = 8  # the last copy, and the seven before it
_RUNS_KEPT = 500
_DAY = dt.timedelta(days=1)
_REMIND = dt.timedelta(hours=23, minutes=30)
"""Less than a day, since no two looks are exactly an hour apart."""
_RANK = {"error": 0, "warning": 1}


class GoodCopy(Record):
    """A verified copy, as a run recorded it."""

    run: str
    at: dt.datetime
    """When it was complete."""
    plain_size: int
    size: int


class Place(Record):
    """A source at a destination."""

    source: str
    destination: str
    since: dt.datetime
    """When it was first looked at."""
    copies: tuple[GoodCopy, ...] = ()
    """The newest first; of older ones there are enough to compare it with."""
    kept: int | None = None
    """Copies that retention kept there last."""

    @property
    def name(self) -> str:
        """As sentences have it."""
        return f"'{self.source}' at '{self.destination}'"

    def age(self, now: dt.datetime) -> dt.timedelta:
        """Of its last good copy; without any, since when there was none."""
        return now - (self.copies[0].at if self.copies else self.since)


class Schedule(Record):
    """When a job is to run."""

    expression: str = ""
    """Empty when it runs on demand only."""
    timezone: str = "UTC"
    window_minutes: int = 0
    """How much later than due EventBridge may start it."""
    status: str = "ENABLED"
    """What EventBridge says: ``ENABLED``, ``DISABLED``, or ``MISSING`` when it does not know the schedule."""

    @property
    def allowed_age(self) -> dt.timedelta | None:
        """How old the last good copy may become; None when no schedule says so."""
        return allowed_age(self.expression, self.window_minutes) if self.expression else None


class Seen(Record):
    """What the watch knows of a job."""

    job: str
    since: dt.datetime
    """When it first looked."""
    schedule: str = ""
    """The schedule and its zone at the last look."""
    schedule_since: dt.datetime
    places: tuple[Place, ...] = ()
    runs: tuple[str, ...] = ()
    """Names of the newest runs, sorted."""
    read: tuple[str, ...] = ()
    """Those whose reports went into the places."""
    success: dt.datetime | None = None
    """When the last run ended that stored everything."""
    checks_since: dt.datetime | None = None
    """When it first expected checks of the copies; None while the job wants none."""
    check: str = ""
    """The last check that it has counted."""
    dead_check: str = ""
    """The last check that was killed."""
    told: tuple[tuple[str, ...], ...] = ()
    """What the channels were told of that is wrong."""
    told_at: dt.datetime | None = None


def allowed_age(schedule: str, window_minutes: int) -> dt.timedelta | None:
    """How old a good copy may become under a schedule; None when the schedule never comes twice."""
    pause = longest_pause(schedule)
    return pause + dt.timedelta(minutes=window_minutes) + GRACE if pause else None


def first_look(job: str, now: dt.datetime) -> Seen:
    """Before anything is known."""
    return Seen(job=job, since=now, schedule_since=now)


def remembered(
    seen: Seen,
    places: Iterable[tuple[str, str]],
    runs: Iterable[str],
    reports: Iterable[RunReport],
    schedule: Schedule,
    now: dt.datetime,
) -> Seen:
    """What is known after reading more reports. ``places`` are the job's sources and destinations as they are today."""
    reports = list(reports)
    known = {(place.source, place.destination): place for place in seen.places}
    fresh: dict[tuple[str, str], list[GoodCopy]] = {}
    kept: dict[tuple[str, str], int] = {}
    for report in sorted(reports, key=lambda report: report.run):
        for result in report.results:
            copy = GoodCopy(run=report.run, at=result.finished, plain_size=result.plain_size, size=result.size)
            for at in result.destinations:
                if at.status == "stored":
                    fresh.setdefault((result.source, at.destination), []).append(copy)
        kept |= {(p.source, p.destination): p.kept for p in report.pruned if not p.error}
    updated = []
    for source, destination in places:
        where = (source, destination)
        place = known.get(where) or Place(source=source, destination=destination, since=now)
        by_run = {copy.run: copy for copy in (*place.copies, *fresh.get(where, ()))}
        copies = sorted(by_run.values(), key=lambda copy: copy.at, reverse=True)[:_COPIES_COMPARED]
        updated.append(place.model_copy(update={"copies": tuple(copies), "kept": kept.get(where, place.kept)}))
    good = [report.finished for report in reports if report.outcome is Outcome.STORED]
    text = f"{schedule.expression} {schedule.timezone}"
    return seen.model_copy(
        update={
            "places": tuple(updated),
            "runs": tuple(sorted({*seen.runs, *runs})[-_RUNS_KEPT:]),
            "read": tuple(sorted({*seen.read, *(report.run for report in reports)})[-_RUNS_KEPT:]),
            "success": max([*good, *([seen.success] if seen.success else [])], default=None),
            "schedule": text,
            "schedule_since": seen.schedule_since if seen.schedule == text else now,
        }
    )


def findings(
    seen: Seen, schedule: Schedule, verification: Verification | None, moments: Sequence[dt.datetime], now: dt.datetime
) -> list[Finding]:
    """Everything that is not as it should be, the worst first. ``moments`` are the times of the runs in ``seen``.

    ``verification`` is how the last check left the copies, None as well when the job wants no checks.
    """
    found = [
        *_of_schedule(seen, schedule, moments, now),
        *(finding for place in seen.places for finding in _of_place(place, schedule.allowed_age, now)),
        *_of_verification(seen, verification, now),
    ]
    return sorted(found, key=lambda finding: _RANK[finding.severity])


def _of_schedule(seen: Seen, schedule: Schedule, moments: Sequence[dt.datetime], now: dt.datetime) -> Iterator[Finding]:
    if not schedule.expression:
        return
    if schedule.status != "ENABLED":
        what = "disabled" if schedule.status == "DISABLED" else "gone"
        hint = "deploy again" if what == "gone" else "enable it in EventBridge Scheduler, or deploy again"
        yield Finding(severity="error", kind="disabled", text=f"the schedule is {what}: no run begins", hint=hint)
    begun_by = now - _START_GRACE - dt.timedelta(minutes=schedule.window_minutes)
    missed = _missed(seen, schedule, moments, begun_by)
    if not missed:
        return
    if moments:
        which = f"{missed[-1]:%Y-%m-%d %H:%M} UTC" + (f" and {len(missed) - 1} before it" if len(missed) > 1 else "")
        text = f"no run began that was due at {which}"
        yield Finding(severity="error", kind="missed", text=text, hint="is its event in the dead-letter queue?")
    else:
        text = f"no run has ever begun; one was due at {missed[-1]:%Y-%m-%d %H:%M} UTC"
        yield Finding(severity="error", kind="never", text=text, hint="look at the log of the orchestrator")


def _missed(seen: Seen, schedule: Schedule, moments: Sequence[dt.datetime], until: dt.datetime) -> list[dt.datetime]:
    """Times of the last day, or else the last one, that no run belongs to; a run made up for it until the next one."""
    last = last_due(schedule.expression, schedule.timezone, until)
    if last is None:
        return []
    due = due_between(schedule.expression, schedule.timezone, until - _DAY, until) or [last]
    ends = [*due[1:], dt.datetime.max.replace(tzinfo=dt.UTC)]
    return [
        moment
        for moment, end in zip(due, ends, strict=True)
        if moment > seen.schedule_since and not any(moment <= run < end for run in moments)
    ]


def _of_place(place: Place, limit: dt.timedelta | None, now: dt.datetime) -> Iterator[Finding]:
    def finding(severity: str, kind: str, text: str, hint: str) -> Finding:
        return Finding.model_validate(
            {
                **{"severity": severity, "kind": kind, "text": text, "hint": hint},
                **{"source": place.source, "destination": place.destination},
            }
        )

    age = place.age(now)
    if limit and age > limit:
        since = f"; the last is of {place.copies[0].at:%Y-%m-%d %H:%M} UTC" if place.copies else " since it is watched"
        text = f"{place.name} has had no good copy for {human_time(age.total_seconds())}{since}"
        yield finding("error", "late", text, "the reports of its last runs say why")
    if not place.copies:
        return
    last, *before = place.copies
    if not last.plain_size:
        yield finding("error", "empty", f"the last copy of {place.name} is empty", "is the source empty, too?")
    elif before:
        usual = statistics.median(copy.plain_size for copy in before)
        if last.plain_size * 2 < usual:
            text = f"the last copy of {place.name} holds {human_size(last.plain_size)}, usual are"
            yield finding("warning", "shrunk", f"{text} {human_size(round(usual))}", "was that much deleted?")


def _of_verification(seen: Seen, verification: Verification | None, now: dt.datetime) -> Iterator[Finding]:
    """Copies that a check has not found good, or that wait too long for one."""
    if verification is not None:
        yield from of_bad(verification)
        yield from of_places(verification)
        yield from of_promise(verification, now)
    elif seen.checks_since is not None:
        yield from never_checked(seen.checks_since, now)


def news(seen: Seen, found: Sequence[Finding], now: dt.datetime) -> bool:
    """Whether the channels are to be told: something changed, or a day has passed since they heard that it is bad."""
    identities = _identities(found)
    if identities != seen.told:
        return True
    return bool(identities) and (seen.told_at is None or now - seen.told_at >= _REMIND)


def told(seen: Seen, found: Sequence[Finding], now: dt.datetime) -> Seen:
    """What is known after the channels were told."""
    return seen.model_copy(update={"told": _identities(found), "told_at": now})


def reminder(seen: Seen, found: Sequence[Finding]) -> bool:
    """Whether what there is to tell was told before."""
    return bool(found) and _identities(found) == seen.told


def _identities(found: Sequence[Finding]) -> tuple[tuple[str, ...], ...]:
    return tuple(sorted({finding.identity for finding in found}))
