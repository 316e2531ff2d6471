"""CRC-32 from the sums of pieces."""

from __future__ import annotations

import functools
import zlib

from hypothesis import given
from hypothesis import strategies as st

from backups.destinations.s3.crc32 import combined


@given(st.lists(st.binary(max_size=300)))
def test_pieces_give_the_sum_of_the_whole(pieces: list[bytes]) -> None:
    found = functools.reduce(lambda sum_, piece: combined(sum_, zlib.crc32(piece), len(piece)), pieces, 0)
    assert found == zlib.crc32(b"".join(pieces))


def test_a_piece_of_many_bytes() -> None:
    large = bytes(range(256)) * 65_537
    assert combined(zlib.crc32(b"before"), zlib.crc32(large), len(large)) == zlib.crc32(b"before" + large)
