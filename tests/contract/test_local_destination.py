"""What only directories do: full disks, killed writers, links, rights of files, read back from the disk."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backups.context import Context
from backups.destinations import Destination
from backups.destinations.local.destination import Local
from backups.destinations.local.tree import PARTIAL
from backups.errors import DeniedError, DestinationError, MissingError, VerificationError
from tests.contract.objects import KEY, store

DATA = b"0123456789abcdef" * (1 << 18)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    return root


@pytest.fixture
def destination(root: Path, context: Context) -> Destination:
    return Local(path=str(root)).connect(context)


def partials(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if PARTIAL.fullmatch(path.name)]


# ---------------------------------------------------------------------- what is written


def test_nobody_else_may_read_it_whatever_the_umask(destination: Destination, root: Path) -> None:
    before = os.umask(0)
    try:
        store(destination, DATA)
    finally:
        os.umask(before)
    assert (root / KEY).stat().st_mode & 0o777 == 0o600
    assert (root / "host").stat().st_mode & 0o777 == 0o700
    assert (root / KEY).parent.stat().st_mode & 0o777 == 0o700


def test_everything_is_flushed_before_it_is_visible(
    destination: Destination, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file, then the name, then its directory: seen from the calls, since no test can cut the power."""
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        calls.append(f"fsync {Path(f'/proc/self/fd/{descriptor}').readlink().relative_to(root.parent)}")

    def noted_rename(*args: object, **options: object) -> None:
        rename(*args, **options)  # type: ignore[arg-type]
        calls.append("rename")

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "rename", noted_rename)
    store(destination, DATA)
    at = calls.index("rename")
    assert any("partial" in call for call in calls[:at])
    assert "fsync root/host/2026-11-23" in calls[at:]
    assert "fsync root" in calls[:at]  # the new directory's own name


def test_what_the_disk_spoiled_is_found_by_reading_back(root: Path, context: Context) -> None:
    destination = Local.model_validate({"path": str(root), "verify": "full"}).connect(context)
    store(destination, DATA)
    upload = destination.create(KEY)
    upload.write(DATA)
    with partials(root)[0].open("r+b") as file:
        file.seek(1 << 20)
        file.write(b"X")
    with pytest.raises(VerificationError, match="reads back"):
        upload.commit(len(DATA), SHA256)
    upload.abort()
    assert b"".join(destination.read(KEY)) == DATA
    assert partials(root) == []


def test_what_was_cut_off_is_found_by_its_size(destination: Destination, root: Path) -> None:
    upload = destination.create(KEY)
    upload.write(DATA)
    os.truncate(partials(root)[0], len(DATA) - 1)
    with pytest.raises(VerificationError, match="bytes instead of"):
        upload.commit(len(DATA), SHA256)
    upload.abort()
    assert [*destination.list("")] == []


# ---------------------------------------------------------------------- full disks

_FILL = """
import pathlib, resource, sys
from backups.context import Context
from backups.destinations.local.destination import Local
from backups.errors import DestinationError
if sys.argv[2] != "disk":
    resource.setrlimit(resource.RLIMIT_FSIZE, (7 << 20, resource.RLIM_INFINITY))
destination = Local(path=sys.argv[1]).connect(Context(tmpdir=pathlib.Path("/nowhere")))
upload = destination.create("host/2026-11-23/db.sql.gpg")
upload.write(b"x" * 1000)
upload.commit(1000, "")
upload = destination.create("host/2026-11-23/db.sql.gpg")
try:
    for _ in range(20):
        upload.write(b"y" * (1 << 20))
except DestinationError as error:
    print(error)
    assert error.permanent
    upload.abort()
    upload.abort()
assert [(f.key, f.size) for f in destination.list("")] == [("host/2026-11-23/db.sql.gpg", 1000)]
assert b"".join(destination.read("host/2026-11-23/db.sql.gpg")) == b"x" * 1000
assert [p.name for p in pathlib.Path(sys.argv[1]).rglob("*") if p.is_file()] == ["db.sql.gpg"]
"""


def test_a_limit_of_the_file_size_leaves_what_was_there(root: Path) -> None:
    argv = [sys.executable, "-c", _FILL, str(root), "limit"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "File too large" in done.stdout
    assert "ulimit" in done.stdout


def _own_mounts() -> bool:
    """Whether this user may mount a disk that only its own processes see."""
    return subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _own_mounts(), reason="no user namespaces here: the same is tested with a simulated full disk")
