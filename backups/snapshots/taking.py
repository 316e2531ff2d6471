"""Takes the snapshots of one source: begun, waited for, copied, and at the end counted or undone.

A snapshot says ``backups:state=unfinished`` from the first moment on. So whatever happens to this process, retention
knows those that nobody may count on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from backups.context import Context
from backups.errors import BackupsError, SourceError
from backups.snapshots.base import Shot, Snapshots
from backups.snapshots.calls import BusyError
from backups.snapshots.tags import COMPLETE, RUN, STATE, UNFINISHED, owner_tags, snapshot_name, tag_value, task_tags

log = logging.getLogger("backups.snapshots")

POLL_SECONDS = 15.0
"""Between two looks, after shorter pauses at first; EC2 and RDS limit the calls of a whole account."""

_FIRST_POLL = 1.0

UNSEEN_SECONDS = 300.0
"""For so long a snapshot that was begun may be missing in listings."""

PATIENCE = 40
"""How many looks in a row may fail because AWS is busy or out of reach."""


@dataclass
class Taking:
    """The snapshots of one source in one run."""

    home: Snapshots
    away: Snapshots | None
    """The region that they are copied to."""
    context: Context
    limit: float
    """Seconds that AWS may take, for copies too."""
    kms_key: str = ""
    """For the copies; the other region's default when empty."""
    shots: list[Shot] = field(default_factory=list)
    copies: list[tuple[Shot, Shot]] = field(default_factory=list)
    """Each snapshot with its copy."""

    def run(self) -> None:
        """Take them. Raises SourceError, StoppedError; then nothing counts, and what can be is deleted."""
        limit = _Limit(self.limit)
        task = self.context.task
        try:
            self.context.cancel.check()
            task.tell("snapshot 0%")
            begun = self.home.begin(task_tags(task), snapshot_name(task))
            self.shots = self._wait(self.home, begun, "snapshot", limit)
            if self.away:
                self._copy(self.away, limit)
        except BaseException:
            self.undo()
            raise

    def count(self) -> None:
        """From now on they count. Raises SourceError when they can't be marked: then they do not."""
        try:
            for snapshots, shots in self._places():
                snapshots.mark(shots, {STATE: COMPLETE})
        except SourceError as error:
            self.undo()
            text = f"the snapshots do not count, since they could not be marked as complete: {error.message}"
            raise SourceError(text, hint=error.hint) from None

    def undo(self) -> None:
        """Delete what this run began, also what it never got an answer about. Never raises.

        RDS refuses to delete a snapshot that is still being made; retention removes that later, by its tag.
        """
        task = self.context.task
        wanted = {
            **owner_tags(task.job, task.hostname, task.source),
            RUN: tag_value(task.run),
            STATE: UNFINISHED,
        }
        for snapshots in (self.home, self.away):
            if snapshots is None:
                continue
            try:
                for shot in snapshots.owned(wanted):
                    snapshots.delete(shot)
            except BackupsError as error:
                log.warning("a snapshot of a run that failed stays until retention removes it: %s", error)

    def _places(self) -> list[tuple[Snapshots, list[Shot]]]:
        places = [(self.home, self.shots)]
        if self.away:
            # The copies first: should marking break off, those here do not count either, and retention finds them.
            places.insert(0, (self.away, [copy for _, copy in self.copies]))
        return places

    def _copy(self, away: Snapshots, limit: _Limit) -> None:
        tags = task_tags(self.context.task)
        begun = [away.copy(shot, tags, self.kms_key) for shot in self.shots]
        whole = {shot.id: shot for shot in self._wait(away, begun, f"copy to {away.region}", limit)}
        self.copies = [(shot, whole[copy.id]) for shot, copy in zip(self.shots, begun, strict=True)]

    def _wait(self, snapshots: Snapshots, begun: Sequence[Shot], what: str, limit: _Limit) -> list[Shot]:
        """The snapshots when they are complete."""
        ids = [shot.id for shot in begun]
        failed_looks, pause = 0, _FIRST_POLL
        while True:
            try:
                found = {shot.id: shot for shot in snapshots.look(ids)}
                failed_looks = 0
                self._refuse(snapshots, ids, found, limit)
                self.context.task.tell(f"{what} {_percent(list(found.values()), len(ids))}%")
                if all(id_ in found and found[id_].state == "complete" for id_ in ids):
                    return [found[id_] for id_ in ids]
            except BusyError:
                failed_looks += 1
                if failed_looks >= PATIENCE:
                    raise
            if limit.over():
                raise SourceError(
                    f"the {what} of {snapshots.target} was not complete within {limit.seconds:.0f} s: {', '.join(ids)}",
                    hint="raise 'wait_limit'; the first snapshot of a volume takes longest, later ones less",
                )
            self.context.cancel.wait(min(pause, POLL_SECONDS))
            pause *= 1.5

    def _refuse(self, snapshots: Snapshots, ids: Sequence[str], found: dict[str, Shot], limit: _Limit) -> None:
        for shot in found.values():
            if shot.state == "failed":
                raise SourceError(
                    f"snapshot {shot.id} of {shot.of} in {snapshots.region} failed: {shot.said}",
                    hint="AWS gives the reason in the events of the volume or database; then run the source again",
                )
        missing = [id_ for id_ in ids if id_ not in found]
        if missing and limit.elapsed() > UNSEEN_SECONDS:
            raise SourceError(
                f"snapshot {', '.join(missing)} of {snapshots.target} is gone: someone deleted it",
                hint="who did: CloudTrail, DeleteSnapshot; run the source again",
            )


class _Limit:
    """How long all waits together may take."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._began = time.monotonic()

    def elapsed(self) -> float:
        return time.monotonic() - self._began

    def over(self) -> bool:
        return self.elapsed() >= self.seconds


def _percent(shots: Sequence[Shot], count: int) -> int:
    """How far all of them are, the larger ones counting more."""
    weights = [max(shot.size_gib, 1) for shot in shots]
    done = sum(shot.percent * weight for shot, weight in zip(shots, weights, strict=True))
    return int(done / (sum(weights) or 1)) if len(shots) == count else 0
