"""Where a restore goes: a directory, a file, standard output, or a server.

Directories and files are made beside their place under another name, and get their own when everything ended well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from backups.commands import Command
from backups.context import Context
from backups.errors import RestoreError, UsageError
from backups.restoring.decoding import Decoding
from backups.restoring.servers import server_target
from backups.restoring.target import Target, pump
from backups.sources import Source
from backups.workspace import private_directory

_STAGE = {"prefix": ".restore-", "suffix": ".partial"}


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
                pump(decoded, file.write)
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
        descriptor = 1  # not sys.stdout's, which is another file where the caller closed this one

        def write(block: bytes) -> None:
            rest = memoryview(block)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
                self.dirty = True

        with _refusals(self):
            pump(decoded, write)
        return decoded.finish()


def target_of(text: str, source: Source, context: Context, *, password: SecretStr | None, overwrite: bool) -> Target:
    """What ``--to`` means. Raises UsageError.

    ``-`` is standard output, an address is a server; a name that ends in a slash or is a directory is a directory.
    Any other name is a directory for a folder's archive, unless it ends in ``.tar``, and a file for a dump.
    """
    if text == "-":
        return StandardOutput()
    if match := re.match(r"([a-z][a-z0-9+]*)://", text):
        return server_target(match[1], text, source, context, password=password, overwrite=overwrite)
    path = Path(text)
    into = text.endswith("/") or path.is_dir()
    if source.extension != "tar":
        return File(path / f"{source.id}.{source.extension}" if into else path)
    return Directory(path) if into or not text.endswith(".tar") else File(path)


def _unpack(decoded: Decoding, directory: Path) -> list[str]:
    """Modes are kept; owners only as root, as tar does by itself."""
    # Without --ignore-zeros tar ends at the end mark, and whoever still writes the padding dies of a broken pipe.
    argv = ["tar", "--extract", "--ignore-zeros", "--file=-", f"--directory={directory}", "--preserve-permissions"]
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
