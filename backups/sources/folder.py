"""Folder: one folder or file as a tar archive, made by GNU tar.

Names in the archive begin with the folder's own name, so that it unpacks into any place.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from backups.commands import Command, version_of
from backups.config import Flag
from backups.context import Context
from backups.errors import CommandError, SourceError
from backups.sources.base import Source, SourceStream
from backups.sources.command_stream import CommandStream

_TOTAL = re.compile(r"Total bytes written: (\d+)\b")
_PROBE_SECONDS = 60
_ENTRY_BYTES = 3_072  # most that tar writes about one file, beside what the file holds
_FORMAT = (
    "--format=posix",  # whole nanoseconds, long names, any size
    "--pax-option=delete=atime,delete=ctime",  # a restore can't set them, and they cost 1 KiB per file
    "--sparse",
    "--acls",
    "--xattrs",
    "--warning=no-file-ignored",  # sockets: nothing to keep, and they would push real warnings out of sight
)
_SUDO_HINT = "sudoers needs a line for the user that runs the backups, such as: backups ALL=(root) NOPASSWD: {tar}"
_UNREADABLE_HINT = "let the user that runs the backups read it, exclude it, or set 'sudo': true"


def _pattern(value: str) -> str:
    if not value.strip("/"):
        raise ValueError("would exclude everything or nothing")
    return value


class Folder(Source):
    """A folder or file, as a tar archive."""

    label: ClassVar[str] = "Folder"
    identity: ClassVar[tuple[str, ...]] = ("path",)

    type: Literal["folder"] = "folder"

    path: str = Field(min_length=1)
    """Name of the folder or file to be backed up. A symbolic link is followed here, and nowhere below."""

    excludes: tuple[Annotated[str, AfterValidator(_pattern)], ...] = ()
    """Files and folders to leave out, as patterns of tar's `--exclude`: `tmp` and `*~` match at any depth.

    One that begins with the path itself matches there only."""

    sudo: Flag = False
    """Read as root: `sudo -n tar`; sudoers must allow tar without a password."""

    one_file_system: Flag = False
    """Leave out what is mounted below the path."""

    @property
    def extension(self) -> str:
        return "tar"

    def open(self, context: Context) -> SourceStream:
        path = Path(self.path).absolute()
        is_folder = self._probe(path, context) if self.sudo else _look(path)
        excludes, warnings = _excludes(path, self.excludes) if is_folder else ([], [])
        argv = [*self._tar(), *_FORMAT, "--totals", *excludes]
        argv += ["--one-file-system"] if self.one_file_system else []
        if is_folder:
            argv += [f"--directory={path}", f"--transform={_renaming(path)}", "--", "."]
        else:
            argv += ["--dereference", f"--directory={path.parent}", "--transform=s,^\\./,,S", "--", f"./{path.name}"]
        return TarStream(
            Command(argv, warnings={1: "tar"}),
            path=path,
            warnings=warnings,
            size_bound=_size_bound(path, is_folder),
        )

    def _tar(self) -> list[str]:
        return [*(["sudo", "-n"] if self.sudo else []), "tar", "--create", "--file=-"]

    def _probe(self, path: Path, context: Context) -> bool:
        """Ask tar as root, since this user may not even see the path: is it a folder? Raises SourceError."""
        command = Command([*self._tar(), "--no-recursion", f"--directory={path}", "--", "."])
        forget = context.cancel.on_stop(command.kill)
        try:
            command.wait(_PROBE_SECONDS)  # its 10 KiB fit into the pipe
        except CommandError as error:
            context.cancel.check()
            said = command.stderr_tail
            if "Not a directory" in said:
                return False
            if "tar:" not in said:
                hint = _SUDO_HINT.format(tar=shutil.which("tar") or "/bin/tar")
                raise SourceError(f"{shown(path)}: sudo does not run tar: {error}", hint=hint) from None
            raise SourceError(f"{shown(path)} can't be read: {said}", hint="correct 'path'") from None
        finally:
            forget()
            command.close()
        return True

    def tools(self) -> dict[str, str]:
        return {"tar": version_of(["tar", "--version"])}


class TarStream(CommandStream):
    """The archive, whole when tar ended well and wrote as many bytes as arrived."""

    def __init__(self, command: Command, *, path: Path, warnings: list[str], size_bound: int | None) -> None:
        super().__init__(command, size_bound=size_bound, warnings=warnings)
        self._path = path

    def finish(self, size: int, tail: bytes) -> list[str]:  # noqa: ARG002 - tar's own count says more than the end
        try:
            warned = self._command.wait()
        except CommandError as error:
            hint = error.hint or (_UNREADABLE_HINT if "Permission denied" in error.message else "")
            raise CommandError(f"{shown(self._path)}: {error.message}", status=error.status, hint=hint) from None
        lines = self._command.stderr_tail.splitlines()
        totals = [int(match[1]) for line in lines if (match := _TOTAL.match(line))]
        said = "; ".join(line for line in lines if not _TOTAL.match(line))
        if not totals:
            # sudo's refusals have the status of tar's warnings.
            raise SourceError(f"{shown(self._path)}: tar did not finish: {said or 'it said nothing'}")
        if warned and not said:
            raise SourceError(f"{shown(self._path)}: tar ended with exit status 1 and did not say why")
        if totals[-1] != size or size == 0:
            raise SourceError(f"{shown(self._path)}: tar wrote {totals[-1]} bytes, but {size} arrived")
        return [*self._warnings, *([f"{shown(self._path)}: {said}"] if warned else [])]


def shown(path: Path) -> str:
    """A path as messages show it, on one line whatever it holds."""
    text = str(path)
    return text if text.isprintable() else repr(text)[1:-1]


def _look(path: Path) -> bool:
    """Whether the path is a folder; else it is a file. Raises SourceError."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            return True
        if not stat.S_ISREG(mode):
            raise SourceError(f"{shown(path)} is neither a folder nor a file", hint="correct 'path'")
        path.open("rb").close()
    except FileNotFoundError:
        raise SourceError(
            f"{shown(path)} does not exist", hint="correct 'path', or mount what should be there"
        ) from None
    except PermissionError:
        raise SourceError(f"{shown(path)} can't be read: permission denied", hint=_UNREADABLE_HINT) from None
    except OSError as error:
        raise SourceError(f"{shown(path)} can't be read: {error.strerror}", hint="correct 'path'") from None
    return False


