"""Locks and private directories, with processes that live and processes that were killed."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backups.errors import BackupsError, UsageError
from backups.workspace import PRIVATE, BusyError, job_lock, private_directory, remove_tree

HOLD = """
import sys
from pathlib import Path
from backups.workspace import job_lock, private_directory
with job_lock(Path(sys.argv[1])), private_directory(Path(sys.argv[2])) as path:
    print(path, flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(job: Path, parent: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process that holds the lock and a private directory."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(job), str(parent)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.json"
    path.write_text("{}")
    return path


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    path = tmp_path / "tmp"
    path.mkdir()
    return path


def test_lock_is_held_by_one_and_let_go_at_the_end(job: Path) -> None:
    with job_lock(job), pytest.raises(BusyError), job_lock(job):
        pass
    with job_lock(job):
        pass
    with pytest.raises(UsageError), job_lock(job.with_name("absent")):
        pass


def test_lock_and_directory_of_a_killed_process_are_nobodys(job: Path, parent: Path) -> None:
    with holder(job, parent) as (process, theirs):
        with pytest.raises(BusyError), job_lock(job):
            pass
        with private_directory(parent):
            assert theirs.is_dir(), "a living process keeps its directory"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert theirs.is_dir()
        with job_lock(job), private_directory(parent):
            assert not theirs.exists()


def test_directory_is_private_and_gone_at_the_end(parent: Path) -> None:
    with private_directory(parent) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "closed").mkdir(mode=0o500)
    assert list(parent.iterdir()) == []


def test_what_only_looks_like_ours_stays(parent: Path) -> None:
    """People keep directories of theirs where temporary ones are made, also such that sound like ours."""
    (parent / f"{PRIVATE}abcdefgh").write_text("x")
    (parent / f"{PRIVATE}linklink").symlink_to(parent)
    for name in ("other", "backups-mysql", "backups-archived", f"{PRIVATE}of-ours", PRIVATE):
        (parent / name).mkdir(mode=0o700)
    (parent / f"{PRIVATE}read_all").mkdir(mode=0o755)
    before = sorted(parent.iterdir())
    with private_directory(parent):
        pass
    assert sorted(parent.iterdir()) == before


def test_tree_with_closed_directories_is_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    outside.chmod(0o755)
    tree = tmp_path / "tree"
    deep = tree / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "file").write_text("x")
    (tree / "link").symlink_to(outside)
    deep.chmod(0o000)
    (tree / "a").chmod(0o500)
    remove_tree(tree)
    assert not tree.exists()
    assert (outside / "kept").exists()
    assert stat.S_IMODE(outside.stat().st_mode) == 0o755
    remove_tree(tree)


def test_parent_that_takes_nothing_is_an_error_that_helps(tmp_path: Path) -> None:
    for parent in (tmp_path / "absent", Path("/proc/self")):
        with pytest.raises(BackupsError) as caught, private_directory(parent):
            pass
        assert str(parent) in caught.value.message
        assert caught.value.hint
    assert list(tmp_path.iterdir()) == []
