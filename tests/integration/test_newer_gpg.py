"""Copies that GnuPG 2.4 makes, as in the worker's image: in OCB, whose packet older ones do not write.

It comes from Debian trixie, by the mirror that apt is configured with.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backups.job import Job, load_job
from tests.integration.test_checks import Memory, checked, copy_at
from tests.servers.command_line import PASSPHRASE, CommandLine
from tests.servers.debian import unpacked_or_left_out
from tests.servers.fake_path import FakePath
from tests.servers.gpg_home import gpg_home
from tests.unit.test_packets import judged

pytestmark = pytest.mark.xdist_group("debian trixie")

CHUNK = 4 << 20
"""Bytes of plain text that have an authentication tag of their own."""


@pytest.fixture(scope="module")
def newer() -> Path:
    return unpacked_or_left_out("trixie", "gpg") / "usr" / "bin" / "gpg"


@pytest.fixture
def with_newer(newer: Path, fake_path: FakePath, backups: CommandLine) -> CommandLine:
    """Whoever runs gpg gets it, and something of three chunks is to be stored."""
    fake_path.put("gpg", f'exec "{newer}" "$@"')
    (backups.data / "large").write_bytes(os.urandom(2 * CHUNK + 5000))
    return backups


def kinds(message: bytes, gpg: str) -> list[str]:
    """The packets, as gpg lists those that it sees without a key."""
    argv = [gpg, "--batch", "--no-options", "--list-packets", "--pinentry-mode", "loopback", "--passphrase", "wrong"]
    listed = subprocess.run(argv, input=message, capture_output=True, check=False).stdout.decode()
    return [line.split()[3].rpartition("=")[2] for line in listed.splitlines() if line.startswith("# off=")]


@pytest.fixture
def stored(with_newer: CommandLine) -> Job:
    """A copy at each of two destinations, one without its manifest: there gpg alone finds what is wrong."""
    with_newer.write_job(compression="none", verification={"every_days": 1})
    ended = with_newer("run", with_newer.job)
    assert ended.code == 0, ended.err
    copy_at(with_newer.two).with_name("data.tar.gpg.manifest.json").unlink()
    return load_job(with_newer.job)


def session_key(content: bytearray) -> None:
    content[30] ^= 1


def first(content: bytearray) -> None:
    content[300] ^= 1


def middle(content: bytearray) -> None:
    content[len(content) // 2] ^= 1


def last(content: bytearray) -> None:
    content[-1] ^= 1


def without_the_last_tag(content: bytearray) -> None:
    del content[-16:]


def without_the_last_chunk(content: bytearray) -> None:
    del content[2 * CHUNK :]


@pytest.mark.parametrize("harm", [session_key, first, middle, last, without_the_last_tag, without_the_last_chunk])
def test_damage_anywhere_is_found(
    stored: Job, with_newer: CommandLine, tmp_path: Path, harm: Callable[[bytearray], None]
) -> None:
    for destination in (with_newer.one, with_newer.two):
        content = bytearray(copy_at(destination).read_bytes())
        harm(content)
        copy_at(destination).write_bytes(content)
    copy_at(with_newer.one).with_name("data.tar.gpg.manifest.json").touch()
    found = checked(stored, Memory(), tmp_path)
    # Without a manifest nobody can tell a damaged salt or session key from another passphrase; it is no good copy.
    alone = "unreadable" if harm is session_key else "damaged"
    assert {id_: check.status for id_, check in found.items()} == {"one": "damaged", "two": alone}
    if harm.__name__.startswith("without"):
        assert judged(bytes(content)) == "this is no whole OpenPGP message: it ends in the middle of a packet"


def test_a_whole_copy_is_good_comes_back_and_is_read_by_older_gpg_too(
    stored: Job, with_newer: CommandLine, fake_path: FakePath, tmp_path: Path
) -> None:
    content = copy_at(with_newer.one).read_bytes()
    assert kinds(content, fake_path.real("gpg"))[:2] == ["3", "20"]
    assert judged(content) == ""
    assert "something follows the encrypted data" in judged(content + content)
    with_newer_gpg = checked(stored, Memory(), tmp_path)
    (fake_path.directory / "gpg").unlink()
    for found in (with_newer_gpg, checked(stored, Memory(), tmp_path)):
        assert found["one"].checked == "size, sha256 and gpg"
        assert found["two"].checked == "size and gpg: there is no manifest"
    ended = with_newer("restore", with_newer.job, "data", "--to", tmp_path / "back")
    assert ended.code == 0, ended.err
    (back,) = (tmp_path / "back").rglob("large")
    assert back.read_bytes() == (with_newer.data / "large").read_bytes()
    assert PASSPHRASE not in ended.out + ended.err


@pytest.fixture
def armored() -> Iterator[tuple[Path, str]]:
    """A key of an older gpg, and its public half."""
    with gpg_home() as home:
        gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
        subprocess.run([*gpg, "--passphrase", "", "--quick-gen-key", "b@example.org"], check=True, capture_output=True)
        yield home, subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout.decode()


def test_for_a_public_key_its_packets_are_checked_without_the_secret_one(
    armored: tuple[Path, str], with_newer: CommandLine, fake_path: FakePath, tmp_path: Path
) -> None:
    home, key = armored
    with_newer.write_job(encryption={"recipients": [key]}, compression="none", verification={"every_days": 1})
    assert with_newer("run", with_newer.job).code == 0
    content = copy_at(with_newer.one).read_bytes()
    assert kinds(content, fake_path.real("gpg"))[:2] == ["1", "20"]
    cut = copy_at(with_newer.two)
    cut.write_bytes(content[:-1])
    cut.with_name("data.tar.gpg.manifest.json").unlink()
    found = checked(load_job(with_newer.job), Memory(), tmp_path)
    assert found["one"].checked == "size, sha256 and packets; not gpg, since the secret key is not on this machine"
    assert (found["two"].status, "ends in the middle of a packet" in found["two"].error) == ("damaged", True)
    stock = [fake_path.real("gpg"), "--homedir", str(home), "--batch", "--quiet", "--decrypt"]
    plain = subprocess.run(stock, input=content, capture_output=True, check=True).stdout
    assert subprocess.run(["tar", "--list"], input=plain, capture_output=True, check=True).stdout.count(b"large") == 1
