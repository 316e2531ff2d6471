"""A process that runs one source, as the worker does: ``python -m tests.integration.one_source JOB.json``.

The job file is that of scripted.py's parts: the argv of the source, and directories. Prints a line once it can
be stopped, and at the end the result, and this process's peak memory in KiB.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from backups.context import Context
from backups.destinations.local.destination import Local
from backups.job import Job, JobSettings
from backups.planning import plan
from backups.running import run_source
from tests.integration.scripted import NOW, PASSPHRASE, Scripted


def main(described: dict[str, Any]) -> None:
    """Run it to its end."""
    settings = JobSettings.model_validate(
        {
            "encryption": {"passphrase": PASSPHRASE},
            "compression": described["compression"],
            "hostname": "host",
        }
    )
    source = Scripted(id="data", argv=tuple(described["argv"]))
    places = tuple(Local(id=Path(path).name, path=path) for path in described["places"])
    job = Job("nightly", settings, (source,), places, ())
    [item] = plan(job, run="20261123T020000Z", now=NOW).items
    context = Context(tmpdir=Path(described["tmpdir"]))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: context.cancel.set(number))
    print("ready", flush=True)
    result = run_source(job, item, context)
    print(json.dumps({"result": result.model_dump(mode="json"), "peak_kib": _peak_kib()}))


def _peak_kib() -> int:
    """Of this program alone: what getrusage tells begins with the process that forked it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("the kernel tells no VmHWM")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
