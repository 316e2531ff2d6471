"""Which of PostgreSQL's clients the worker's image gets, with programs in the place of apt's that note their calls.

And once with the real apt, which simulates, and two repositories of this machine.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from infra.bundle import ROOT
from tests.servers.debian import apt_options

SCRIPT = ROOT / "worker_image" / "postgresql_clients.sh"


class Apt:
    """A machine whose repositories hold these versions."""

    def __init__(self, directory: Path, *versions: int) -> None:
        self.directory = directory
        self.log = directory / "log"
        known = " ".join(f"postgresql-client-{version}" for version in versions)
        self._put("apt-get", 'echo "apt-get $*" >> "$LOG"')
        self._put("apt-cache", f'case " {known} " in *" $2 "*) ;; *) exit 100 ;; esac')
        self._put("enable", 'echo "enable $*" >> "$LOG"')

    def _put(self, name: str, script: str) -> None:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def run(self, *versions: str) -> subprocess.CompletedProcess[str]:
        env = {
            "PATH": f"{self.directory}:/usr/bin:/bin",
            "LOG": str(self.log),
            "PGDG_SCRIPT": str(self.directory / "enable"),
            "APT_SOURCES": str(self.directory),
        }
        return subprocess.run(["sh", str(SCRIPT), *versions], env=env, capture_output=True, text=True, check=False)

    @property
    def calls(self) -> list[str]:
        return self.log.read_text().splitlines()


def installed(calls: list[str]) -> list[str]:
    """Clients in the order in which they are asked for."""
    return [word for call in calls if " install " in call for word in call.split() if word.startswith("postgresql-c")]


def test_without_versions_debian_s_own_and_no_other_repository(tmp_path: Path) -> None:
    apt = Apt(tmp_path)
    assert apt.run().returncode == 0
    assert apt.calls == ["apt-get install -y --no-install-recommends postgresql-client"]


def test_each_version_from_the_project_s_repository_which_is_gone_afterwards(tmp_path: Path) -> None:
    apt = Apt(tmp_path, 13, 17, 18)
    (tmp_path / "pgdg.sources").touch()
    (tmp_path / "debian.sources").touch()
    assert apt.run("13", "17", "18").returncode == 0
    assert apt.calls[1:3] == ["enable -y", "apt-get update"]
    wanted = [f"postgresql-client-{version}" for version in (13, 17, 18)]
    assert installed(apt.calls) == ["postgresql-common", *wanted]
    assert apt.calls[-1] == "apt-get purge -y --auto-remove postgresql-common"
    assert not (tmp_path / "pgdg.sources").exists() and (tmp_path / "debian.sources").exists()


def test_an_old_version_that_is_no_longer_offered_is_named_and_left_out(tmp_path: Path) -> None:
    apt = Apt(tmp_path, 14, 18)
    done = apt.run("13", "14", "18")
    assert done.returncode == 0 and "there is no postgresql-client-13 any more" in done.stderr
    assert installed(apt.calls)[1:] == ["postgresql-client-14", "postgresql-client-18"]


@pytest.mark.parametrize("known", [(), (17,), (1, 8)])
def test_without_the_newest_the_build_fails_and_says_what_to_do(known: tuple[int, ...], tmp_path: Path) -> None:
    apt = Apt(tmp_path, *known)
    done = apt.run("17", "18")
    assert done.returncode == 1
    assert "no postgresql-client-18" in done.stderr and "POSTGRESQL_CLIENTS" in done.stderr
    assert installed(apt.calls) == ["postgresql-common"]


def repository(directory: Path, *packages: str) -> str:
    """A line of sources.list for a repository of packages that are there in name only."""
    directory.mkdir()
    entry = "Package: {0}\nVersion: 1\nArchitecture: all\nFilename: {0}.deb\nSize: 1\n"
    (directory / "Packages").write_text("\n".join(map(entry.format, packages)))
    return f"deb [trusted=yes] file:{directory} ./"


def test_the_real_apt_takes_what_it_is_told(tmp_path: Path) -> None:
    debian = ("ca-certificates", "postgresql-common", "postgresql-client-common", "postgresql-client-17")
    project = [f"postgresql-client-{version}" for version in (14, 15, 17, 18)]
    state, config, enable = tmp_path / "apt", tmp_path / "apt.conf", tmp_path / "enable"
    options = {**apt_options(state, repository(tmp_path / "debian", *debian)), "APT::Get::Simulate": "true"}
    config.write_text("".join(f'{name} "{value}";\n' for name, value in options.items()))
    sources = state / "sources.list.d"
    line = repository(tmp_path / "project", *project)
    enable.write_text(f'#!/bin/sh\n[ "$*" = -y ] && echo "{line}" >"{sources}/pgdg.list"\n')
    enable.chmod(0o755)
    env = {
        "PATH": os.environ["PATH"],
        "APT_CONFIG": str(config),
        "APT_SOURCES": str(sources),
        "PGDG_SCRIPT": str(enable),
        "LC_ALL": "C",
    }
    subprocess.run(["apt-get", "update"], env=env, check=True, capture_output=True)  # as the Dockerfile does before
    wanted = ["13", "14", "15", "17", "18"]
    done = subprocess.run(["sh", str(SCRIPT), *wanted], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.splitlines() == ["postgresql_clients: there is no postgresql-client-13 any more"]
    made = re.findall(r"^Inst (postgresql-client-\d+) ", done.stdout, re.MULTILINE)
    assert sorted(made) == project
    assert not list(sources.iterdir())
