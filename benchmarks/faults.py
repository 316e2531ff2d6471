"""Runs with faults drawn at random, more of them than the tests make: ``python -m benchmarks.faults --runs 1000``.

Each is a whole run with one to three destinations, of which any step may fail, pause or hang, once or for ever, while
the source or a signal may end it too. It must end, say the truth about what is stored, and leave nothing. The draws
are seeded: a run that failed is made again with ``--first SEED --runs 1``.
"""

from __future__ import annotations

import argparse
import collections
import logging
import sys
import tempfile
import time
from pathlib import Path

from backups.context import Context
from tests.integration.random_runs import run_with_faults
from tests.integration.scripted import nothing_left


def main() -> int:
    """1 when a run failed; what failed was said by then."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000, help="how many (default: 1000)")
    parser.add_argument("--first", type=int, default=100, help="first seed (default: 100; the tests have those below)")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # thousands of faults that are meant, each with its traceback
    began, outcomes = time.monotonic(), collections.Counter[str]()
    for seed in range(arguments.first, arguments.first + arguments.runs):
        with tempfile.TemporaryDirectory(prefix="faults-", dir="/var/tmp") as directory:
            private = Path(directory) / "private"
            private.mkdir(mode=0o700)
            context = Context(tmpdir=private)
            try:
                with nothing_left(context):
                    outcomes[run_with_faults(seed, Path(directory), context)] += 1
            except Exception as error:
                outcomes["WRONG"] += 1
                print(f"seed {seed}: {type(error).__name__}: {error}", flush=True)
    told = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common())
    print(f"{arguments.runs} runs in {time.monotonic() - began:.0f} s: {told}")
    return 1 if outcomes["WRONG"] else 0


if __name__ == "__main__":
    sys.exit(main())
