"""The source ``folder`` against the real tar: what it stores comes back the same."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.context import Context
from backups.errors import BackupsError, CommandError, SourceError, StoppedError
from backups.sources.folder import Folder
from tests.contract.streams import children, read_rest, read_whole, stopped_by_a_hanging_program
from tests.servers.fake_path import FakePath

NASTY = ["with space", 'it\'s "quoted"', "two\nlines", "-leading", "--exclude=a", "g*l[o]b?", "back\\slash&", "ünï☃"]


def archive(path: Path | str, context: Context, **settings: object) -> tuple[bytes, list[str]]:
    with Folder.model_validate({"type": "folder", "path": str(path), **settings}).open(context) as stream:
        return read_whole(stream)


def unpack(data: bytes, into: Path) -> Path:
    into.mkdir()
    argv = ["tar", "--extract", "--file=-", "--preserve-permissions", "--xattrs", "--xattrs-include=*"]
    subprocess.run([*argv, f"--directory={into}"], input=data, check=True)
    return into


def names(data: bytes) -> list[str]:
    listing = subprocess.run(
        ["tar", "--list", "--file=-", "--null", "--quoting-style=literal"], input=data, check=True, capture_output=True
    )
    return sorted(line.rstrip("/") for line in listing.stdout.decode().split("\n") if line)


def snapshot(top: Path) -> dict[str, object]:
    """Everything that a restore must bring back, by relative path."""
    found: dict[str, object] = {}
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        content: object = None
        if path.is_symlink():
            content = path.readlink()
        elif path.is_file():
            content = path.read_bytes()
        kind = stat.S_IFMT(status.st_mode)
        times = None if path.is_symlink() else status.st_mtime_ns
        found[str(path.relative_to(top))] = (kind, stat.S_IMODE(status.st_mode), times, status.st_uid, content)
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder with whatever folders hold."""
    top = tmp_path / "data"
    (top / "deep/er/tmp").mkdir(parents=True)
    (top / "deep/er/tmp/scratch").write_text("scratch")
    (top / "tmp").mkdir()
    (top / "tmp/x").write_text("x")
    (top / "notes~").write_text("old")
    (top / "empty").touch()
    (top / "binary").write_bytes(bytes(range(256)) * 100)
    (top / "run").write_text("#!/bin/sh")
    (top / "run").chmod(0o751)
    (top / "link").symlink_to("./deep/er")
    (top / "dangling").symlink_to("../nowhere")
    (top / "again").hardlink_to(top / "binary")
    for name in NASTY:
        (top / name).write_text(name)
    os.utime(top / "binary", ns=(1, 1_234_567_890_123_456_789))
    os.mkfifo(top / "fifo")
    return top


def test_everything_comes_back(tree: Path, context: Context, tmp_path: Path) -> None:
    data, warnings = archive(tree, context)
    restored = unpack(data, tmp_path / "out") / "data"
    assert warnings == []
    assert snapshot(restored) == snapshot(tree)
    assert (restored / "again").samefile(restored / "binary")


def test_sparse_files_stay_sparse(tmp_path: Path, context: Context) -> None:
    top = tmp_path / "data"
    top.mkdir()
    with (top / "sparse").open("wb") as file:
        file.seek(64 << 20)
        file.write(b"end")
    data, _ = archive(top, context)
    assert len(data) < 1 << 20
    restored = unpack(data, tmp_path / "out") / "data/sparse"
    assert restored.stat().st_size == (64 << 20) + 3
    assert restored.stat().st_blocks * 512 < 1 << 20
    assert restored.read_bytes()[-3:] == b"end"


def test_extended_attributes_come_back(tree: Path, context: Context, tmp_path: Path) -> None:
    os.setxattr(tree / "binary", "user.note", b"kept")
    data, _ = archive(tree, context)
    assert os.getxattr(unpack(data, tmp_path / "out") / "data/binary", "user.note") == b"kept"


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize("kind", ["folder", "file"])
def test_any_name_can_be_the_path(name: str, kind: str, tmp_path: Path, context: Context) -> None:
    path = tmp_path / name
    if kind == "folder":
        path.mkdir()
        (path / name).write_text("inside")
    else:
        path.write_text("alone")
    data, warnings = archive(path, context)
    restored = unpack(data, tmp_path / "out") / name
    assert warnings == []
    assert ((restored / name).read_text() if kind == "folder" else restored.read_text()) in ("inside", "alone")
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == [name]


