"""A signal ends the demo wherever it comes; what it then leaves behind is tested end to end."""

from __future__ import annotations

import subprocess
import sys

_SCRIPT = """
import os, signal, sys, time
from local_cloud import demo

class Ends:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(100):
            time.sleep(0.001)

signal.signal(signal.SIGINT, demo._stop)
sys.unraisablehook = demo._not_lost
try:
    one = Ends()
    del one
    time.sleep(30)
except KeyboardInterrupt:
    print("stopped")
"""


def test_a_signal_in_the_middle_of_a_destructor_is_not_lost() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    assert (done.stdout, done.stderr) == ("stopped\n", "")
