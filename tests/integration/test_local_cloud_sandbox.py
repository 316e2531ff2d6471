"""The embedded cloud's sandbox: exit statuses as a container has them, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from local_cloud import processes
from tests.servers.local_cloud import alive, wait_for

Start = Callable[..., processes.Sandboxed]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def begin(*argv: str, **environment: str) -> processes.Sandboxed:
        return processes.Sandboxed(
            argv,
            environment={"PATH": os.environ["PATH"], **environment},
            directory=tmp_path,
            output=tmp_path / "output",
        )

    return begin


def _pids(path: Path, count: int) -> list[int]:
    wait_for(lambda: path.exists() and len(path.read_text().split()) == count, "the program did not start")
    return [int(word) for word in path.read_text().split()]


@pytest.mark.parametrize(
    ("script", "status"),
    [("exit 0", 0), ("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143)],
)
def test_ends_with_the_programs_status(start: Start, script: str, status: int) -> None:
    assert start("sh", "-c", script).wait(30) == status


def test_says_what_could_not_be_started(start: Start, tmp_path: Path) -> None:
    assert start("no-such-program").wait(30) == 127
    assert (tmp_path / "output").read_text() == "can't start no-such-program: No such file or directory\n"


def test_the_program_has_its_environment_and_no_input(start: Start, tmp_path: Path) -> None:
    assert start("sh", "-c", "cat; env -u PWD -u SHLVL -u _", A="1").wait(30) == 0
    assert sorted((tmp_path / "output").read_text().splitlines()) == ["A=1", f"PATH={os.environ['PATH']}"]


def test_what_the_program_leaves_behind_is_killed(start: Start, tmp_path: Path) -> None:
    script = "setsid sleep 600 & echo $! > pids"
    sandbox = start("sh", "-c", script)
    (left,) = _pids(tmp_path / "pids", 1)
    assert sandbox.wait(30) == 0
    assert not alive(left)


def test_children_go_with_a_killed_program(start: Start, tmp_path: Path) -> None:
    sandbox = start("sh", "-c", "setsid sleep 600 & echo $$ $! > pids; wait")
    program, child = _pids(tmp_path / "pids", 2)
    os.kill(program, signal.SIGKILL)
    assert sandbox.wait(30) == 137
    assert not alive(child)


def test_stop_is_sigterm_first(start: Start, tmp_path: Path) -> None:
    sandbox = start("sh", "-c", "trap 'exit 9' TERM; echo $$ > pids; while :; do sleep 0.05; done")
    _pids(tmp_path / "pids", 1)
    sandbox.stop(30)
    assert sandbox.status == 9


def test_stop_kills_what_does_not_listen(start: Start, tmp_path: Path) -> None:
    sandbox = start("sh", "-c", "trap '' TERM; setsid sleep 600 & echo $$ $! > pids; wait")
    program, child = _pids(tmp_path / "pids", 2)
    sandbox.stop(0.2)
    assert sandbox.status == 137
    assert not alive(program)
    assert not alive(child)


def test_everything_ends_when_the_server_is_killed(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from local_cloud.processes import Sandboxed\n"
        "here = Path(sys.argv[1])\n"
        "argv = ['sh', '-c', 'setsid sleep 600 & echo $$ $! > pids; wait']\n"
        "Sandboxed(argv, environment={'PATH': sys.argv[2]}, directory=here, output=here / 'output')\n"
        "time.sleep(600)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", script, str(tmp_path), os.environ["PATH"]])
    try:
        program, child = _pids(tmp_path / "pids", 2)
    finally:
        server.kill()
        server.wait()
    wait_for(lambda: not alive(program) and not alive(child), "the sandbox outlived its server")