@pytest.mark.parametrize("written", ["{}/", "{}//", "{}/.", "{}/deep/.."])
def test_spellings_of_the_path_store_the_same_names(written: str, tree: Path, context: Context) -> None:
    data, _ = archive(written.format(tree), context)
    assert names(data) == names(archive(tree, context)[0])


def test_a_relative_path_counts_from_the_working_directory(
    tree: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree.parent)
    assert names(archive("data", context)[0]) == names(archive(tree, context)[0])


@pytest.mark.parametrize("target", ["data", "data/binary"])
def test_a_link_as_path_is_followed_and_keeps_its_name(
    target: str, tree: Path, context: Context, tmp_path: Path
) -> None:
    link = tmp_path / "current"
    link.symlink_to(target)
    restored = unpack(archive(link, context)[0], tmp_path / "out") / "current"
    assert not restored.is_symlink()
    if (tmp_path / target).is_dir():
        assert snapshot(restored) == snapshot(tree)
    else:
        assert restored.read_bytes() == (tree / "binary").read_bytes()


def test_excludes_match_at_any_depth(tree: Path, context: Context) -> None:
    data, warnings = archive(tree, context, excludes=["tmp/", "*~"])
    assert warnings == []
    assert not [name for name in names(data) if "tmp" in name or name.endswith("~")]
    assert "data/deep/er" in names(data)


@pytest.mark.parametrize("pattern", ["{}/tmp", "{}/tmp/", "data/tmp", "./tmp"])
def test_excludes_with_the_path_match_there_only(pattern: str, tree: Path, context: Context) -> None:
    stored = names(archive(tree, context, excludes=["*~", pattern.format(tree)])[0])
    assert "data/deep/er/tmp/scratch" in stored
    assert "data/tmp" not in stored
    assert "data/notes~" not in stored


def test_an_exclude_that_is_the_folders_own_name_does_not_empty_it(tree: Path, context: Context) -> None:
    (tree / "data").mkdir()
    stored = names(archive(tree, context, excludes=["data"])[0])
    assert "data/binary" in stored
    assert "data/data" not in stored


def test_an_exclude_elsewhere_is_reported(tree: Path, context: Context) -> None:
    _, warnings = archive(tree, context, excludes=["/somewhere/else"])
    assert len(warnings) == 1
    assert "'/somewhere/else'" in warnings[0]


@pytest.mark.parametrize("pattern", ["", "/"])
def test_an_empty_exclude_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="would exclude"):
        Folder(path="/data", excludes=(pattern,))


def test_a_missing_folder_is_an_error_before_anything_starts(tmp_path: Path, context: Context) -> None:
    with pytest.raises(SourceError, match="does not exist") as caught:
        Folder(path=str(tmp_path / "no\nthing")).open(context)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_a_device_is_no_folder(context: Context) -> None:
    with pytest.raises(SourceError, match="neither a folder nor a file"):
        Folder(path="/dev/null").open(context)


def test_a_folder_that_vanishes_is_an_error(tree: Path, context: Context, fake_path: FakePath) -> None:
    fake_path.put("tar", f'mv "{tree}" "{tree}.gone"; exec "$REAL" "$@"')
    with Folder(path=str(tree)).open(context) as stream, pytest.raises(CommandError, match="No such file") as caught:
        read_whole(stream)
    assert caught.value.status == 2


def test_a_file_that_grows_is_a_warning_with_its_name(tree: Path, context: Context) -> None:
    large = tree / "large"
    large.write_bytes(os.urandom(8 << 20))
    with Folder(path=str(tree)).open(context) as stream:
        first = b""
        while len(first) < 1 << 20:  # the other files are less, so tar is in the middle of this one
            first += os.read(stream.fileno(), 1 << 16)
        with large.open("ab") as file:
            file.write(b"more")
        rest = read_rest(stream)
        (warning,) = stream.finish(len(first) + len(rest), b"")
    assert "large" in warning
    assert "changed as we read it" in warning
    assert "Total bytes" not in warning
    assert "data/large" in names(first + rest)


def test_a_file_that_goes_away_is_a_warning_with_its_name(tmp_path: Path, context: Context) -> None:
    top = tmp_path / "data"
    top.mkdir()
    for number in range(20):
        (top / f"file{number}").touch()
    first_read, *others = [entry.name for entry in os.scandir(top)]  # tar takes them in this order
    (top / first_read).write_bytes(os.urandom(8 << 20))
    with Folder(path=str(top)).open(context) as stream:
        first = os.read(stream.fileno(), 1 << 16)
        (top / others[-1]).unlink()
        size = len(first) + len(read_rest(stream))
        (warning,) = stream.finish(size, b"")
    assert f"{others[-1]}: File removed before we read it" in warning


