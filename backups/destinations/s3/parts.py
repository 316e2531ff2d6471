"""The parts of a multipart upload: how large each is, and one part's bytes, kept until the server has them."""

from __future__ import annotations

import bisect
import hashlib
import io
import itertools
import math
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, cast

MIB = 1 << 20
_STEP = 64 << 10
_STEEPEST = 1.05  # as large as the first hundred parts of an upload of unknown length may become: 2 GiB
SMALLEST = 16 * MIB
LARGEST = 5 << 30
MOST_PARTS = 10_000
LARGEST_OBJECT = 48 << 40
"""What an upload of unknown length must have room for; S3's own limit is a little more."""


def part_sizes(size_bound: int | None = None, most: int = MOST_PARTS) -> Iterator[int]:
    """Sizes in bytes of ``most`` parts that together hold ``size_bound`` bytes (48 TiB when unknown).

    They start at 16 MiB and grow by a constant factor, the smallest that suffices: a part is held until the server
    has it, so every byte by which it is larger costs memory or disk. With 1,000 parts there is room for 4.5 TiB.
    """
    factor = _growth(min(size_bound or LARGEST_OBJECT, LARGEST_OBJECT), most)
    for number in range(most):
        yield _size(factor, number)


def _size(factor: float, number: int) -> int:
    grown = SMALLEST * factor**number
    return LARGEST if grown >= LARGEST else -int(-grown // _STEP) * _STEP


def _growth(bound: int, most: int) -> float:
    """The smallest factor, to nine digits, with which the parts hold ``bound`` bytes, or as many as they can."""
    if bound <= SMALLEST * most:
        return 1.0
    low, high = 1.0, _STEEPEST
    while high - low > 1e-9:
        middle = (low + high) / 2
        if _capacity(middle, most) >= bound:
            high = middle
        else:
            low = middle
    return high


def _capacity(factor: float, most: int) -> float:
    """What parts of that growth hold, before each is rounded up: a geometric series, then the largest."""
    growing = min(most, math.ceil(math.log(LARGEST / SMALLEST, factor)))
    return SMALLEST * (factor**growing - 1) / (factor - 1) + LARGEST * (most - growing)


class Part:
    """The bytes of one part: blocks shared with the other destinations, or beyond ``SPOOLED`` a nameless file.

    The file holds what is uploaded, encrypted bytes; it is gone when it is closed, or when the process dies.
    """

    SPOOLED = 24 * MIB

    def __init__(self, number: int, planned: int, tmpdir: Path) -> None:
        """``planned`` is the size at which it is full. Raises OSError when the file can't be made."""
        from fastcrc import crc32  # where nothing is uploaded it need not be there

        self.number = number
        self.planned = planned
        self.size = 0
        self.crc32 = 0
        self._continued = crc32.iso_hdlc
        self._blocks: list[bytes] = []
        self._spool: IO[bytes] | None = None
        if planned > self.SPOOLED:
            self._spool = tempfile.TemporaryFile(dir=tmpdir, buffering=0)  # noqa: SIM115 - closed by release()

    @property
    def room(self) -> int:
        """Bytes that still fit."""
        return self.planned - self.size

    @property
    def in_memory(self) -> int:
        """Bytes of memory that it may come to hold."""
        return 0 if self._spool else self.planned

    def append(self, block: bytes) -> None:
        """Add bytes. Raises OSError when they can't be spooled."""
        if self._spool:
            rest = memoryview(block)
            while rest:
                rest = rest[self._spool.write(rest) :]
        else:
            self._blocks.append(block)
        self.size += len(block)
        self.crc32 = self._continued(block, self.crc32)

    def open(self, check: Callable[[], None]) -> IO[bytes]:
        """Its bytes from the start, as often as needed. ``check`` is called before each read and may raise."""
        return cast("IO[bytes]", _Body(self._spool or _Blocks(self._blocks), self.size, check))

    def md5(self, check: Callable[[], None]) -> bytes:
        """For servers that know no other checksum; ``check`` as in ``open``."""
        digest = hashlib.md5(usedforsecurity=False)
        body = self.open(check)
        while block := body.read(MIB):
            digest.update(block)
        return digest.digest()

    def release(self) -> None:
        """Let the bytes go."""
        self._blocks = []
        if self._spool:
            self._spool.close()


class _Blocks:
    """A list of blocks that reads like one file."""

    def __init__(self, blocks: list[bytes]) -> None:
        self._blocks = blocks
        self._starts = list(itertools.accumulate((len(block) for block in blocks), initial=0))
        self._at = 0

    def seek(self, offset: int) -> int:
        self._at = offset
        return offset

    def read(self, size: int) -> bytes:
        index = bisect.bisect_right(self._starts, self._at) - 1
        if index >= len(self._blocks):
            return b""
        begin = self._at - self._starts[index]
        piece = self._blocks[index][begin : begin + size]
        self._at += len(piece)
        return piece


class _Body(io.RawIOBase):
    """What the HTTP client sends: it can be rewound, and stops at once when the upload is given up."""

    def __init__(self, content: IO[bytes] | _Blocks, size: int, check: Callable[[], None]) -> None:
        self._content = content
        self._size = size
        self._check = check
        self._at = content.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = self._content.seek(base + offset)
        return self._at

    def read(self, size: int = -1) -> bytes:
        self._check()
        wanted = self._size - self._at if size < 0 else min(size, self._size - self._at)
        pieces = []
        while wanted > 0 and (piece := self._content.read(wanted)):
            pieces.append(piece)
            wanted -= len(piece)
            self._at += len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
