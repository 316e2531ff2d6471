"""scripts/setup where the machine lacks something and this user may not install it, and what it installs from."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers.command_line import Blocking

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("bash", "dirname", "sort", "tail", "tar", "gzip", "git")
"""What a fresh machine has."""

POLICY = "/usr/sbin/policy-rc.d"


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


@pytest.mark.parametrize("end", ["well", "with an error", "by ctrl-c"])
def test_services_may_start_again_however_the_installation_ends(
    checkout: Path, fresh: Path, tmp_path: Path, end: str
) -> None:
    """While packages are installed a policy keeps their services from starting; apt-get is not run here."""
    said = tmp_path / "sudo"
    blocking = Blocking(tmp_path)
    how = {"well": "exit 0", "with an error": "echo E: broken; exit 100", "by ctrl-c": blocking.script("true")}[end]
    for tool in ("mktemp", "rm", "cat", "sleep", "head"):
        (fresh / tool).symlink_to(shutil.which(tool) or "")
    script(fresh / "sudo", f'echo "$*" >>"{said}"; case "$*" in *install*) {how};; esac')
    process = subprocess.Popen(
        [checkout / "scripts" / "setup"],
        env={**os.environ, "PATH": str(fresh), "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    if end == "by ctrl-c":
        blocking.wait(process)
        os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode != 0, "there is nothing but the script"
    assert ("E: broken" in err.decode()) is (end == "with an error")
    commands = [line.removeprefix("-n ") for line in said.read_text().splitlines()]
    if not Path(POLICY).exists():
        assert f"tee {POLICY}" in commands
        assert commands[-1] == f"rm -f {POLICY}"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("tmp.")]


def test_an_environment_that_was_interrupted_is_made_anew(checkout: Path, fresh: Path, tmp_path: Path) -> None:
    """Ctrl-C while ``python3 -m venv`` works leaves a Python that runs, and nothing to install with."""
    for tool in ("id", "python3"):
        (fresh / tool).unlink()
    servers = ("mariadbd", "mariadb-dump", "initdb", "pg_dump", "smbd", "prometheus", "prometheus-pushgateway")
    for command in ("gpg", "zstd", "pigz", *servers):
        script(fresh / command, "exit 0")
    made = tmp_path / "made"
    venv = f"case \"$*\" in '-m venv '*) echo \"$3\" >>'{made}'; exit 7;; -VV) echo 3;; esac"
    script(fresh / "python3", venv)
    for tool in ("cat", "sha256sum", "sed", "rm"):
        (fresh / tool).symlink_to(shutil.which(tool) or "")
    (checkout / "requirements").mkdir()
    for name in ("dev", "uv", "node"):
        (checkout / "requirements" / f"{name}.txt").touch()
    left = checkout / ".venv" / "bin"
    left.mkdir(parents=True)
    script(left / "python", "exit 0")
    done = subprocess.run(
        [checkout / "scripts" / "setup"], env={**os.environ, "PATH": str(fresh)}, capture_output=True, check=False
    )
    assert done.returncode == 7, done.stderr
    assert made.read_text() == ".venv\n"
    assert not left.exists(), "what was left is gone"


def test_the_demo_looks_at_its_folder_before_anything_is_installed(checkout: Path) -> None:
    shutil.copy(ROOT / "scripts" / "demo", checkout / "scripts")
    script(checkout / "scripts" / "setup", "touch installed")
    done = subprocess.run([checkout / "scripts" / "demo", "no such"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (2, "demo: no such is no folder\n")
    assert not (checkout / "installed").exists()


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
