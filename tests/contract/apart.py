"""Uses a destination in a process of its own: one that may be killed, or whose memory is looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pydantic import SecretStr

from backups.destinations import DestinationConfig

_HEAD = """
import hashlib, json, os, pathlib, sys
import google.auth.credentials
from backups.context import Context
from backups.destinations import DESTINATIONS

# Google's library asks googleapis.com in the background.
kind = google.auth.credentials.CredentialsWithRegionalAccessBoundary
kind._maybe_start_regional_access_boundary_refresh = lambda *given: None

def connect():
    config = json.load(sys.stdin)
    return DESTINATIONS.get(config["type"]).model_validate(config).connect(Context(tmpdir=pathlib.Path(sys.argv[1])))

def most_memory():
    # Not getrusage: what it says begins with the memory of the process that forked this one.
    status = pathlib.Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in status if line.startswith("VmHWM"))) << 10
"""

KILLED = """
upload = connect().create(sys.argv[2])
for _ in range(int(sys.argv[3]) >> 20):
    upload.write(os.urandom(1 << 20))
os.kill(os.getpid(), 9)
"""
"""Arguments: the key, and how many bytes to write before the end."""

MEASURED = """
with connect() as destination:
    upload = destination.create("first")
    upload.write(b"so that everything is loaded")
    upload.abort()
    before, mib = most_memory(), int(sys.argv[2])
    upload = destination.create("host/large", size_bound=1 << 40)
    digest = hashlib.sha256()
    for number in range(mib):
        block = number.to_bytes(4, "big") * (1 << 18)
        digest.update(block)
        upload.write(block)
    verified = upload.commit(mib << 20, digest.hexdigest())
    [found] = destination.list("host/")
    print(json.dumps({"grown": most_memory() - before, "verified": verified, "size": found.size}))
"""
"""Argument: how many MiB to store. Prints by how many bytes its memory grew at the most, and what was stored."""


def run_apart(
    config: DestinationConfig, script: str, tmpdir: Path, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run one of the scripts above with the product's own sizes; ``tmpdir`` is the private directory."""
    given = {name: _plain(value) for name, value in config.model_dump(exclude_defaults=True).items()}
    return subprocess.run(
        [sys.executable, "-c", _HEAD + script, str(tmpdir), *arguments],
        input=json.dumps({**given, "type": config.type}),
        check=False,
        capture_output=True,
        text=True,
    )


def _plain(value: object) -> object:
    return value.get_secret_value() if isinstance(value, SecretStr) else value
