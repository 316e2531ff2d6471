"""Which user does the work: RUN_AS_USER, root, and an ordinary one."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.servers.command_line import CommandLine
from tests.servers.installation import Installation, readable_installation

ANYONE = "nobody"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    """One that every user may read."""
    with readable_installation(ANYONE) as readable:
        yield readable


@pytest.fixture
def reachable(installation: Installation) -> Iterator[CommandLine]:
    """A working directory that another user may enter; the one of the test may be closed to it."""
    directory = Path(tempfile.mkdtemp(prefix="backups-test-"))
    try:
        directory.chmod(0o755)
        command_line = CommandLine(directory, installation.program)
        command_line.env["PYTHONPATH"] = str(installation.directory)
        yield command_line
    finally:
        shutil.rmtree(directory)


def give(reachable: CommandLine, user: str) -> None:
    """Make everything that user's."""
    account = pwd.getpwnam(user)
    for path in [reachable.directory, *reachable.directory.rglob("*")]:
        os.chown(path, account.pw_uid, account.pw_gid)


@as_root
@pytest.mark.parametrize("command", ["run", "list", "verify", "prune", "restore"])
def test_root_is_refused_unless_it_is_meant(backups: CommandLine, command: str) -> None:
    more = ["data", "--to", "back"] if command == "restore" else []
    ended = backups(command, backups.job, *more, env={"RUN_AS_USER": ""})
    assert ended.code == 2
    assert "refused to run as root" in ended.err
    assert "RUN_AS_USER" in ended.err
    assert backups.copies(backups.one) == []


@as_root
def test_root_that_is_meant_goes_on(backups: CommandLine) -> None:
    assert backups("run", backups.job, env={"RUN_AS_USER": "root"}).code == 0


@as_root
def test_root_becomes_the_user_before_anything_is_read(reachable: CommandLine) -> None:
    give(reachable, ANYONE)
    ended = reachable("run", reachable.job, env={"RUN_AS_USER": ANYONE})
    assert ended.code == 0, ended.err
    for path in reachable.one.rglob("*"):
        assert path.owner() == ANYONE
    reachable.job.chmod(0o600)
    os.chown(reachable.job, 0, 0)
    ended = reachable("run", reachable.job, env={"RUN_AS_USER": ANYONE})
    assert ended.code == 2
    assert "Permission denied" in ended.err


@as_root
@pytest.mark.parametrize("closed", ["backups", "rich"])
def test_user_that_can_not_read_the_installation_is_refused_before_anything_is_touched(
    reachable: CommandLine, installation: Installation, closed: str
) -> None:
    """As where root has installed it below its home: else the first import after the change of user breaks the run."""
    give(reachable, ANYONE)
    directory = installation.directory / closed
    directory.chmod(0o700)
    try:
        ended = reachable("run", reachable.job, env={"RUN_AS_USER": ANYONE})
    finally:
        directory.chmod(0o755)
    assert ended.code == 2
    assert f"this installation can't be read by user {ANYONE}: {directory} is closed to it" in ended.err
    assert "hint: install backups where nobody may read it" in ended.err
    assert reachable.copies(reachable.one) == []


@as_root
def test_user_that_does_not_exist_is_refused(backups: CommandLine) -> None:
    ended = backups("run", backups.job, env={"RUN_AS_USER": "no-such-user"})
    assert ended.code == 2
    assert "there is no such user" in ended.err


@as_root
def test_rights_of_root_are_gone_for_good(reachable: CommandLine) -> None:
    """Groups, saved ids, home and name; shown by the process that backs up, through a stand-in for tar."""
    give(reachable, ANYONE)
    told = reachable.directory / "told"
    told.mkdir()
    told.chmod(0o777)
    binaries = reachable.directory / "bin"
    binaries.mkdir()
    script = f"grep -E '^(Uid|Gid|Groups):' /proc/self/status >'{told}/ids'\necho $HOME $USER >'{told}/env'\nexit 2"
    (binaries / "tar").write_text(f"#!/bin/sh\n{script}\n")
    (binaries / "tar").chmod(0o755)
    reachable("run", reachable.job, env={"RUN_AS_USER": ANYONE, "PATH": f"{binaries}:{os.environ['PATH']}"})
    account = pwd.getpwnam(ANYONE)
    ids = dict(line.split(":", 1) for line in (told / "ids").read_text().splitlines())
    assert set(ids["Uid"].split()) == {str(account.pw_uid)}
    assert set(ids["Gid"].split()) == {str(account.pw_gid)}
    assert "0" not in ids["Groups"].split()
    assert (told / "env").read_text().split() == [account.pw_dir, ANYONE]


@as_root
def test_ordinary_user_runs_and_restores_with_modes_but_not_owners(
    reachable: CommandLine, installation: Installation
) -> None:
    give(reachable, ANYONE)
    (reachable.data / "theirs").write_text("x")
    (reachable.data / "theirs").chmod(0o644)
    for arguments in (("run", "job.json"), ("restore", "job.json", "data", "--to", "back")):
        done = as_ordinary(reachable, *arguments, run_as_user="", python=installation.python)
        assert done.returncode == 0, done.stderr
    restored = reachable.directory / "back" / "data" / "theirs"
    assert restored.owner() == ANYONE
    assert restored.stat().st_mode & 0o777 == 0o644


@as_root
def test_root_restores_owners(backups: CommandLine) -> None:
    account = pwd.getpwnam(ANYONE)
    os.chown(backups.data / "hello.txt", account.pw_uid, account.pw_gid)
    assert backups("run", backups.job).code == 0
    assert backups("restore", backups.job, "data", "--to", "back").code == 0
    assert (backups.directory / "back" / "data" / "hello.txt").owner() == ANYONE


def test_someone_else_than_run_as_user_is_refused(backups: CommandLine) -> None:
    done = as_ordinary(backups, "run", "job.json", run_as_user="daemon")
    assert done.returncode == 2
    assert "but RUN_AS_USER is 'daemon'" in done.stderr


@as_root
def test_ordinary_user_may_name_itself(reachable: CommandLine, installation: Installation) -> None:
    give(reachable, ANYONE)
    for name in (ANYONE, str(pwd.getpwnam(ANYONE).pw_uid)):
        done = as_ordinary(reachable, "run", "job.json", run_as_user=name, python=installation.python)
        assert done.returncode == 0, done.stderr


BECOME = """
import os, sys
from backups.cli import main
user, group = int(sys.argv[1]), int(sys.argv[2])
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(user, user, user)
sys.exit(main(sys.argv[3:]))
"""


def as_ordinary(
    backups: CommandLine, *arguments: str, run_as_user: str, python: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """As this user, or as another one when this is root, which then must be able to read what ``python`` runs."""
    account = pwd.getpwnam(ANYONE)
    environment = {**backups.environment(), "RUN_AS_USER": run_as_user, "HOME": str(backups.directory)}
    return subprocess.run(
        [python or sys.executable, "-c", BECOME, str(account.pw_uid), str(account.pw_gid), *arguments],
        env=environment,
        cwd=backups.directory,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
