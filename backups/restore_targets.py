"""Where a restore goes: a directory, a file, standard output, or a MySQL server.

Directories and files are made beside their place under another name, and get their own when everything ended well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import sys
import urllib.parse
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import SecretStr

from backups.commands import Command
from backups.context import Context
from backups.decoding import Decoding
from backups.errors import RestoreError, UsageError
from backups.mysql_restore import FORM, open_restore
from backups.secrets import REFERENCE
from backups.sources import Source
from backups.workspace import private_directory

_BLOCK_BYTES = 1 << 20
_STAGE = {"prefix": ".restore-", "suffix": ".partial"}


class Target(ABC):
    """A place for plain data. ``take`` returned: it is there, whole."""

    dirty: bool = False
    """Something was given out that can't be taken back."""
    aftermath: str = ""
    """What to say about that."""

    @abstractmethod
    def check(self) -> None:
        """Look before anything is read. Raises UsageError."""

    @abstractmethod
    def take(self, decoded: Decoding) -> list[str]:
        """Take the plain data. Returns warnings. Raises RestoreError, and what ``Decoding.finish`` raises."""


class Directory(Target):
    """A tar archive, unpacked into a directory that is new or empty."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def __str__(self) -> str:
        return str(self._path)

    def check(self) -> None:
        if self._path.is_dir():
            self._check_empty()
        elif os.path.lexists(self._path):
            raise UsageError(f"{self} is no directory", hint="give another place, or take it away first")
        elif not self._path.parent.is_dir():
            raise UsageError(f"{self._path.parent} does not exist", hint="make it first")

    def _check_empty(self) -> None:
        held = [item.name for item in self._path.iterdir() if not _is_stage(item)]
        if held:
            raise UsageError(
                f"{self} is not empty: it holds {held[0]!r}",
                hint="restore into a new directory, then move what you need",
            )

    def take(self, decoded: Decoding) -> list[str]:
        # An empty directory may be where a file system is mounted: then only inside of it is the same file system.
        exists = self._path.is_dir()
        with private_directory(self._path if exists else self._path.parent, **_STAGE) as stage:
            content = stage / "content"
            content.mkdir()
            warnings = _unpack(decoded, content)
            os.sync()  # a crash after the renames must not leave empty files under good names
            with _refusals(self):
                if exists:
                    self._check_empty()
                    for item in content.iterdir():
                        _move(item, self._path / item.name)
                else:
                    _move(content, self._path)
        return warnings


class File(Target):
    """The plain data as one file, such as ``dump.sql`` or ``folder.tar``."""

    def __init__(self, path: Path) -> None:
        self._path = path.absolute()

    def __str__(self) -> str:
        return str(self._path)

    def check(self) -> None:
        if os.path.lexists(self._path):
            raise UsageError(f"{self} exists already", hint="give another name, or take it away first")
        if not self._path.parent.is_dir():
            raise UsageError(f"{self._path.parent} does not exist", hint="make it first")

    def take(self, decoded: Decoding) -> list[str]:
        with private_directory(self._path.parent, **_STAGE) as stage, _refusals(self):
            part = stage / "content"
            with part.open("wb") as file:
                _pump(decoded, file.write)
                warnings = decoded.finish()
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(part, self._path)  # never over a file that came meanwhile
            except FileExistsError:
                raise
            except OSError:  # a file system without links
                part.rename(self._path)
        return warnings


class StandardOutput(Target):
    """The plain data on standard output, for the next program of a pipe."""

    aftermath = "what was written to standard output is not whole: throw it away"

    def __str__(self) -> str:
        return "standard output"

    def check(self) -> None:
        """It takes anything."""

    def take(self, decoded: Decoding) -> list[str]:
        descriptor = sys.stdout.fileno()

        def write(block: bytes) -> None:
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
                self.dirty = True

        with _refusals(self):
            _pump(decoded, write)
        return decoded.finish()


class MySQLServer(Target):
    """SQL text, loaded by the program mysql."""

    def __init__(
        self, url: str, context: Context, *, password: SecretStr | None = None, overwrite: bool = False
    ) -> None:
        self._url = url
        self._context = context
        self._password = password
        self._overwrite = overwrite
        name = urllib.parse.unquote(urllib.parse.urlsplit(REFERENCE.sub("", url)).path.strip("/"))
        self._name = name
        what = f"database {name}" if name else "the databases that the dump names"
        self.aftermath = f"{what} may be incomplete now: drop and restore again"

    def __str__(self) -> str:
        return f"MySQL database {self._name}" if self._name else "the MySQL server"

    def check(self) -> None:
        """A secret in an argument shows in the list of processes."""
        parts = urllib.parse.urlsplit(REFERENCE.sub("", self._url))
        if parts.password:
            raise UsageError(
                "a password on the command line can be seen by every user of this machine",
                hint="leave it out to be asked for it, or write a reference: mysql://USER:{{resolve:file:PATH}}@HOST/DB",
            )

    def take(self, decoded: Decoding) -> list[str]:
        # A dump of several databases names them itself, and nobody knows what they held before.
        takes_back = bool(self._name) and not self._overwrite
        with open_restore(self._url, self._context, password=self._password, overwrite=self._overwrite) as server:
            self.dirty = not takes_back
            with contextlib.suppress(BrokenPipeError):  # the client gave up: its end says why
                _pump(decoded, lambda block: _write_all(server.fileno(), block))
                warnings = decoded.finish()
                server.finish()
                return warnings
            server.finish()
            raise RestoreError(f"{self}: the client ended before it had read everything")


def target_of(text: str, source: Source, context: Context, *, password: SecretStr | None, overwrite: bool) -> Target:
    """What ``--to`` means. Raises UsageError.

    ``-`` is standard output, an address is a server; a name that ends in a slash or is a directory is a directory.
    Any other name is a directory for a folder's archive, unless it ends in ``.tar``, and a file for a dump.
    """
    if text == "-":
        return StandardOutput()
    if match := re.match(r"([a-z][a-z0-9+]*)://", text):
        return _server(match[1], text, source, context, password=password, overwrite=overwrite)
    path = Path(text)
    into = text.endswith("/") or path.is_dir()
    if source.extension != "tar":
        return File(path / f"{source.id}.{source.extension}" if into else path)
    return Directory(path) if into or not text.endswith(".tar") else File(path)


def _server(
    scheme: str, url: str, source: Source, context: Context, *, password: SecretStr | None, overwrite: bool
) -> Target:
    if scheme not in ("mysql", "mariadb"):
        raise UsageError(
            f"a copy can't be restored into {scheme}:// yet",
            hint=f"restore it to a file and load that, or write {FORM}",
        )
    if source.extension != "sql" or source.type == "pgsql":
        raise UsageError(f"source '{source.id}' is of type '{source.type}': no database takes it", hint="give --to DIR")
    return MySQLServer(url, context, password=password, overwrite=overwrite)


def _unpack(decoded: Decoding, directory: Path) -> list[str]:
    """Modes are kept; owners only as root, as tar does by itself."""
    argv = ["tar", "--extract", "--file=-", f"--directory={directory}", "--preserve-permissions"]
    argv += ["--delay-directory-restore", "--acls", "--xattrs"]
    argv += ["--xattrs-include=*"] if os.geteuid() == 0 else []
    tar = Command(argv, stdin=decoded.output)
    try:
        decoded.output.close()  # tar holds it now
        decoded.add(tar)
        return decoded.finish()
    except RestoreError as error:
        full = "Wrote only" in error.message or os.strerror(errno.ENOSPC) in error.message
        raise RestoreError(
            error.message, hint="the disk is full: make room, or restore elsewhere" if full else ""
        ) from None
    finally:
        tar.close()


def _pump(decoded: Decoding, write: Callable[[bytes], object]) -> None:
    while block := decoded.output.read(_BLOCK_BYTES):
        write(block)


def _write_all(descriptor: int, block: bytes) -> None:
    rest = memoryview(block)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _is_stage(path: Path) -> bool:
    """What a restore that was killed left; the next one removes it."""
    return path.name.startswith(_STAGE["prefix"]) and path.name.endswith(_STAGE["suffix"])


def _move(item: Path, place: Path) -> None:
    """Rename, also a directory that nobody may write to: its ``..`` must be written."""
    mode = None
    if item.is_dir() and not item.is_symlink() and not os.access(item, os.W_OK):
        mode = stat.S_IMODE(item.stat().st_mode)
        item.chmod(mode | stat.S_IWUSR)
    item.rename(place)
    if mode is not None:
        place.chmod(mode)


@contextlib.contextmanager
def _refusals(target: Target) -> Iterator[None]:
    """What the system says when the target takes no more, such as on a full disk."""
    try:
        yield
    except BrokenPipeError:
        raise RestoreError(f"{target}: whoever read it has gone") from None
    except OSError as error:
        raise RestoreError(f"{target}: {error.strerror}", hint="nothing half is left there") from None
