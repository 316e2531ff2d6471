"""Blocks chosen at random while they are written, to be read back without reading everything."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import GCM

SAMPLES = 16


@dataclass(frozen=True)
class Sample:
    """What was written at one place."""

    offset: int
    size: int
    tag: bytes


class Sum:
    """GMAC, ten times as quick as SHA-256. Under a key that nobody else knows, other bytes have the same tag with a
    chance of about 2^-100, also when a server chose them."""

    def __init__(self, key: bytes, nonce: bytes) -> None:
        self._mac = Cipher(AES(key), GCM(nonce)).encryptor()

    def update(self, block: bytes) -> None:
        """Take the next bytes."""
        self._mac.authenticate_additional_data(block)

    def tag(self) -> bytes:
        """Of all bytes; it is called once."""
        self._mac.finalize()
        return self._mac.tag


class Samples:
    """Every block is kept with the same probability, however many come; the last one always."""

    def __init__(self) -> None:
        self._secret = os.urandom(16), os.urandom(12)  # one nonce will do, since no tag is ever shown
        self._kept: list[Sample] = []
        self._blocks = 0
        self._last: tuple[int, bytes] | None = None

    def sum(self) -> Sum:
        """To be compared with the tags of these samples."""
        return Sum(*self._secret)

    def add(self, offset: int, block: bytes) -> None:
        """Tell of the next block. It is summed only if it is kept."""
        self._blocks += 1
        self._last = (offset, block)
        if len(self._kept) < SAMPLES:
            self._kept.append(self._sample(offset, block))
        elif (place := secrets.randbelow(self._blocks)) < SAMPLES:
            self._kept[place] = self._sample(offset, block)

    def __iter__(self) -> Iterator[Sample]:
        chosen = {sample.offset: sample for sample in self._kept}
        if self._last:
            chosen[self._last[0]] = self._sample(*self._last)
        yield from (chosen[offset] for offset in sorted(chosen))

    def _sample(self, offset: int, block: bytes) -> Sample:
        sum_ = self.sum()
        sum_.update(block)
        return Sample(offset, len(block), sum_.tag())
