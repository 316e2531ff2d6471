"""scripts/setup where the machine lacks something and this user may not install it, and what it installs from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "dirname", "sort", "tail", "tar", "gzip", "git")
"""What a fresh machine has."""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Of the script alone: it must not get further than to its message."""
    (tmp_path / "checkout" / "scripts").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "setup", tmp_path / "checkout" / "scripts")
    return tmp_path / "checkout"


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The commands of a fresh machine, for an unprivileged user."""
    directory = tmp_path / "fresh"
    directory.mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (directory / tool).symlink_to(found)
    (directory / "python3").symlink_to(Path(sys.executable).resolve())
    script(directory / "id", "echo 1000")
    return directory


def script(path: Path, lines: str) -> None:
    path.write_text(f"#!/bin/sh\n{lines}\n")
    path.chmod(0o755)


@pytest.mark.parametrize("sudo", ["there is none", "it asks for a password"])
def test_one_message_lists_what_to_install(checkout: Path, fresh: Path, sudo: str) -> None:
    if sudo == "it asks for a password":
        script(fresh / "sudo", "echo 'sudo: a password is required' >&2; exit 1")
    done = subprocess.run(
        [checkout / "scripts" / "setup"],
        env={**os.environ, "PATH": str(fresh)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    first, update, install = done.stderr.splitlines()
    assert first == "setup: these system packages are missing; have them installed, then run this again:"
    assert update.strip() == "sudo apt-get update"
    packages = install.strip().removeprefix("sudo apt-get install --no-install-recommends ").split()
    assert packages == sorted(set(packages))
    assert {"gnupg", "zstd", "pigz", "mariadb-client"} <= set(packages)
    assert not {"tar", "gzip", "git"} & set(packages), "what is there is not asked for"
    assert sorted(path.name for path in checkout.iterdir()) == ["scripts"], "nothing was made"


def test_every_requirement_is_hashed_and_names_no_address() -> None:
    files = sorted((ROOT / "requirements").glob("*.txt"))
    assert files
    for file in files:
        lines = [line.strip() for line in file.read_text().splitlines() if not line.lstrip().startswith("#")]
        pinned = [line for line in lines if "==" in line]
        assert pinned, file
        for number, line in enumerate(lines):
            assert not line.startswith(("-i", "-f", "--index", "--extra", "--find")), (file, line)
            assert "://" not in line, (file, line)
            if "==" in line:
                assert lines[number + 1].startswith("--hash=sha256:"), (file, line)
