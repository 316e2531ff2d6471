"""Which snapshots stay and which go: by the policies of the job's destinations. Pure.

- The snapshots of one run are one backup, of the day that its copy's key has. Of two runs of one day the newer one
  counts, as its copy has replaced the other's.
- They stay as long as the policy of any destination keeps a backup of that day, so the newest always do.
- What says that it is unfinished counts for nothing. It goes once no run can be working on it any more.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Sequence

from backups.copies import Copy
from backups.naming import CopyKey, parse_key
from backups.retention import UNVERIFIED_STAYS, Policy, decide
from backups.snapshots.base import Shot
from backups.snapshots.tags import COMPLETE, COPY, RUN, STATE, UNFINISHED

MARGIN = dt.timedelta(days=1)


def outdated(
    shots: Iterable[Shot], policies: Sequence[Policy], *, today: dt.date, now: dt.datetime, wait_limit: float
) -> list[Shot]:
    """The snapshots of one source that go, the oldest first. ``wait_limit``: seconds that a run may wait for one."""
    backups: dict[CopyKey, list[Shot]] = defaultdict(list)
    going: list[Shot] = []
    in_work = max(UNVERIFIED_STAYS, dt.timedelta(seconds=wait_limit) + MARGIN)
    for shot in shots:
        key = parse_key(shot.tags.get(COPY, ""))
        state = shot.tags.get(STATE)
        if state == UNFINISHED and now - shot.started > in_work:
            going.append(shot)
        elif state == COMPLETE and key:
            backups[key].append(shot)
    kept = _kept(backups, policies, today=today, now=now)
    for key, own in backups.items():
        newest = max(own, key=lambda shot: shot.started).tags.get(RUN)
        going += [shot for shot in own if key not in kept or shot.tags.get(RUN) != newest]
    return sorted(going, key=lambda shot: (shot.started, shot.id))


def _kept(
    backups: dict[CopyKey, list[Shot]], policies: Sequence[Policy], *, today: dt.date, now: dt.datetime
) -> set[CopyKey]:
    copies = [
        Copy(key=key, size=0, modified=max(shot.started for shot in shots), verified=True)
        for key, shots in backups.items()
    ]
    decisions = [decision for policy in policies for decision in decide(copies, policy, today=today, now=now)]
    return {decision.copy.key for decision in decisions if decision.keep}