def _name(path: Path) -> str:
    """The folder's own name in the archive; empty for the root."""
    return path.name if path.name != ".." else path.resolve().name


def _renaming(path: Path) -> str:
    """What turns ``./a`` into ``NAME/a``; targets of symbolic links stay as they are.

    tar goes into the folder instead of being given its name: so a link is followed, and an exclude that equals
    the folder's own name does not empty the archive.
    """
    name = _name(path)
    for character in "\\&/":
        name = name.replace(character, "\\" + character)
    return f"s/^\\./{name or '.'}/S"


def _excludes(path: Path, patterns: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Options for tar, and a warning for each pattern that can't match anything."""
    anywhere, below, warnings = [], [], []
    for written in patterns:
        pattern = written.rstrip("/")  # with a slash at its end tar would match nothing at all
        if not pattern.startswith("/"):
            anywhere.append(f"--exclude={pattern}")
            inner = pattern.removeprefix(f"{_name(path)}/")  # as the archive's names are
        else:
            inner = pattern.removeprefix(str(path).rstrip("/") + "/")
            if inner == pattern:
                warnings.append(f"{shown(path)}: the exclude {written!r} is not below it, so it excludes nothing")
        if inner != pattern:
            below.append(f"--exclude=./{inner}")
    return [*anywhere, *(["--anchored", *below] if below else [])], warnings


def _size_bound(path: Path, is_folder: bool) -> int | None:
    """Bytes that the archive hardly exceeds, from what the file systems hold; None when this user can't tell."""
    try:
        if not is_folder:
            return path.stat().st_size + 10 * _ENTRY_BYTES
        total = 0
        for place in {path.stat().st_dev: path, **_mounts_below(path)}.values():
            used = os.statvfs(place)
            total += (used.f_blocks - used.f_bfree) * used.f_frsize + (used.f_files - used.f_ffree) * _ENTRY_BYTES
    except OSError:
        return None
    return total + 10 * _ENTRY_BYTES


def _mounts_below(path: Path) -> dict[int, Path]:
    """Other file systems below a folder, by device."""
    found = {}
    for line in Path("/proc/self/mounts").read_text(errors="surrogateescape").splitlines():
        place = Path(re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), line.split(" ")[1]))
        if path in place.parents:
            found[place.stat().st_dev] = place
    return found
