"""Sends a file to one destination as a pass would: ``python -m benchmarks.store FILE < DESTINATION.json``."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path

from backups.context import Context
from backups.destinations import DESTINATIONS
from backups.pipeline import BLOCK_BYTES
from benchmarks.measure import write_peak


def main() -> None:
    """Store it under a new key; prints the seconds, and leaves the peak of memory for whoever measures."""
    given = json.load(sys.stdin)
    kind = DESTINATIONS.get(given["type"])
    assert kind is not None, given["type"]
    with (
        tempfile.TemporaryDirectory() as private,
        Path(sys.argv[1]).open("rb", buffering=0) as file,
        kind.model_validate(given).connect(Context(tmpdir=Path(private))) as destination,
    ):
        # The pass hashes the stream once, whatever the number of destinations: it is no part of what one costs.
        digest, size = hashlib.file_digest(file, "sha256"), file.tell()
        file.seek(0)
        began = time.monotonic()
        # A new name each time: a copy has its day in its key, so that in earnest hardly one replaces another.
        upload = destination.create(f"bench/{time.time_ns()}", size_bound=size)
        while block := file.read(BLOCK_BYTES):
            upload.write(block)
        upload.commit(size, digest.hexdigest())
        print(time.monotonic() - began)
    write_peak()


if __name__ == "__main__":
    main()
