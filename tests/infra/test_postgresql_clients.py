"""Which of PostgreSQL's clients the worker's image gets, with programs in the place of apt's that note their calls."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from infra.bundle import ROOT

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
