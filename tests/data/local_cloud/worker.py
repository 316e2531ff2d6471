"""A container's program for the tests: does what the variable ACTION says."""

import json
import os
import signal
import subprocess
import sys
import time

action = os.environ.get("ACTION", "succeed")
print(f"worker: {action}", flush=True)
if action == "succeed":
    sys.exit(0)
if action == "fail":
    sys.stderr.write("worker: it failed\n")
    sys.exit(int(os.environ.get("STATUS", "3")))
if action == "environment":
    with open(os.environ["REPORT"], "w") as report:
        environment = dict(os.environ)
        json.dump({"argv": sys.argv, "environment": environment, "stdin": sys.stdin.read(), "pid": os.getpid()}, report)
    sys.exit(0)
if action == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if action == "orderly":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
# A child in a session of its own: only a sandbox that keeps count of its descendants finds it.
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
with open(os.environ["REPORT"] + ".partial", "w") as report:
    json.dump([os.getpid(), child.pid], report)
os.rename(os.environ["REPORT"] + ".partial", os.environ["REPORT"])
time.sleep(600)
