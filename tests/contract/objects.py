"""Writes, reads and lists a destination's objects as the pipeline does: what all tests of destinations share."""

from __future__ import annotations

import hashlib
import random

from backups.destinations import Destination, Upload

MIB = 1 << 20
PART = 5 * MIB
BIG = 2 * PART + 4321
"""More than two parts, and no whole number of anything."""
KEY = "host/2026-11-23/db.sql.gpg"


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that nothing compresses, the same ones for the same seed."""
    return random.Random(seed).randbytes(size)


def sha256(data: bytes) -> str:
    """As the pipeline gives it to a commit."""
    return hashlib.sha256(data).hexdigest()


def push(upload: Upload, data: bytes) -> None:
    """In blocks as the pipeline makes them: mostly 1 MiB, never aligned to parts."""
    for start in range(0, len(data), MIB):
        upload.write(data[start : start + MIB])


def store(destination: Destination, data: bytes, key: str = KEY) -> str:
    """Write it whole and return how it was verified; whatever fails, abort."""
    upload = destination.create(key)
    try:
        push(upload, data)
        return upload.commit(len(data), sha256(data))
    finally:
        upload.abort()


def fetch(destination: Destination, key: str = KEY) -> bytes:
    """The whole object."""
    return b"".join(destination.read(key))


def keys(destination: Destination, prefix: str = "") -> list[str]:
    """What is listed."""
    return [found.key for found in destination.list(prefix)]
