"""What a channel sends: a line for each source as the old tool wrote it, and what else must be known. Pure.

Plain texts are made of ``lines`` and ``notes``. Rich forms are made of ``entries``, which hold the same and the rest.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

from backups.notifications.words import shortened
from backups.records import Outcome

_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Fact:
    """One thing to know of a source."""

    name: str
    value: str
    in_line: bool = False
    """The source's line says it already."""


@dataclass(frozen=True)
class Entry:
    """A source, the run itself or its retention, as rich forms show it."""

    title: str
    line: str
    """What plain texts say of it."""
    outcome: Outcome
    facts: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Message:
    """What a channel sends, as it is or cut to its size."""

    ok: bool
    """Everything was stored everywhere, or the run only begins."""
    subject: str
    lines: tuple[str, ...]
    """One for each source, the worst first; one for the run when it has no sources."""
    notes: tuple[str, ...] = ()
    """Warnings and refused removals."""
    link: str = ""
    """Where to look."""
    entries: tuple[Entry, ...] = ()
    """The same for rich forms, in the same order, with sizes, times and places."""
    begins: bool = False
    """The run begins; else it has ended."""
    watched: bool = False
    """It is about what was found between runs, or that this is over."""
    job: str = ""
    run: str = ""
    hostname: str = ""
    at: dt.datetime = _EPOCH
    """When the run began or ended."""
    ids: tuple[str, ...] = ()
    """Of the sources; of the job when there are none."""
    labels: tuple[str, ...] = ()
    """Their types."""

    @property
    def identity(self) -> str:
        """The same for every try to send the message, and for no other message of the job."""
        return "\n".join((self.job, self.run, "begins" if self.begins else "ended"))

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


def _left_out(count: int) -> str:
    return f"… [cut: {count} more {'line' if count == 1 else 'lines'}]"
