"""Standard output and standard error that can't be written: on a full disk, without a reader, or closed."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from tests.servers.command_line import SECONDS, CommandLine

FULL = Path("/dev/full")
"""What is written to it is refused as by a full disk."""


@contextmanager
def full() -> Iterator[int]:
    with FULL.open("wb") as file:
        yield file.fileno()


@contextmanager
def unread() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


def run(
    backups: CommandLine, *arguments: str, out: int, err: int, closed: str = ""
) -> subprocess.CompletedProcess[bytes]:
    """``closed``: what the shell closes before it starts the command, such as ``2>&-``."""
    command = ["sh", "-c", f'exec "$@" {closed}', "sh", str(backups.program), *arguments]
    return subprocess.run(
        command, cwd=backups.directory, env=backups.environment(), stdout=out, stderr=err, timeout=SECONDS, check=False
    )


@pytest.fixture
def job(backups: CommandLine) -> CommandLine:
    """A run of it stores a copy, removes an old one and sets a flag."""
    local = {"id": "one", "type": "local", "path": str(backups.one), "retention_copies": 1}
    flag = {"type": "flagfile", "filename": str(backups.directory / "flag")}
    backups.write_job(destinations=[local], notifications=[flag])
    backups.old_copy(backups.one)
    return backups


def whole(backups: CommandLine) -> bool:
    """Whether everything that a run has to do was done."""
    names = [Path(name).name for name in backups.copies(backups.one)]
    return names == ["data.tar.zst.gpg", "data.tar.zst.gpg.manifest.json"] and (backups.directory / "flag").exists()


@pytest.mark.parametrize(("where", "more"), [(full, ("-v",)), (unread, ())])
def test_messages_that_can_not_be_written_stop_nothing(
    job: CommandLine, where: Callable[[], AbstractContextManager[int]], more: tuple[str, ...]
) -> None:
    with where() as err:
        done = run(job, "run", "job.json", *more, out=subprocess.PIPE, err=err)
    assert done.returncode == 0
    assert b"data.tar" not in done.stdout
    assert b"one" in done.stdout, "the table"
    assert whole(job)


def test_output_that_can_not_be_written_is_told_when_all_is_done(job: CommandLine) -> None:
    with full() as out:
        done = run(job, "run", "job.json", out=out, err=subprocess.PIPE)
    assert done.returncode == 1
    assert b"error: standard output can't be written: No space left on device" in done.stderr
    assert b"what the command was asked to do is done" in done.stderr
    assert whole(job)


@pytest.mark.parametrize("closed", ["2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_get_into_no_copy(job: CommandLine, closed: str) -> None:
    done = run(job, "run", "-v", "job.json", "--json", out=subprocess.PIPE, err=subprocess.PIPE, closed=closed)
    assert done.returncode == 0, done.stderr
    assert whole(job)
    assert run(job, "verify", "job.json", out=subprocess.DEVNULL, err=subprocess.DEVNULL).returncode == 0


def test_restoring_to_a_closed_output_is_no_success(job: CommandLine) -> None:
    assert run(job, "run", "job.json", out=subprocess.DEVNULL, err=subprocess.DEVNULL).returncode == 0
    done = run(job, "restore", "job.json", "data", "--to", "-", out=subprocess.PIPE, err=subprocess.PIPE, closed=">&-")
    assert done.returncode == 1
    assert b"error: " in done.stderr
