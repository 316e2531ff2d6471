"""One stream's blocks to all lanes, as fast as the slowest takes them; one that holds the others back too long leaves.

Nothing is kept for a slow destination, in memory or on disk beyond its window: it gets its copy afterwards, by the
second chance.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

from backups.errors import DestinationError
from backups.fanout import Lane, Patience

_TICK = 0.5


class Pace:
    """Hands blocks to lanes, and knows for how long the others waited for each of them."""

    def __init__(self, lanes: Sequence[Lane], patience: Patience) -> None:
        self._lanes = lanes
        self._patience = patience
        self._began = 0.0
        self._held: dict[str, float] = defaultdict(float)
        """Seconds for which a lane was waited for while another one had nothing left to write."""

    def put(self, block: bytes) -> None:
        """Hand a block to every lane that is alive, waiting for room."""
        self._began = self._began or time.monotonic()
        for lane in self._lanes:
            since = time.monotonic()
            while not lane.offer(block, min(_TICK, self._patience.slow_seconds)):
                now = time.monotonic()
                self._waited(lane, now - since, now - self._began)
                since = now
            now = time.monotonic()
            self._waited(lane, now - since, now - self._began)

    def _waited(self, lane: Lane, seconds: float, elapsed: float) -> None:
        """Count it, and take the lane out once it makes the pass ``slow_factor`` times as long as without it."""
        factor = self._patience.slow_factor
        if factor is None or not lane.alive or not any(one.idle for one in self._lanes if one is not lane):
            return
        held = self._held[lane.destination] = self._held[lane.destination] + seconds
        if held > self._patience.slow_seconds and elapsed > factor * (elapsed - held):
            lane.drop(
                DestinationError(
                    f"was too slow for the others, who waited for it for {held:.0f} of {elapsed:.0f} s",
                    hint="it was left for a copy of a finished one; 'slow_factor' in the job file says when",
                )
            )
