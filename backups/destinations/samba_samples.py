"""Blocks chosen at random while they are written, to be read back without reading everything."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

SAMPLES = 16


@dataclass(frozen=True)
class Sample:
    """What was written at one place."""

    offset: int
    size: int
    digest: bytes


class Samples:
    """Every block is kept with the same probability, however many come; the last one always."""

    def __init__(self) -> None:
        self._kept: list[Sample] = []
        self._blocks = 0
        self._last: tuple[int, bytes] | None = None

    def add(self, offset: int, block: bytes) -> None:
        """Tell of the next block. It is hashed only if it is kept."""
        self._blocks += 1
        self._last = (offset, block)
        if len(self._kept) < SAMPLES:
            self._kept.append(_sample(offset, block))
        elif (place := secrets.randbelow(self._blocks)) < SAMPLES:
            self._kept[place] = _sample(offset, block)

    def __iter__(self) -> Iterator[Sample]:
        chosen = {sample.offset: sample for sample in self._kept}
        if self._last:
            chosen[self._last[0]] = _sample(*self._last)
        yield from (chosen[offset] for offset in sorted(chosen))


def _sample(offset: int, block: bytes) -> Sample:
    return Sample(offset, len(block), hashlib.sha256(block).digest())