def test_sockets_are_left_out_in_silence(tree: Path, context: Context) -> None:
    with socket.socket(socket.AF_UNIX) as listener, contextlib.chdir(tree):
        listener.bind("socket")
    data, warnings = archive(tree, context)
    assert warnings == []
    assert "data/socket" not in names(data)


@pytest.fixture
def unprivileged(fake_path: FakePath) -> Iterator[Path]:
    """A folder that tar reads as a user without rights, also when the tests run as root."""
    if os.geteuid() == 0:
        setpriv = fake_path.real("setpriv")
        fake_path.put("tar", f'exec {setpriv} --reuid=65534 --regid=65534 --clear-groups "$REAL" "$@"')
    with tempfile.TemporaryDirectory() as directory:
        top = Path(directory)
        top.chmod(0o755)
        yield top
        for path in top.rglob("*"):
            path.chmod(0o700)


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_can_not_be_read_fails_with_its_name(kind: str, unprivileged: Path, context: Context) -> None:
    (unprivileged / "open").write_text("open")
    secret = unprivileged / "closed"
    secret.mkdir() if kind == "folder" else secret.write_text("closed")
    secret.chmod(0)
    with Folder(path=str(unprivileged)).open(context) as stream, pytest.raises(CommandError, match="closed") as caught:
        read_whole(stream)
    assert caught.value.status == 2
    assert "sudo" in caught.value.hint


def test_one_file_system_leaves_mounts_out(tmp_path: Path, context: Context, fake_path: FakePath) -> None:
    seen = tmp_path / "arguments"
    fake_path.put("tar", f'printf "%s\\n" "$@" >"{seen}"; exec "$REAL" "$@"')
    (tmp_path / "data").mkdir()
    archive(tmp_path / "data", context, one_file_system="1")
    assert "--one-file-system" in seen.read_text().split("\n")
    archive(tmp_path / "data", context, one_file_system="0")
    assert "--one-file-system" not in seen.read_text().split("\n")


# sudo is not on every machine that runs these tests: a script says and does what sudo says and does.
ALLOWS = '[ "$1" = -n ] || exit 9; shift; exec "$@"'
REFUSES = "echo 'sudo: a password is required' >&2; exit 1"


def test_sudo_reads_the_same(tree: Path, context: Context, fake_path: FakePath) -> None:
    plain = archive(tree, context)[0]
    fake_path.put("sudo", ALLOWS)
    assert names(archive(tree, context, sudo="1")[0]) == names(plain)
    assert names(archive(tree / "run", context, sudo=True)[0]) == ["run"]


def test_sudo_refusing_is_an_error_before_anything_starts(tree: Path, context: Context, fake_path: FakePath) -> None:
    fake_path.put("sudo", REFUSES)
    with pytest.raises(SourceError, match="a password is required") as caught:
        Folder(path=str(tree), sudo=True).open(context)
    assert "NOPASSWD" in caught.value.hint


def test_stopping_ends_the_question_to_sudo(tree: Path, context: Context, fake_path: FakePath) -> None:
    before = children()
    with stopped_by_a_hanging_program(context) as script:
        fake_path.put("sudo", script)
        with pytest.raises(StoppedError):
            Folder(path=str(tree), sudo=True).open(context)
    assert set(children()) == set(before)


def test_sudo_refusing_later_is_no_warning(tree: Path, context: Context, fake_path: FakePath, tmp_path: Path) -> None:
    mark = tmp_path / "asked"
    fake_path.put("sudo", f'if [ -e "{mark}" ]; then {REFUSES}; fi; touch "{mark}"; {ALLOWS}')
    with Folder(path=str(tree), sudo=True).open(context) as stream, pytest.raises(SourceError, match="password"):
        read_whole(stream)


def test_sudo_names_a_missing_folder(tmp_path: Path, context: Context, fake_path: FakePath) -> None:
    fake_path.put("sudo", ALLOWS)
    with pytest.raises(SourceError, match="No such file"):
        Folder(path=str(tmp_path / "nothing"), sudo=True).open(context)


def test_without_sudo_on_the_machine_the_error_says_so(tree: Path, context: Context, fake_path: FakePath) -> None:
    fake_path.only("tar")
    with pytest.raises(BackupsError, match="sudo is not installed"):
        Folder(path=str(tree), sudo=True).open(context)
