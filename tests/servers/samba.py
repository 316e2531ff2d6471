"""Samba: a real file server on a free port of the loopback, run by the account that runs the tests."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

USER = pwd.getpwuid(os.getuid()).pw_name
PASSWORD = "s3cr3t of \"the\" 'share' %41"
SHARE = "Backups"
READ_ONLY = "Archive"
SMALL = "Small"
"""The share whose free space is what ``Samba.free_kib`` says."""

_START_SECONDS = 60.0
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin", "/sbin"])


@dataclass
class Samba:
    """A server that can be killed and started again with the same shares."""

    directory: Path
    options: dict[str, str] = field(default_factory=dict)
    """More lines for the global part of its configuration."""
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        """The directory that is shared."""
        return self.directory / "share"

    def free_kib(self, free: int) -> None:
        """What the share ``SMALL`` says is free from now on."""
        (self.directory / "free").write_text(f"1048576 {free}\n")

    def change_account(self, *options: str) -> None:
        """Change the user's account as pdbedit's options say."""
        argv = [_program("pdbedit"), f"--configfile={self._config}", "--modify", f"--user={USER}", *options]
        subprocess.run(argv, check=True, capture_output=True)

    def start(self) -> None:
        """Start, and wait until it answers; after ``kill`` on the same port again."""
        if not self.port:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                self.port = probe.getsockname()[1]
            self._configure()
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [_program("smbd"), "--foreground", "--no-process-group", f"--configfile={self._config}"],
                stdin=subprocess.DEVNULL,  # else it serves standard input, and ends with it
                stdout=log,
                stderr=log,
                restore_signals=False,  # a file that may not grow is then an error to it, not its end
                start_new_session=True,
            )
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"smbd did not start:\n{(self.directory / 'log').read_text()[-4000:]}")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and the process that it has for each connection, as a power cut would."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    @property
    def _config(self) -> Path:
        return self.directory / "smb.conf"

    def _configure(self) -> None:
        self.root.mkdir(exist_ok=True)
        for name in ("lock", "state", "cache", "private", "run"):
            (self.directory / name).mkdir(mode=0o700, exist_ok=True)
        self.free_kib(1 << 20)
        free = self.directory / "free.sh"
        free.write_text(f"#!/bin/sh\ncat '{self.directory / 'free'}'\n")
        free.chmod(0o700)
        settings = {
            "server role": "standalone server",
            "security": "user",
            "interfaces": "127.0.0.1",
            "bind interfaces only": "yes",
            "smb ports": str(self.port),
            "disable netbios": "yes",
            "passdb backend": f"tdbsam:{self.directory / 'private' / 'passdb.tdb'}",
            "lock directory": str(self.directory / "lock"),
            "state directory": str(self.directory / "state"),
            "cache directory": str(self.directory / "cache"),
            "private dir": str(self.directory / "private"),
            "pid directory": str(self.directory / "run"),
            "ncalrpc dir": str(self.directory / "run" / "ncalrpc"),
            "log file": str(self.directory / "smbd.log"),
            "load printers": "no",
            "printing": "bsd",
            "disable spoolss": "yes",
            "server smb encrypt": "required",
            "smbd profiling level": "off",
            **self.options,
        }
        shares = {
            SHARE: {"path": str(self.root), "read only": "no"},
            READ_ONLY: {"path": str(self.root), "read only": "yes"},
            SMALL: {"path": str(self.root), "read only": "no", "dfree command": str(free)},
        }
        text = "".join(f"{key} = {value}\n" for key, value in settings.items())
        for name, lines in shares.items():
            text += f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in lines.items())
        self._config.write_text(f"[global]\n{text}")
        subprocess.run(
            [
                _program("pdbedit"),
                f"--configfile={self._config}",
                "--create",
                "--password-from-stdin",
                f"--user={USER}",
            ],
            input=f"{PASSWORD}\n{PASSWORD}\n".encode(),
            check=True,
            capture_output=True,
        )


@contextlib.contextmanager
def samba(directory: Path, **options: str) -> Iterator[Samba]:
    """A running server whose files are in ``directory``; options as in its configuration, with underscores."""
    server = Samba(directory, {name.replace("_", " "): value for name, value in options.items()})
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _program(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if not found:
        raise RuntimeError(f"{name} is not installed: it comes with Debian's package samba")
    return found
