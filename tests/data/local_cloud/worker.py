"""A container's program for the tests: does what the variable ACTION says."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def report(content: object) -> None:
    """Leave a file for the test, whole or not at all."""
    target = Path(os.environ["REPORT"])
    partial = target.with_suffix(".partial")
    partial.write_text(json.dumps(content))
    partial.rename(target)


action = os.environ.get("ACTION", "succeed")
print(f"worker: {action}", flush=True)
if action == "succeed":
    sys.exit(0)
if action == "fail":
    sys.stderr.write("worker: it failed\n")
    sys.exit(int(os.environ.get("STATUS", "3")))
if action == "environment":
    report({"argv": sys.argv, "environment": dict(os.environ), "stdin": sys.stdin.read(), "directory": str(Path.cwd())})
    sys.exit(0)
if action == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
# A child in a session of its own: only a sandbox that keeps count of its descendants finds it.
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
report([os.getpid(), child.pid])
time.sleep(600)
