"""The last look before a removal: are the copies that it rests on still there?

Between the listing and the removal somebody may have removed what was to stay, or a run may be replacing it. Then the
decision is not what it would be now, so nothing of that source goes; the next run decides anew. Copies that have come
meanwhile change nothing: the more there are, the more may go. What goes is looked at in ``look.py``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterator

from backups.copies import Copy, Scope, paired, scopes
from backups.destinations.base import Destination
from backups.naming import day_prefix, parse_key
from backups.parallel import in_order
from backups.pruning.plan import Plan
from backups.pruning.work import Work

_MORE = "nothing more was removed"


def confirm(work: Work, plan: Plan, destination: Destination) -> None:
    """Look at the days that removals rest on, and give up sources that have changed. Raises DestinationError."""
    left = plan.left(work)
    complaints = {source: complaint for source in left if (complaint := _unbelievable(work, source))}
    if left:
        for source, complaint in _changes(work, plan, destination, left - complaints.keys()):
            complaints.setdefault(source, complaint)
    for source, complaint in complaints.items():
        work.tallies[source].failed(complaint)


def _unbelievable(work: Work, source: str) -> str:
    """What this run has stored must be in the listing; one without it was cut short, or is of another place."""
    expected = work.task.stored.get(source)
    if not expected:
        return ""
    key = parse_key(expected)
    if key and work.index.shows(source, key):
        return ""
    return f"nothing was removed: the listing does not show {expected}, which this run has stored"


def _changes(work: Work, plan: Plan, destination: Destination, wanted: Collection[str]) -> Iterator[tuple[str, str]]:
    """Sources whose removals rest on what is gone, and the reason. A day at a time, since there may be thousands."""
    own, *legacy = scopes(work.task.hostname, wanted, legacy=work.task.legacy)
    old = {key for scope in legacy for key, _ in _copies(scope, scope.prefix, destination)}

    def changed(day: dt.date) -> list[tuple[str, str]]:
        resting = [(source, verified) for source, verified in plan.rest(day) if source in wanted]
        there: dict[str, bool] = {}
        for (source, _), verified in _copies(own, day_prefix(work.task.hostname, day), destination) if resting else ():
            there[source] = verified or there.get(source, False)
        return [
            (source, f"{_MORE}: the copy of {day} is {state} since the listing; the next run decides anew")
            for source, verified in resting
            if (state := _state(there.get(source), verified=verified, old=(source, day) in old))
        ]

    days = sorted(plan.rests_on, reverse=True)
    for complaints in in_order(changed, days, destination.parallel, "confirm"):
        yield from complaints


def _copies(scope: Scope, prefix: str, destination: Destination) -> Iterator[tuple[tuple[str, dt.date], bool]]:
    """Source and day of each copy that is there now, and whether it is verified."""
    for one in paired(scope, destination.list(prefix)):
        if isinstance(one, Copy):
            yield (one.key.source_id, one.key.date), one.verified


def _state(there: bool | None, *, verified: bool, old: bool) -> str:
    """What became of a copy that was there, verified or not; empty when it still is."""
    if there is None and not old:
        return "gone"
    return "not verified any more" if verified and not there else ""
