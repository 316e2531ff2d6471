"""The pipeline as a whole process: killed in the middle, and its memory."""

from __future__ import annotations

import contextlib
import json
import os
import random
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


def ended(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What it printed at its end."""
    output, _ = process.communicate(timeout=4 * SOON)
    told: dict[str, Any] = json.loads(output.splitlines()[-1])
    return told


@pytest.mark.parametrize("seed", range(12))
def test_a_signal_at_any_moment_stops_the_run_and_leaves_nothing(setup: Setup, seed: int) -> None:
    """The handler interrupts the main thread, which is the one that streams, between any two steps of it."""
    chance = random.Random(seed)
    script = f"head -c {chance.choice([1000, 100_000_000])} /dev/urandom"
    process = start(setup, ["sh", "-c", script], "a", "b", compression=chance.choice(["none", "zstd", "gpg"]))
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    below = children(process.pid)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(chance.random() ** 2)  # any moment: the test is right at each
    below |= children(process.pid) if process.poll() is None else {}
    process.send_signal(chance.choice([signal.SIGINT, signal.SIGTERM]))
    process.send_signal(signal.SIGTERM)
    result = ended(process)["result"]
    until(lambda: not [pid for pid in below if _lives(pid)])
    for name in "ab":
        assert len(setup.objects(name)) in (0, 1, 2)
        assert not [file for file in setup.files(name) if ".partial" in file]
        manifests = [key for key in setup.objects(name) if key.endswith(".manifest.json")]
        assert bool(manifests) <= (result["outcome"] != "failed")
    assert result["outcome"] == "stored" or "stopped" in result["error"] or "aborted" in result["error"]
    assert not list(setup.context.tmpdir.rglob("*"))


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
    told = ended(start(setup, argv, "a", "b", compression=compression))
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
