"""What shows of an OpenPGP message without its key: real messages of gpg, whole and harmed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.errors import VerificationError
from backups.restoring.packets import Structure
from tests.servers.gpg_home import gpg_home

BLOCK = 1 << 16


def gpg(home: Path, *arguments: str, data: bytes = b"") -> bytes:
    argv = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--no-tty", *arguments]
    return subprocess.run(argv, input=data, capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    with gpg_home() as home:
        yield home


def symmetric(home: Path, data: bytes, *options: str) -> bytes:
    secret = ("--pinentry-mode", "loopback", "--passphrase", "x", "--s2k-count", "1024")
    return gpg(home, *secret, *options, "--compress-algo", "none", "--symmetric", data=data)


def judged(message: bytes, block: int = BLOCK) -> str:
    """What is wrong; empty when nothing shows."""
    structure = Structure()
    for start in range(0, len(message), block):
        structure.see(message[start : start + block])
    try:
        structure.check()
    except VerificationError as error:
        return error.message
    return ""


@pytest.fixture(scope="module")
def streamed(home: Path) -> bytes:
    """In parts of 8 KiB, as gpg writes what it reads from a pipe."""
    return symmetric(home, bytes(range(256)) * 4000)


@pytest.mark.parametrize("size", [0, 1, 100, 191, 192, 5000, 8383, 8384, 70_000])
def test_messages_of_gpg_are_whole_in_any_block_size(home: Path, size: int, tmp_path: Path) -> None:
    data = b"x" * size
    file = tmp_path / "data"
    file.write_bytes(data)
    secret = ("--pinentry-mode", "loopback", "--passphrase", "x", "--s2k-count", "1024", "--compress-algo", "none")
    of_file = gpg(home, *secret, "--output", "-", "--symmetric", str(file))  # its length is known
    for message in (of_file, symmetric(home, data)):
        assert [judged(message, block) for block in (1, 7, BLOCK)] == ["", "", ""]


def test_for_public_keys_too(home: Path) -> None:
    for name in ("a@example.org", "b@example.org"):
        gpg(home, "--passphrase", "", "--quick-gen-key", name, "default", "default", "never")
    to = ("--trust-model", "always", "-r", "a@example.org", "-r", "b@example.org", "--encrypt")
    assert judged(gpg(home, *to, data=b"x" * 100_000)) == ""
    signed = gpg(home, "--sign", "-u", "a@example.org", data=b"x")
    assert "a packet of kind 8 " in judged(signed)


def test_every_cut_shows(streamed: bytes) -> None:
    for end in [*range(60), 8191, 8192, 8193, len(streamed) // 2, len(streamed) - 1]:
        assert "no whole OpenPGP message" in judged(streamed[:end]), end


def test_what_was_added_shows(streamed: bytes) -> None:
    assert f"no packet begins at byte {len(streamed)}" in judged(streamed + b"junk")
    assert f"something follows the encrypted data at byte {len(streamed)}" in judged(streamed + streamed)


def test_other_things_are_no_message() -> None:
    for content in (b"", b"-- MySQL dump", b"\x00" * 5000, b"\xff" * 5000, b"\xd2\x00"):
        assert judged(content)


def test_a_length_that_was_changed_shows(streamed: bytes) -> None:
    """The second part's length stands after the header of the packet and 8 KiB."""
    start = next(at for at in range(len(streamed)) if streamed[at] == 0xED and streamed[at + 1 + 8192] == 0xED)
    harmed = bytearray(streamed)
    harmed[start + 1 + 8192] = 0xEC
    assert judged(bytes(harmed))


def test_an_endless_packet_ends_with_the_message() -> None:
    key = b"\x8c\x04\x04\x09\x03\x08"
    assert judged(key + b"\xa7" + b"x" * 100) == ""
    assert judged(key) == "this is no whole OpenPGP message: it has no encrypted data"
