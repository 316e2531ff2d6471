"""The gpg stage on the real gpg, undone with the stock command."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import SecretStr

from backups.commands import Command
from backups.context import Context
from backups.encryption import decrypting, encrypting, gpg_version
from backups.errors import CommandError, EncryptionError
from backups.jobfile.settings import Encryption
from backups.naming import Compression
from tests.contract.streams import children
from tests.integration.scripted import nothing_left
from tests.servers.fake_path import FakePath
from tests.servers.gpg_home import gpg_home

PLAIN = b"CREATE TABLE secrets;\n" * 5_000

PASSPHRASES = [
    "correct horse battery staple",
    'it\'s "quoted" and `ticked`',
    "back\\slash \\n \\\\ %s %20 $HOME #;:",
    "schlüssel 密码 🔑",
    "  spaces before and after  ",
    "\ttabs\t",
    "carriage return\r",
    "-----dashes",
    "x",
    "long " * 200,
]


@dataclass(frozen=True)
class Person:
    """Somebody with a key of their own."""

    home: Path
    armored: str

    def decrypt(self, data: bytes) -> bytes:
        """What the stock command makes of it."""
        return stock_gpg("--decrypt", home=self.home, data=data)


def stock_gpg(*arguments: str, home: Path, data: bytes = b"") -> bytes:
    argv = ["gpg", "--homedir", str(home), "--batch", "--quiet", *arguments]
    return subprocess.run(argv, input=data, check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def people() -> Iterator[dict[str, Person]]:
    """Two real keys."""
    with gpg_home() as first, gpg_home() as second:
        found = {}
        for name, home in (("ada", first), ("bob", second)):
            stock_gpg("--passphrase", "", "--quick-generate-key", f"{name}@example.com", "future-default", home=home)
            armored = stock_gpg("--armor", "--export", f"{name}@example.com", home=home).decode()
            found[name] = Person(home, armored)
        yield found


@pytest.fixture(autouse=True)
def _nothing_left(context: Context, people: dict[str, Person]) -> Iterator[None]:
    with nothing_left(context):
        yield


def symmetric(passphrase: str) -> Encryption:
    return Encryption(passphrase=SecretStr(passphrase))


def through(command: Command, data: bytes) -> bytes:
    """A whole pass through a child; raises CommandError when it did not end well."""
    try:
        with command.stdin as stdin:
            stdin.write(data)
        output = command.stdout.read()
        command.wait(30)
        return output
    finally:
        command.close()


def encrypt(
    encryption: Encryption, context: Context, data: bytes = PLAIN, compression: Compression = Compression.NONE
) -> bytes:
    with encrypting(encryption, compression, context) as call:
        return through(call.start(stdin=subprocess.PIPE), data)


def decrypt(encryption: Encryption, context: Context, data: bytes) -> bytes:
    with decrypting(encryption, context) as call:
        return through(call.start(stdin=subprocess.PIPE), data)


@pytest.mark.parametrize("passphrase", PASSPHRASES)
def test_any_passphrase_comes_back_through_the_stock_command(passphrase: str, context: Context, tmp_path: Path) -> None:
    data = encrypt(symmetric(passphrase), context)
    assert PLAIN not in data
    file = tmp_path / "passphrase"
    file.write_bytes(passphrase.encode() + b"\n")
    stock = stock_gpg("--pinentry-mode", "loopback", "--passphrase-file", str(file), "-d", home=tmp_path, data=data)
    assert stock == PLAIN
    subprocess.run(["gpgconf", "--homedir", str(tmp_path), "--kill", "all"], check=True)
    assert decrypt(symmetric(passphrase), context, data) == PLAIN


def test_a_newline_at_the_end_of_a_passphrase_is_no_part_of_it(context: Context) -> None:
    """Files and secret stores often add one."""
    assert decrypt(symmetric("one line"), context, encrypt(symmetric("one line\n"), context)) == PLAIN


@pytest.mark.parametrize(
    ("passphrase", "problem"),
    [
        ("two\nlines", "has more than one line"),
        ("\nfirst is empty", "has more than one line"),
        ("\n", "is empty"),
        ("null\0byte", "holds a null character"),
        ("x" * 4096, "longer than 4,095 bytes"),
        ("ü" * 2048, "longer than 4,095 bytes"),
        ("not\udc80text", "is not UTF-8 text"),
    ],
)
def test_a_passphrase_that_gpg_would_cut_is_refused(passphrase: str, problem: str, context: Context) -> None:
    # As it comes from an environment variable: without the checks of the job file.
    encryption = Encryption.model_construct(passphrase=SecretStr(passphrase), recipients=None)
    with pytest.raises(EncryptionError, match=problem) as caught, encrypting(encryption, Compression.NONE, context):
        pass
    assert passphrase.strip() not in str(caught.value) or not passphrase.strip()


def test_another_passphrase_decrypts_nothing(context: Context) -> None:
    data = encrypt(symmetric("right"), context)
    with pytest.raises(CommandError, match=r"Bad session key|decryption failed"):
        decrypt(symmetric("wrong"), context, data)


def test_a_message_that_was_cut_off_is_an_error(context: Context) -> None:
    data = encrypt(symmetric("right"), context)
    with pytest.raises(CommandError):
        decrypt(symmetric("right"), context, data[:-30])


def test_the_cipher_is_aes256_with_integrity_and_the_dearest_passphrase_hash(context: Context, tmp_path: Path) -> None:
    data = encrypt(symmetric("right"), context)
    arguments = ("--pinentry-mode", "loopback", "--passphrase", "right", "--list-packets")
    packets = stock_gpg(*arguments, home=tmp_path, data=data).decode()
    subprocess.run(["gpgconf", "--homedir", str(tmp_path), "--kill", "all"], check=True)
    assert "cipher 9" in packets
    assert "65011712" in packets
    assert "mdc_method: 2" in packets or "aead encrypted packet" in packets
    assert "compressed packet" not in packets


def test_gpg_compresses_only_when_it_is_asked_to(context: Context) -> None:
    assert len(encrypt(symmetric("x"), context, compression=Compression.GPG)) < len(PLAIN) / 10
    assert len(encrypt(symmetric("x"), context, compression=Compression.ZSTD)) > len(PLAIN)


def test_each_of_two_recipients_can_decrypt(context: Context, people: dict[str, Person], tmp_path: Path) -> None:
    file = tmp_path / "bob key.asc"
    file.write_text(people["bob"].armored)
    both = Encryption(recipients=(people["ada"].armored, str(file)))
    data = encrypt(both, context)
    assert people["ada"].decrypt(data) == people["bob"].decrypt(data) == PLAIN


def test_who_is_no_recipient_can_not_decrypt(context: Context, people: dict[str, Person]) -> None:
    data = encrypt(Encryption(recipients=(people["ada"].armored,)), context)
    with pytest.raises(subprocess.CalledProcessError):
        people["bob"].decrypt(data)


def test_a_recipient_decrypts_with_the_key_ring_of_the_user(
    context: Context, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    encryption = Encryption(recipients=(people["ada"].armored,))
    data = encrypt(encryption, context)
    monkeypatch.setenv("GNUPGHOME", str(people["ada"].home))
    assert decrypt(encryption, context, data) == PLAIN


def test_a_key_that_is_no_key_is_an_error(context: Context) -> None:
    broken = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nbm90aGluZw==\n-----END PGP PUBLIC KEY BLOCK-----"
    with pytest.raises(CommandError, match="gpg ended with exit status 2"):
        encrypt(Encryption(recipients=(broken,)), context, b"")


def test_a_key_file_that_is_missing_is_named(context: Context, tmp_path: Path) -> None:
    encryption = Encryption(recipients=(str(tmp_path / "none.asc"),))
    with pytest.raises(EncryptionError, match=r"recipients\[0\]: .*none.asc' is neither") as caught:
        encrypt(encryption, context)
    assert "gpg --armor --export" in caught.value.hint


def test_a_private_key_is_refused_and_never_shown(context: Context, people: dict[str, Person]) -> None:
    private = stock_gpg("--armor", "--export-secret-keys", home=people["ada"].home).decode()
    with pytest.raises(EncryptionError, match=r"recipients\[0\] is a private key") as caught:
        encrypt(Encryption(recipients=(private,)), context)
    assert private.splitlines()[3] not in str(caught.value)


def test_the_configuration_of_the_user_changes_nothing(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    (home / ".gnupg").mkdir(parents=True, mode=0o700)
    (home / ".gnupg" / "gpg.conf").write_text("armor\nno-such-option\n")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GNUPGHOME", str(home / ".gnupg"))
    gpg_version.cache_clear()
    data = encrypt(symmetric("x"), context)
    assert not data.startswith(b"-----BEGIN")
    assert decrypt(symmetric("x"), context, data) == PLAIN
    assert sorted(path.name for path in (home / ".gnupg").iterdir()) == ["gpg.conf"]


def test_no_agent_is_started(context: Context) -> None:
    before = set(children())
    with encrypting(symmetric("x"), Compression.NONE, context) as call:
        through(call.start(stdin=subprocess.PIPE), PLAIN)
        [home] = context.tmpdir.iterdir()
        assert not list(home.glob("S.*")), "the socket of an agent"
        assert home.stat().st_mode & 0o777 == 0o700
    agents = [line for line in _command_lines() if str(context.tmpdir) in line]
    assert not agents
    assert set(children()) <= before


def test_the_passphrase_is_in_no_argument_environment_or_file(context: Context) -> None:
    planted = "planted-passphrase"
    with encrypting(symmetric(planted), Compression.NONE, context) as call:
        command = call.start(stdin=subprocess.PIPE)
        process = Path(f"/proc/{command.process.pid}")
        assert planted not in (process / "cmdline").read_text()
        assert planted.encode() not in (process / "environ").read_bytes()
        for path in context.tmpdir.rglob("*"):
            assert path.is_dir() or planted.encode() not in path.read_bytes()
        command.close()


def test_gpg_that_is_missing_is_named_with_its_package(context: Context, fake_path: FakePath) -> None:
    fake_path.only("sh")
    gpg_version.cache_clear()
    with pytest.raises(CommandError, match="gpg is not installed") as caught:
        encrypt(symmetric("x"), context)
    assert "gnupg" in caught.value.hint


def test_gpg_that_fails_at_the_end_is_an_error(context: Context, fake_path: FakePath) -> None:
    gpg_version()
    fake_path.ends_with("gpg", 2, stderr="gpg: no space left")
    with pytest.raises(CommandError, match="gpg ended with exit status 2: gpg: no space left"):
        encrypt(symmetric("x"), context)


def test_gpg_that_is_killed_is_an_error(context: Context) -> None:
    with encrypting(symmetric("x"), Compression.NONE, context) as call:
        command = call.start(stdin=subprocess.PIPE)
        os.kill(command.process.pid, signal.SIGKILL)
        with pytest.raises(CommandError, match="gpg was killed by SIGKILL"):
            command.wait(30)
        command.close()


def _command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except OSError:
            continue
    return [line for line in found if "gpg-agent" in line]
