"""Folder: one folder or file as a tar archive, made by GNU tar, here or on another host.

Names in the archive begin with the folder's own name, so that it unpacks into any place.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from backups.commands import Command, version_of
from backups.config import Flag
from backups.context import Context
from backups.errors import CommandError, SourceError
from backups.sources.base import Source, SourceStream
from backups.sources.host_folder import open_on_host
from backups.sources.tar import FORMAT, UNREADABLE_HINT, TarStream, excludes, is_plain, renaming, shown
from backups.ssm import HostName

_PROBE_SECONDS = 60
_ENTRY_BYTES = 3_072  # most that tar writes about one file, beside what the file holds
_SUDO_HINT = "sudoers needs a line for the user that runs the backups, such as: backups ALL=(root) NOPASSWD: {tar}"


def _pattern(value: str) -> str:
    if not value.strip("/"):
        raise ValueError("would exclude everything or nothing")
    return value


class Folder(Source):
    """A folder or file, as a tar archive."""

    label: ClassVar[str] = "Folder"
    identity: ClassVar[tuple[str, ...]] = ("host", "path")

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

    host: HostName = ""
    """Where the folder is, when not here: an EC2 instance's id, a managed node's, or `tag:KEY=VALUE` of one of them.

    Its SSM agent archives the folder as root; the host needs tar, curl and a way to S3, and no AWS credentials."""

    stack: Annotated[str, StringConstraints(pattern=r"^([A-Za-z][A-Za-z0-9-]{0,127})?$")] = ""
    """With `host`, on one machine: name of the deployed stack that reaches it. A deployed job uses its own stack."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.host and self.sudo:
            raise ValueError("the agent on a 'host' runs as root: leave 'sudo' out")
        if self.host and not is_plain(self.path):
            raise ValueError("with 'host', 'path' is absolute and without '..'")
        if self.stack and not self.host:
            raise ValueError("'stack' belongs to 'host'")
        return self

    @property
    def extension(self) -> str:
        return "tar"

    def open(self, context: Context) -> SourceStream:
        if self.host:
            return open_on_host(self, context)
        path = Path(self.path).absolute()
        is_folder = self._probe(path, context) if self.sudo else _look(path)
        anywhere, below, warnings = excludes(path, _name(path), self.excludes) if is_folder else ([], [], [])
        argv = [*self._tar(), *FORMAT, "--totals", *(f"--exclude={pattern}" for pattern in anywhere)]
        argv += ["--anchored", *(f"--exclude={pattern}" for pattern in below)] if below else []
        argv += ["--one-file-system"] if self.one_file_system else []
        if is_folder:
            argv += [f"--directory={path}", f"--transform={renaming(_name(path))}", "--", "."]
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
        return {} if self.host else {"tar": version_of(["tar", "--version"])}


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
        raise SourceError(f"{shown(path)} can't be read: permission denied", hint=UNREADABLE_HINT) from None
    except OSError as error:
        raise SourceError(f"{shown(path)} can't be read: {error.strerror}", hint="correct 'path'") from None
    return False


def _name(path: Path) -> str:
    """The folder's own name in the archive; empty for the root."""
    return path.name if path.name != ".." else path.resolve().name


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
