"""The last look before a removal: are the copies that it rests on still there?

Between the listing and the removal somebody may have removed what was to stay, or a run may be replacing it. Then the
decision is not what it would be now, so nothing of that source goes; the next run decides anew. Copies that have come
meanwhile change nothing: the more there are, the more may go. What goes is looked at in ``look.py``.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Sequence

from backups.copies import Copy, paired, scopes
from backups.destinations.base import Destination
from backups.naming import day_prefix, parse_key
from backups.pruning.removal import Plan
from backups.pruning.work import Work

_Days = dict[str, dict[dt.date, bool]]
"""By source the days that have a copy, and whether a verified one."""


def confirm(work: Work, plan: Plan, destination: Destination) -> None:
    """Look at the days that removals rest on, and give up sources that have changed. Raises DestinationError."""
    going = {row.source for row in plan.rows(work) if isinstance(row.found, Copy)}
    complaints = {source: _unbelievable(work, source) for source in going}
    there = _look(work, plan, destination, [source for source, complaint in complaints.items() if not complaint])
    complaints = {source: complaint or _changed(plan, source, there) for source, complaint in complaints.items()}
    for row in plan.rows(work):
        if complaint := complaints.get(row.source):
            work.tallies[row.source].failed(complaint)


def _unbelievable(work: Work, source: str) -> str:
    """What this run has stored must be in the listing; one without it was cut short, or is of another place."""
    expected = work.task.stored.get(source)
    if not expected:
        return ""
    key = parse_key(expected)
    if key and work.index.shows(source, key):
        return ""
    return f"nothing was removed: the listing does not show {expected}, which this run has stored"


def _look(work: Work, plan: Plan, destination: Destination, sources: Sequence[str]) -> _Days:
    days = sorted({day for source in sources for day, _ in plan.rests_on[source]})
    hosts, *legacy = scopes(work.task.hostname, sources, legacy=work.task.legacy)
    looks = [(hosts, day_prefix(work.task.hostname, day)) for day in days]
    looks += [(scope, scope.prefix) for scope in legacy]
    there: _Days = defaultdict(dict)
    for scope, prefix in looks:
        for one in paired(scope, destination.list(prefix)):
            if isinstance(one, Copy):
                of_source = there[one.key.source_id]
                of_source[one.key.date] = one.verified or of_source.get(one.key.date, False)
    return there


def _changed(plan: Plan, source: str, there: _Days) -> str:
    for day, verified in sorted(plan.rests_on[source], reverse=True):
        now = there[source].get(day)
        if now is None or (verified and not now):
            state = "gone" if now is None else "not verified any more"
            return (
                f"nothing more was removed: the copy of {day} is {state} since the listing; the next run decides anew"
            )
    return ""
