"""A home directory for gpg that is not the user's."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def gpg_home() -> Iterator[Path]:
    """An empty one, removed with the agent that gpg starts in it.

    Its path is short, since that of the agent's socket may have 107 bytes at most.
    """
    home = Path(tempfile.mkdtemp(prefix="gpg-"))
    try:
        yield home
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
        while home.exists():  # the agent takes its sockets away itself, perhaps the moment that we look
            shutil.rmtree(home, ignore_errors=True)
