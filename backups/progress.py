"""How far the reading and storing of one source is. The pipeline counts, whoever shows it looks when it likes."""

from __future__ import annotations

import datetime as dt
import time

from backups.records import Record


class LaneProgress(Record):
    """How far one destination is."""

    destination: str
    bytes: int
    state: str


class ProgressRecord(Record):
    """What a progress bar shows; bytes since the start, seconds since the start."""

    source: str
    name: str
    phase: str
    plain_bytes: int
    encrypted_bytes: int
    seconds: float
    lanes: tuple[LaneProgress, ...] = ()
    updated: dt.datetime


class Progress:
    """Counters of one source. Each is written by one thread and read by any; no lock is needed."""

    def __init__(self, source: str, name: str = "") -> None:
        self.source = source
        self.name = name or source
        self.phase = "waiting"
        self.plain_bytes = 0
        self.encrypted_bytes = 0
        self.lanes: dict[str, int] = {}
        self.states: dict[str, str] = {}
        self._started = time.monotonic()

    def enter(self, phase: str) -> None:
        """A new phase begins, such as ``opening``, ``streaming``, ``storing``, ``done``."""
        self.phase = phase

    def snapshot(self) -> ProgressRecord:
        """The counters as they are now."""
        return ProgressRecord(
            source=self.source,
            name=self.name,
            phase=self.phase,
            plain_bytes=self.plain_bytes,
            encrypted_bytes=self.encrypted_bytes,
            seconds=time.monotonic() - self._started,
            lanes=tuple(
                LaneProgress(destination=name, bytes=count, state=self.states.get(name, "storing"))
                for name, count in list(self.lanes.items())
            ),
            updated=dt.datetime.now(dt.UTC),
        )
