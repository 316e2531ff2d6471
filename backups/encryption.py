"""GnuPG as a stage of a pipeline: its argv, its private home, and the passphrase on a descriptor.

The private home keeps the user's own gpg configuration out of backups, and ``--no-autostart`` with a fixed
``--s2k-count`` keeps gpg from starting an agent that would outlive it (gpg asks one only to calibrate that count).
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backups.commands import Command, version_of
from backups.context import Context
from backups.errors import CommandError, EncryptionError
from backups.job import Encryption
from backups.naming import Compression

_ARMOR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
_PRIVATE_ARMOR = "-----BEGIN PGP PRIVATE KEY BLOCK-----"
_S2K_COUNT = "65011712"  # the most that OpenPGP can say: each guess at the passphrase hashes 62 MiB
_BASE = ("gpg", "--batch", "--no-tty", "--quiet", "--no-options", "--no-autostart", "--no-auto-check-trustdb")


@dataclass(frozen=True)
class GpgCall:
    """How to start gpg: its arguments, and the descriptors that it inherits."""

    argv: tuple[str, ...]
    pass_fds: tuple[int, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    def start(self, *, stdin: int) -> Command:
        """Start it on a descriptor that it reads from, or subprocess.PIPE. Raises CommandError."""
        return Command(self.argv, stdin=stdin, pass_fds=self.pass_fds, env=self.env)


@contextlib.contextmanager
def encrypting(encryption: Encryption, compression: Compression, context: Context) -> Iterator[GpgCall]:
    """A call of gpg that encrypts stdin to stdout. Start it once, inside the block. Raises EncryptionError.

    ``encryption`` has its references resolved.
    """
    options = ["--cipher-algo", "AES256", "--s2k-count", _S2K_COUNT]
    if compression is not Compression.GPG:
        options += ["--compress-algo", "none"]
    if gpg_version() >= (2, 3):
        options.append("--force-ocb")  # four times the speed of CFB; gpg 2.2.21 and newer decrypt it
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(_private_home(context))
        if encryption.passphrase is not None:
            fd = stack.enter_context(_passphrase_descriptor(encryption.passphrase.get_secret_value()))
            yield GpgCall((*_base(home), *_passphrase_options(fd), *options, "--symmetric"), (fd,))
        else:
            keys = [_key_file(home, number, key) for number, key in enumerate(encryption.recipients or ())]
            recipients = [part for key in keys for part in ("--recipient-file", str(key))]
            yield GpgCall((*_base(home), "--trust-model", "always", *options, *recipients, "--encrypt"))


@contextlib.contextmanager
def decrypting(encryption: Encryption, context: Context) -> Iterator[GpgCall]:
    """A call of gpg that decrypts stdin to stdout. Never use the output before its exit status was 0.

    For ``recipients`` the secret key is looked for in the user's own key ring, with the agent that holds it.
    """
    if encryption.passphrase is None:
        own = {"GNUPGHOME": os.environ["GNUPGHOME"]} if "GNUPGHOME" in os.environ else {}
        yield GpgCall(("gpg", "--batch", "--no-tty", "--quiet", "--decrypt"), env=own)
        return
    with (
        _private_home(context) as home,
        _passphrase_descriptor(encryption.passphrase.get_secret_value()) as fd,
    ):
        yield GpgCall((*_base(home), *_passphrase_options(fd), "--decrypt"), (fd,))


@functools.cache
def gpg_version() -> tuple[int, ...]:
    """Version of the gpg on PATH. Raises CommandError when there is none."""
    line = version_of(["gpg", "--version"])
    match = re.search(r"(\d+)\.(\d+)\.(\d+)", line)
    if not match:
        raise CommandError("gpg is not installed", status=127, hint="install the package gnupg or correct PATH")
    return tuple(int(part) for part in match.groups())


def _base(home: Path) -> Sequence[str]:
    return (*_BASE, "--homedir", str(home))


def _passphrase_options(fd: int) -> Sequence[str]:
    return ("--pinentry-mode", "loopback", "--passphrase-fd", str(fd))


@contextlib.contextmanager
def _private_home(context: Context) -> Iterator[Path]:
    home = Path(tempfile.mkdtemp(prefix="gpg-", dir=context.tmpdir))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextlib.contextmanager
def _passphrase_descriptor(passphrase: str) -> Iterator[int]:
    """A pipe that holds the passphrase as one line, which is all that gpg reads from it."""
    line = passphrase.removesuffix("\n")
    problem = "is empty" if not line else ""
    if "\n" in line:
        problem = "has more than one line; gpg would use only the first"
    elif "\0" in line:
        problem = "holds a null character; gpg would use only what stands before it"
    elif any("\ud800" <= char <= "\udfff" for char in line):
        problem = "is not UTF-8 text"
    if problem:
        raise EncryptionError(f"the passphrase {problem}", hint="use a passphrase of one line of text")
    data = line.encode() + b"\n"
    if len(data) > 4096:  # what a pipe always takes at once
        raise EncryptionError("the passphrase is longer than 4,095 bytes", hint="use a shorter one, or recipients")
    reader, writer = os.pipe()
    try:
        with open(writer, "wb") as stream:  # noqa: PTH123 - a descriptor
            stream.write(data)
        yield reader
    finally:
        os.close(reader)


def _key_file(home: Path, number: int, key: str) -> Path:
    """The path of a public key; an armored one in the job file is written to the private home first."""
    if _PRIVATE_ARMOR in key:
        raise EncryptionError(
            f"recipients[{number}] is a private key", hint="give the public one: gpg --armor --export KEY"
        )
    if _ARMOR in key:
        path = home / f"recipient-{number}.asc"
        path.write_text(key if key.endswith("\n") else key + "\n", encoding="utf-8")
        return path
    path = Path(key).expanduser()
    if not path.is_file():
        raise EncryptionError(
            f"recipients[{number}]: {key[:200]!r} is neither an armored public key nor an existing file",
            hint="export it with: gpg --armor --export KEY > key.asc",
        )
    return path
