"""The pipeline as a whole process: killed in the middle, and its memory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backups.context import Context
from tests.contract.streams import children
from tests.integration.scripted import KEY, SOON, Setup, shell, until

GIB = 1 << 30
MEMORY_LIMIT_KIB = 120 << 10


@pytest.fixture
def setup(tmp_path: Path, context: Context) -> Setup:
    return Setup(tmp_path, context)


def start(setup: Setup, argv: list[str], *names: str, compression: str) -> subprocess.Popen[bytes]:
    described: dict[str, Any] = {
        "argv": argv,
        "places": [str(setup.path(name)) for name in names],
        "tmpdir": str(setup.context.tmpdir),
        "compression": compression,
    }
    file = setup.tmp_path / "job.json"
    file.write_text(json.dumps(described))
    return subprocess.Popen([sys.executable, "-m", "tests.integration.one_source", str(file)], stdout=subprocess.PIPE)


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_after_kill_9_in_the_middle_nothing_half_is_visible_and_the_next_run_succeeds(
    setup: Setup, compression: str
) -> None:
    key = KEY if compression == "none" else KEY.replace(".gpg", ".zst.gpg")
    assert setup.run(shell("echo older"), setup.local("a"), compression=compression).outcome == "stored"
    older = (setup.path("a") / key).read_bytes()
    process = start(setup, ["cat", "/dev/urandom"], "a", "b", compression=compression)
    until(lambda: all(_written(setup.path(name)) > 20_000_000 for name in "ab"))
    below = children(process.pid)
    assert {"cat", "gpg"} <= set(below.values())
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=SOON)
    until(lambda: not [pid for pid in below if _lives(pid)])
    assert (setup.path("a") / key).read_bytes() == older
    assert setup.objects("a") == [key, f"{key}.manifest.json"]
    assert setup.objects("b") == []
    result = setup.run(shell("echo newer"), setup.local("a"), setup.local("b"), compression=compression)
    assert result.outcome == "stored"
    for name in "ab":
        assert setup.files(name) == [key, f"{key}.manifest.json"], "what the killed run left is gone"


@pytest.mark.parametrize(
    ("argv", "compression"),
    [
        (["head", "-c", str(GIB), "/dev/zero"], "zstd"),
        (["sh", "-c", "head -c 100000000 /dev/urandom; head -c 500000000 /dev/zero"], "none"),
    ],
)
def test_memory_does_not_grow_with_the_data(setup: Setup, argv: list[str], compression: str) -> None:
    output, _ = start(setup, argv, "a", "b", compression=compression).communicate()
    told = json.loads(output)
    assert told["result"]["outcome"] == "stored"
    assert told["result"]["plain_size"] >= 600_000_000
    assert told["peak_kib"] < MEMORY_LIMIT_KIB


def _written(place: Path) -> int:
    return sum(path.stat().st_size for path in place.rglob(".*") if path.is_file())


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
