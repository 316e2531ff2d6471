"""What goes wrong in RDS and EBS now and then, and here when a test asks for it.

Each is a file of its name in one directory; it holds how often it happens, or just stands there as long as it lasts:

    throttle               that many requests are refused as too many
    refuse-delete          that many DeleteDBInstance are refused
    refuse-delete-cluster  that many DeleteDBCluster
    incompatible-restore   that many restores end in this state
    hold-restore           restores stay in the state ``creating``
    hold-snapshot          snapshots of databases and volumes are never complete
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from local_cloud.settings import Settings

DIRECTORY = "faults"
POLL_SECONDS = 0.05


def faults_of(settings: Settings) -> Faults:
    """Those of one cloud."""
    return Faults(settings.scratch(DIRECTORY))


class Faults:
    """The directory that another process writes to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()

    def is_set(self, name: str) -> bool:
        """Whether it lasts."""
        return (self._directory / name).exists()

    def take(self, name: str) -> bool:
        """Whether it happens now; then it happens once less from now on."""
        path = self._directory / name
        with self._lock:
            try:
                left = int(path.read_text())
            except FileNotFoundError:
                return False
            if left > 1:
                path.write_text(str(left - 1))
            else:
                path.unlink()
            return left > 0

    def wait_while(self, name: str) -> None:
        """Go on when it is over."""
        while self.is_set(name):
            time.sleep(POLL_SECONDS)
