"""Keys that one listing shows together, where each of them must be looked up before it is removed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator

_FEW = 8
"""Fewer keys than that of one folder are asked for one by one: the folder may hold ten thousand others."""


def neighbours(keys: Iterable[str]) -> Iterator[list[str]]:
    """Groups of keys, each sorted: many of one folder together, a few each by itself."""
    for _, group in itertools.groupby(keys, key=lambda key: key.rpartition("/")[0]):
        found = sorted(set(group))
        if len(found) < _FEW:
            yield from ([key] for key in found)
        else:
            yield found


def prefix_of(group: list[str]) -> str:
    """What to list to see all of a group."""
    return group[0] if len(group) == 1 else group[0].rpartition("/")[0] + "/"
