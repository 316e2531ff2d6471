"""Scripts in front of the real programs on PATH, for what a real program does only when it breaks."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest


class FakePath:
    """A directory that comes first on PATH while the test runs."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.directory = directory
        self._monkeypatch = monkeypatch
        self._real = os.environ.get("PATH", os.defpath)
        directory.mkdir(parents=True, exist_ok=True)
        monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{self._real}")

    def real(self, name: str) -> str:
        """Path of the real program."""
        found = shutil.which(name, path=self._real)
        assert found, f"{name} is not installed"
        return found

    def put(self, name: str, script: str) -> Path:
        """A script for ``/bin/sh`` under a program's name; ``$REAL`` in it is the program behind it."""
        path = self.directory / name
        behind = shutil.which(name, path=self._real) or ""
        path.write_text(f"#!/bin/sh\nREAL={shlex.quote(behind)}\n{script}\n")
        path.chmod(0o755)
        return path

    def ends_with(self, name: str, status: int, *, stderr: str = "") -> Path:
        """The real program, whole, and then this status instead of its own."""
        said = f"printf '%s\\n' {shlex.quote(stderr)} >&2\n" if stderr else ""
        return self.put(name, f'"$REAL" "$@"\n{said}exit {status}')

    def noisy(self, name: str, size: int = 1 << 20) -> Path:
        """The real program after ``size`` bytes on stderr, without a line's end and with many."""
        half = size // 2
        zeros = f"head -c {half} /dev/zero"
        return self.put(name, f"{{ {zeros} | tr '\\0' x; {zeros} | tr '\\0' '\\n'; }} >&2\nexec \"$REAL\" \"$@\"")

    def only(self, *names: str) -> None:
        """Leave nothing on PATH but the scripts put here and these real programs."""
        for name in names:
            (self.directory / name).symlink_to(self.real(name))
        self._monkeypatch.setenv("PATH", str(self.directory))
