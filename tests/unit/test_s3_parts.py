"""Sizes of parts, and the bytes of one part."""

from __future__ import annotations

import hashlib
import itertools
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.destinations.s3.parts import LARGEST, MIB, MOST_PARTS, SMALLEST, Part, part_sizes

GIB, TIB = 1 << 30, 1 << 40


@pytest.mark.parametrize(
    "bound", [None, 1, 100 * GIB, 156 * GIB, 157 * GIB, 200 * GIB, TIB, 5 * TIB, 48 * TIB, 99 * TIB]
)
def test_parts_hold_the_bound_and_keep_to_s3s_limits(bound: int | None) -> None:
    sizes = list(part_sizes(bound))
    assert sum(sizes) >= min(bound or 48 * TIB, 48 * TIB)
    assert len(sizes) == MOST_PARTS == 10_000
    assert sizes[0] == SMALLEST == 16 * MIB
    assert sizes == sorted(sizes)
    assert max(sizes) <= LARGEST == 5 * GIB


@pytest.mark.parametrize("most", [100, 1000])
@pytest.mark.parametrize("bound", [None, 1, 15 * GIB, 200 * GIB, TIB, 48 * TIB])
def test_fewer_parts_hold_the_bound_or_as_much_as_the_server_can(most: int, bound: int | None) -> None:
    sizes = list(part_sizes(bound, most))
    assert len(sizes) == most
    assert sizes == sorted(sizes)
    assert max(sizes) <= LARGEST
    assert sum(sizes) >= min(bound or 48 * TIB, {100: 40 * GIB, 1000: 4_300 * GIB}[most])


def test_parts_grow_no_faster_than_the_bound_demands() -> None:
    assert set(part_sizes(156 * GIB)) == {16 * MIB}
    assert max(part_sizes(200 * GIB)) < 27 * MIB
    for bound in (200 * GIB, TIB, 20 * TIB, None):
        assert sum(part_sizes(bound)) < 1.02 * (bound or 48 * TIB)


@given(st.integers(1, 48 * TIB))
def test_any_bound_fits(bound: int) -> None:
    assert sum(part_sizes(bound)) >= bound


def ignore() -> None:
    """Nothing stops these reads."""


@pytest.mark.parametrize("planned", [1000, 25 * MIB], ids=["in memory", "spooled"])
def test_a_part_reads_the_same_again_and_again(tmp_path: Path, planned: int) -> None:
    blocks = [b"a" * 300, b"", b"b" * 1, b"c" * 600]
    whole = b"".join(blocks)
    part = Part(1, planned, tmp_path)
    for block in blocks:
        part.append(block)
    assert (part.size, part.crc32, part.room) == (len(whole), zlib.crc32(whole), planned - len(whole))
    assert part.in_memory == (planned if planned == 1000 else 0)
    assert part.md5(ignore) == hashlib.md5(whole).digest()
    for _ in range(2):
        body = part.open(ignore)
        assert b"".join(iter(lambda body=body: body.read(7), b"")) == whole  # type: ignore[misc]
        assert (body.tell(), body.read()) == (len(whole), b"")
        assert (body.seek(0, 2), body.seek(-5, 1), body.read()) == (len(whole), len(whole) - 5, whole[-5:])
        assert (body.seek(299), body.read(3)) == (299, whole[299:302])
    assert list(tmp_path.iterdir()) == [], "a spooled part has no name"
    part.release()


@given(st.lists(st.binary(max_size=20), max_size=8), st.integers(0, 60), st.integers(0, 60))
def test_any_range_of_blocks_reads_like_the_whole(blocks: list[bytes], start: int, size: int) -> None:
    part, whole = Part(1, 1000, Path()), b"".join(blocks)
    for block in blocks:
        part.append(block)
    body = part.open(ignore)
    body.seek(min(start, len(whole)))
    assert body.read(size) == whole[min(start, len(whole)) :][:size]


def test_reading_stops_when_it_is_told_to() -> None:
    calls = itertools.count()

    def check() -> None:
        if next(calls):
            raise InterruptedError

    part = Part(1, 100, Path())
    part.append(b"x" * 100)
    body = part.open(check)
    assert body.read(10) == b"x" * 10
    with pytest.raises(InterruptedError):
        body.read(10)
