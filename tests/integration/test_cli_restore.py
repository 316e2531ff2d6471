"""``backups restore``: byte for byte or not at all."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.damage import bit_flipped, replaced_by_other_content, truncated, with_wrong_manifest
from tests.servers.command_line import HOST, CommandLine
from tests.servers.fake_path import FakePath

ODD = ["-rf", " leading space", 'quo\'te "both"', "new\nline", "ünïcode", "*", "back\\slash", "$(id)", "a;b"]


@pytest.fixture
def stored(backups: CommandLine, one_run: CommandLine) -> CommandLine:
    """One copy of a folder at both destinations."""
    backups.take_over(one_run)
    return backups


def copy_at(destination: Path) -> Path:
    """The only copy there."""
    [path] = destination.rglob("*.gpg")
    return path


def leftovers(backups: CommandLine) -> list[Path]:
    """What a restore may leave beside its target, and private files."""
    return [*backups.directory.rglob(".restore-*"), *backups.tmp.iterdir()]


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of everything in a folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        data = str(path.readlink()).encode() if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(folder))] = (status.st_mode, data)
    return found


def test_folder_comes_back_the_same(backups: CommandLine) -> None:
    for number, name in enumerate(ODD):
        (backups.data / name).mkdir()
        (backups.data / name / name).write_bytes(os.urandom(number))
        (backups.data / name / name).chmod(0o600 + number)
    (backups.data / "link").symlink_to("/nowhere")
    (backups.data / "read only").mkdir()
    (backups.data / "read only" / "file").write_text("x")
    (backups.data / "read only").chmod(0o555)
    (backups.data / "setgid").mkdir()
    (backups.data / "setgid").chmod(0o2775)
    os.utime(backups.data / "hello.txt", ns=(1_000_000_000, 1_234_567_891_123_456_789))
    assert backups("run", backups.job).code == 0
    ended = backups("restore", backups.job, "data", "--to", "back")
    assert ended.code == 0, ended.err
    back = backups.directory / "back" / "data"
    assert contents(back) == contents(backups.data)
    assert (back / "hello.txt").stat().st_mtime_ns == 1_234_567_891_123_456_789
    assert leftovers(backups) == []


@pytest.mark.parametrize("compression", ["gpg", "gzip", "none"])
def test_every_compression_comes_back(backups: CommandLine, compression: str) -> None:
    backups.write_job(compression=compression)
    assert backups("run", backups.job).code == 0
    assert backups("restore", backups.job, "data", "--to", "back").code == 0
    assert contents(backups.directory / "back" / "data") == contents(backups.data)


def test_into_an_existing_empty_directory(stored: CommandLine) -> None:
    target = stored.directory / "back"
    target.mkdir(mode=0o750)
    assert stored("restore", stored.job, "data", "--to", "back").code == 0
    assert contents(target / "data") == contents(stored.data)
    assert stat.S_IMODE(target.stat().st_mode) == 0o750
    assert leftovers(stored) == []


def test_unwritable_top_of_the_archive_into_an_existing_directory(backups: CommandLine) -> None:
    backups.data.chmod(0o555)
    assert backups("run", backups.job).code == 0
    (backups.directory / "back").mkdir()
    assert backups("restore", backups.job, "data", "--to", "back").code == 0
    assert stat.S_IMODE((backups.directory / "back" / "data").stat().st_mode) == 0o555


def test_target_that_is_in_use_is_refused_before_anything_is_read(stored: CommandLine) -> None:
    full = stored.directory / "full"
    full.mkdir()
    (full / "mine").write_text("mine")
    (stored.directory / "mine.tar").write_text("mine")
    for target in ("full", "mine.tar", "job.json", "absent/back", "absent/back.tar"):
        ended = stored("restore", stored.job, "data", "--to", target)
        assert ended.code == 2, target
        assert "hint: " in ended.err
    assert (full / "mine").read_text() == "mine"
    assert (stored.directory / "mine.tar").read_text() == "mine"
    assert leftovers(stored) == []


def test_what_a_killed_restore_left_is_no_obstacle(stored: CommandLine) -> None:
    target = stored.directory / "back"
    left = target / ".restore-d34d0123.partial" / "content"
    left.mkdir(parents=True)
    left.parent.chmod(0o700)
    (left / "half").write_text("half")
    assert stored("restore", stored.job, "data", "--to", "back").code == 0
    assert sorted(path.name for path in target.iterdir()) == ["data"]


def test_archive_whose_padding_comes_late(stored: CommandLine, fake_path: FakePath) -> None:
    """The archive is padded to a record: tar has seen its end long before whoever writes the padding."""
    assert stored("restore", stored.job, "data", "--to", "back.tar").code == 0
    archive = (stored.directory / "back.tar").read_bytes()
    assert not any(archive[-4096:])
    blocks = len(archive) // 512 - 4
    late = f"{{ dd bs=512 count={blocks} iflag=fullblock status=none; sleep 0.5; cat; }}"
    fake_path.put("zstd", f'"$REAL" "$@" | {late}')
    ended = stored("restore", stored.job, "data", "--to", "back")
    assert (ended.code, leftovers(stored)) == (0, []), ended.err
    assert contents(stored.directory / "back" / "data") == contents(stored.data)


def test_to_a_tar_file(stored: CommandLine) -> None:
    assert stored("restore", stored.job, "data", "--to", "back.tar").code == 0
    path = stored.directory / "back.tar"
    with tarfile.open(path) as archive:
        assert "data/hello.txt" in archive.getnames()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert leftovers(stored) == []


def test_to_standard_output(stored: CommandLine) -> None:
    done = subprocess.run(
        [str(stored.program), "restore", str(stored.job), "data", "--to", "-"],
        env=stored.environment(),
        capture_output=True,
        check=True,
        timeout=60,
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        member = archive.extractfile("data/large")
        assert member is not None
        assert member.read() == (stored.data / "large").read_bytes()


@pytest.mark.parametrize("harm", [truncated, bit_flipped, replaced_by_other_content, with_wrong_manifest])
@pytest.mark.parametrize("target", ["back", "existing/", "back.tar", "-"])
def test_damaged_copy_leaves_nothing(stored: CommandLine, harm: Callable[[Path], None], target: str) -> None:
    harm(copy_at(stored.one))
    (stored.directory / "existing").mkdir()
    ended = stored("restore", stored.job, "data", "--to", target, "--from", "one")
    assert ended.code == 1
    assert "error: " in ended.err
    assert not (stored.directory / "back").exists()
    assert not (stored.directory / "back.tar").exists()
    assert list((stored.directory / "existing").iterdir()) == []
    assert leftovers(stored) == []
    if target == "-" and ended.out:
        assert "throw it away" in ended.err


@pytest.mark.parametrize("harm", [truncated, bit_flipped, Path.unlink])
def test_next_destination_takes_over(stored: CommandLine, harm: Callable[[Path], None]) -> None:
    harm(copy_at(stored.one))
    ended = stored("restore", stored.job, "data", "--to", "back")
    assert ended.code == 0, ended.err
    assert contents(stored.directory / "back" / "data") == contents(stored.data)
    assert "from two" in ended.err


def test_destination_that_can_not_be_asked_is_told(stored: CommandLine) -> None:
    stored.one.rename(stored.directory / "unplugged")
    ended = stored("restore", stored.job, "data", "--to", "back")
    assert ended.code == 0
    assert "warning: one can't be asked, so a newer copy there would be missed" in ended.err


def test_by_date_and_of_another_host(stored: CommandLine) -> None:
    day = copy_at(stored.one).parent
    old = day.with_name("2020-02-29")
    day.rename(old)
    manifest = old / "data.tar.zst.gpg.manifest.json"
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "key": content["key"].replace(day.name, old.name)}))
    ended = stored("restore", stored.job, "data", "--to", "back", "--date", "2020-02-29")
    assert ended.code == 0, ended.err
    ended = stored("restore", stored.job, "data", "--to", "b2", "--date", "2020-03-01")
    assert ended.code == 1
    assert "there are verified copies of 2020-02-29" in ended.err
    stored.write_job(hostname="replacement")
    ended = stored("restore", stored.job, "data", "--to", "b3")
    assert ended.code == 1
    assert "--hostname" in ended.err
    assert stored("restore", stored.job, "data", "--to", "b3", "--hostname", HOST).code == 0


def test_copy_without_a_manifest_needs_to_be_asked_for(stored: CommandLine) -> None:
    for place in (stored.one, stored.two):
        copy_at(place).with_name("data.tar.zst.gpg.manifest.json").unlink()
    ended = stored("restore", stored.job, "data", "--to", "back")
    assert ended.code == 1
    assert "--unverified" in ended.err
    ended = stored("restore", stored.job, "data", "--to", "back", "--unverified")
    assert ended.code == 0
    assert "no manifest" in ended.err
    truncated(copy_at(stored.one))
    truncated(copy_at(stored.two))
    assert stored("restore", stored.job, "data", "--to", "b2", "--unverified").code == 1
    assert not (stored.directory / "b2").exists()


def test_wrong_passphrase_says_so(stored: CommandLine) -> None:
    stored.write_job(encryption={"passphrase": "another one"})
    ended = stored("restore", stored.job, "data", "--to", "back")
    assert ended.code == 1
    assert "the passphrase in the job file does not fit the copy" in ended.err
    assert not (stored.directory / "back").exists()


def test_tar_that_fails_at_the_end_leaves_nothing_and_tries_no_other(stored: CommandLine, fake_path: FakePath) -> None:
    fake_path.ends_with("tar", 2, stderr="tar: No space left on device")
    ended = stored("restore", stored.job, "data", "--to", "back")
    assert ended.code == 1
    assert "No space left on device" in ended.err
    assert "from two" not in ended.err
    assert not (stored.directory / "back").exists()
    assert leftovers(stored) == []


def test_decompressor_that_fails_leaves_nothing(stored: CommandLine, fake_path: FakePath) -> None:
    fake_path.put("zstd", "head -c 100000 >/dev/null; echo 'zstd: broken' >&2; exit 1")
    ended = stored("restore", stored.job, "data", "--to", "back")
    assert ended.code == 1
    assert "zstd: broken" in ended.err
    assert not (stored.directory / "back").exists()


def test_gpg_that_fails_after_its_last_byte_leaves_nothing(stored: CommandLine, fake_path: FakePath) -> None:
    fake_path.ends_with("gpg", 2, stderr="gpg: WARNING: encrypted message has been manipulated!")
    ended = stored("restore", stored.job, "data", "--to", "back.tar")
    assert ended.code == 1
    assert "manipulated" in ended.err
    assert not (stored.directory / "back.tar").exists()


def test_reader_of_standard_output_that_goes_away_is_told(stored: CommandLine) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = stored.with_output("restore", stored.job, "data", "--to", "-", to=writing)
    os.close(writing)
    assert ended.code == 1
    assert "whoever read it has gone" in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_full_disk_leaves_nothing(stored: CommandLine) -> None:
    small = stored.directory / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], check=True)
    try:
        for target in ("small/back", "small/back.tar", "small/"):
            ended = stored("restore", stored.job, "data", "--to", target)
            assert ended.code == 1, target
            assert "No space left on device" in ended.err or "the disk is full" in ended.err
            assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_database_is_no_place_for_a_folder(stored: CommandLine) -> None:
    for target in ("mysql://root@localhost/x", "postgresql://root@localhost/x", "ftp://x/y"):
        ended = stored("restore", stored.job, "data", "--to", target)
        assert ended.code == 2
