"""rclone as an S3 server: one that ignores S3's checksums, as older S3-compatible servers do."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ACCESS_KEY, SECRET_KEY = "AKRCLONE", "s3cr3t-of-rclone"


@dataclass(frozen=True)
class RcloneS3:
    """A running server; each directory in ``directory`` is a bucket."""

    directory: Path
    url: str


@contextlib.contextmanager
def rclone_s3(directory: Path) -> Iterator[RcloneS3]:
    """Serve a directory."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = directory.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *(str(Path(sys.executable).with_name("rclone")), "serve", "s3", str(directory)),
                *(f"--addr=127.0.0.1:{port}", f"--auth-key={ACCESS_KEY},{SECRET_KEY}"),
                *("--vfs-cache-mode=off", "--dir-cache-time=0s", f"--config={directory.with_suffix('.conf')}"),
            ],
            stdout=output,
            stderr=output,
        )
    try:
        _wait(process, port, log)
        yield RcloneS3(directory, f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"rclone did not start:\n{log.read_text()}")
        time.sleep(0.05)
