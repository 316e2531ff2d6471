"""How much memory a large copy takes at each kind of destination: ``python -m benchmarks.memory [--gib 5] [KIND …]``.

Each kind stores one stream of that size on its real server, in a process of its own. What is told is by how much that
process grew beyond what it had when everything was loaded. The contract suite asks the same of 256 MiB: less than
96 MiB. Needs a little more than twice the size as free disk.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from tests.contract.apart import MEASURED, run_apart
from tests.contract.places import PLACES, Place

MIB = 1 << 20
MOST = 96 * MIB


def main() -> int:
    """1 when a kind needed more than it may."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gib", type=int, default=5, help="size of the stream (default: 5)")
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"all when missing: {', '.join(PLACES)}")
    arguments = parser.parse_args()
    if wrong := set(arguments.kinds) - set(PLACES):
        parser.error(f"unknown kind: {', '.join(sorted(wrong))}")
    print("| destination | GiB | s | MiB/s | memory grew by (MiB) | verified |\n|---|---|---|---|---|---|")
    grown = [_measure(kind, arguments.gib) for kind in arguments.kinds or PLACES]
    return int(any(one > MOST for one in grown))


def _measure(kind: str, gib: int) -> int:
    with tempfile.TemporaryDirectory(prefix="memory-", dir="/var/tmp") as name:
        directory, place = Path(name), PLACES[kind]
        for inner in ("server", "private"):
            (directory / inner).mkdir(mode=0o700)
        if not place.fixture:
            return _store(kind, place(None, directory), directory / "private", gib)
        with place.serve(directory / "server") as server:
            return _store(kind, place(server, directory), directory / "private", gib)


def _store(kind: str, place: Place, private: Path, gib: int) -> int:
    began = time.monotonic()
    done = run_apart(place.config(), MEASURED, private, str(gib << 10))
    seconds = time.monotonic() - began
    if done.returncode:
        raise SystemExit(f"{kind}: {done.stderr}")
    told = json.loads(done.stdout)
    assert told["size"] == gib << 30
    row = (kind, gib, f"{seconds:.0f}", f"{(gib << 10) / seconds:.0f}", f"{told['grown'] / MIB:.0f}", told["verified"])
    print("| " + " | ".join(map(str, row)) + " |", flush=True)
    return int(told["grown"])


if __name__ == "__main__":
    sys.exit(main())