def test_a_full_disk_leaves_what_was_there_and_says_how_much_is_free(root: Path) -> None:
    script = 'mount -t tmpfs -o size=8m small "$1" && exec "$2" -c "$3" "$1" disk'
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", str(root), sys.executable, _FILL],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "No space left on device, 0.0 MB free" in done.stdout
    assert "make room" in done.stdout


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_an_error_of_the_disk_at_any_step_leaves_what_was_there(
    destination: Destination, root: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    store(destination, b"the old one")

    def broken(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, broken)
        with pytest.raises(DestinationError, match=os.strerror(number)):
            store(destination, DATA)
    assert b"".join(destination.read(KEY)) == b"the old one"
    assert partials(root) == []


# ---------------------------------------------------------------------- killed writers

_WRITE_AND_WAIT = """
import pathlib, sys
from backups.context import Context
from backups.destinations.local.destination import Local
upload = Local(path=sys.argv[1]).connect(Context(tmpdir=pathlib.Path("/nowhere"))).create(sys.argv[2])
upload.write(b"x" * (20 << 20))
print("written", flush=True)
sys.stdin.read()
"""


def test_a_killed_writer_shows_nothing_and_the_next_one_cleans_up(destination: Destination, root: Path) -> None:
    argv = [sys.executable, "-c", _WRITE_AND_WAIT, str(root), KEY]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout and writer.stdout.readline() == b"written\n"
        store(destination, DATA, "host/2026-11-24/db.sql.gpg")
        assert len(partials(root)) == 1, "a living writer's file stays"
        writer.send_signal(signal.SIGKILL)
    assert [found.key for found in destination.list("")] == ["host/2026-11-24/db.sql.gpg"]
    assert len(partials(root)) == 1
    store(destination, DATA, "host/2026-11-25/db.sql.gpg")
    assert partials(root) == []


def test_living_writers_of_one_process_are_left_alone(destination: Destination, root: Path) -> None:
    uploads = [destination.create(KEY) for _ in range(3)]
    assert len(partials(root)) == 3
    for upload in uploads:
        upload.write(DATA)
    assert uploads[1].commit(len(DATA), SHA256) == "size"
    for upload in uploads:
        upload.abort()
    assert partials(root) == []
    assert [found.key for found in destination.list("")] == [KEY]


# ---------------------------------------------------------------------- names and links

BAD_KEYS = ["", "/", "/etc/passwd", "../out", "a/../../out", "a/./b", "a//b", "a/", ".", "..", "a/\0b"]


@pytest.mark.parametrize("key", [*BAD_KEYS, "host/.backups-0123456789abcdef.partial"])
def test_a_key_that_leaves_the_directory_is_refused(destination: Destination, root: Path, key: str) -> None:
    with pytest.raises(DestinationError, match="can't be the name of a file"):
        destination.create(key)
    with pytest.raises(DestinationError):
        list(destination.read(key))
    assert list(destination.remove([key])) == [key]
    assert list(root.iterdir()) == []


def test_links_are_not_followed(destination: Destination, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "2026-11-23").mkdir(parents=True)
    (outside / "2026-11-23" / "db.sql.gpg").write_text("theirs")
    (root / "host").symlink_to(outside)
    (root / "file").symlink_to(outside / "2026-11-23" / "db.sql.gpg")

    assert [*destination.list("")] == []
    for key in (KEY, "host/new"):
        with pytest.raises(DestinationError, match="can't be created"):
            destination.create(key)
    for key in (KEY, "file"):
        with pytest.raises(DestinationError, match="can't be read"):
            list(destination.read(key))
    assert list(destination.remove([KEY])) == [KEY]
    assert (outside / "2026-11-23" / "db.sql.gpg").read_text() == "theirs"

    upload = destination.create("file")
    upload.write(b"ours")
    upload.commit(4, "")
    assert (outside / "2026-11-23" / "db.sql.gpg").read_text() == "theirs"
    assert b"".join(destination.read("file")) == b"ours"


def test_a_directory_in_the_place_of_an_object_stays(destination: Destination, root: Path) -> None:
    (root / KEY / "inner").mkdir(parents=True)
    with pytest.raises(DestinationError, match="can't be completed"):
        store(destination, DATA)
    assert (root / KEY / "inner").is_dir()
    assert partials(root) == []


def test_files_of_others_are_listed_but_never_touched(destination: Destination, root: Path) -> None:
    (root / "host").mkdir()
    (root / "host" / ".hidden").write_text("x")
    os.mkfifo(root / "host" / "fifo")
    store(destination, DATA)
    assert [found.key for found in destination.list("")] == ["host/.hidden", KEY]


# ---------------------------------------------------------------------- the directory itself


def test_removing_takes_empty_directories_along_but_not_the_root(destination: Destination, root: Path) -> None:
    for key in ("host/2026-11-22/a.tar.gpg", KEY, "other/2026-11-22/a.tar.gpg"):
        store(destination, DATA, key)
    assert destination.remove(["host/2026-11-22/a.tar.gpg", "other/2026-11-22/a.tar.gpg"]) == {}
    assert sorted(path.name for path in root.rglob("*")) == ["2026-11-23", "db.sql.gpg", "host"]
    assert destination.remove([KEY]) == {}
    assert list(root.iterdir()) == []
    store(destination, DATA)


def test_a_directory_that_vanishes_meanwhile_is_made_again(destination: Destination, root: Path) -> None:
    upload = destination.create(KEY)
    upload.write(DATA)
    store(destination, DATA, "host/2026-11-23/other.tar.gpg")
    destination.remove(["host/2026-11-23/other.tar.gpg"])
    upload.commit(len(DATA), SHA256)
    assert b"".join(destination.read(KEY)) == DATA


def test_a_directory_that_is_not_mounted_is_told_of(tmp_path: Path, context: Context) -> None:
    with pytest.raises(MissingError, match="no such directory") as caught:
        Local(path=str(tmp_path / "usb")).connect(context)
    assert "mount" in caught.value.hint
    (tmp_path / "file").write_text("")
    with pytest.raises(DestinationError, match="not a directory"):
        Local(path=str(tmp_path / "file")).connect(context)


def test_a_directory_without_the_right_to_write_is_told_of(
    destination: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated, because root may write everywhere."""

    def refused(*args: object, **options: object) -> int:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "mkdir", refused)
    with pytest.raises(DeniedError, match="Permission denied"):
        destination.create(KEY)
