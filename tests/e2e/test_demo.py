"""The first command of the README, whole, and interrupted: it leaves no process and no file behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local_cloud.client import ROOT
from local_cloud.night import NightError, until

pytestmark = pytest.mark.xdist_group("night")  # one embedded cloud at a time: each has work for both cores


@contextmanager
def demo(folder: Path, private: Path) -> Iterator[subprocess.Popen[str]]:
    """A running demo, whose temporary files all go to ``private``."""
    (private / "tmp").mkdir(parents=True)
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "local_cloud.demo", str(folder)],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(private / "tmp"), "BACKUPS_DEMO_STATE": str(private / "state")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_it_backs_up_and_restores_everything(tmp_path: Path) -> None:
    with demo(ROOT / "docs", tmp_path / "demo") as process:
        output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    assert output.count("byte for byte the same") == 6
    assert "Backup of 'Folder docs' (Folder)" in output
    assert _left_behind(process.pid, tmp_path) == []


@pytest.mark.parametrize(
    ("moment", "signals"),
    [
        ("the real stack synthesized", (signal.SIGINT,)),
        ("MB/s", (signal.SIGINT, signal.SIGINT, signal.SIGINT)),
        ("byte for byte the same", (signal.SIGHUP,)),
    ],
    ids=["ctrl-c while it synthesizes", "three times while the workers run", "a closed terminal while it restores"],
)
def test_a_signal_leaves_nothing_behind(tmp_path: Path, moment: str, signals: tuple[signal.Signals, ...]) -> None:
    with demo(ROOT / "docs", tmp_path / "demo") as process:
        assert process.stdout
        seen = ""
        while moment not in seen:
            byte = process.stdout.read(1)
            assert byte, seen
            seen += byte
        for number in signals:
            os.killpg(process.pid, number)  # as a terminal does: to the whole foreground group
            time.sleep(0.1)  # a person's fingers; what matters is that they come while it ends its servers
        rest, _ = process.communicate(timeout=120)
    assert process.returncode == 130, seen + rest
    assert "stopped" in rest
    assert "Traceback" not in rest, rest
    with contextlib.suppress(NightError):
        until(lambda: None if _left_behind(process.pid, tmp_path) else True, "", 30)
    assert _left_behind(process.pid, tmp_path) == []


def _left_behind(session: int, tmp_path: Path) -> list[str]:
    """Processes that work in this test's directories or belong to the demo's session, and its temporary files."""
    found = [str(path) for path in (tmp_path / "demo" / "tmp").iterdir()]
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            works_here = str(tmp_path) in command or os.fsencode(tmp_path) in (process / "environ").read_bytes()
            state, _, _, its_session = (process / "stat").read_text().rpartition(")")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError, PermissionError):  # ended, or another user's
            continue
        if state not in "ZX" and (works_here or int(its_session) == session):
            found.append(command)
    return found
