"""A process that opens a source of RDS and then stands still: ``python -m tests.integration.one_rds_source JSON``.

It prints ``open`` when the dump runs. Whoever wants to know what is left of a worker that dies kills it.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from backups.context import Context, Task
from backups.sources.rds import RDS


def main(described: dict[str, str]) -> None:
    """Open the source as a worker does."""
    task = Task(job="nightly", run="run-1", source="db")
    with tempfile.TemporaryDirectory() as directory:
        context = Context(tmpdir=Path(directory), task=task)
        with RDS.model_validate(described).open(context):
            print("open", flush=True)
            sys.stdin.read()


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
