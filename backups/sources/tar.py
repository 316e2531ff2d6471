"""How GNU tar is asked for a folder, and how one knows that its archive is whole: here, or on another host."""

from __future__ import annotations

import re
from pathlib import Path, PurePath

from backups.commands import Command
from backups.errors import CommandError, SourceError
from backups.sources.command_stream import CommandStream

FORMAT = (
    "--format=posix",  # whole nanoseconds, long names, any size
    "--pax-option=delete=atime,delete=ctime",  # a restore can't set them, and they cost 1 KiB per file
    "--blocking-factor=128",  # 64 KiB, what a pipe holds: half the processor time of tar's own 10 KiB
    "--sparse",
    "--acls",
    "--xattrs",
    "--warning=no-file-ignored",  # sockets: nothing to keep, and they would push real warnings out of sight
)
UNREADABLE_HINT = "let the user that runs the backups read it, exclude it, or set 'sudo': true"

_TOTAL = re.compile(r"Total bytes written: (\d+)\b")


class TarStream(CommandStream):
    """The archive, whole when tar ended well and wrote as many bytes as arrived."""

    def __init__(self, command: Command, *, path: Path, warnings: list[str], size_bound: int | None) -> None:
        super().__init__(command, size_bound=size_bound, warnings=warnings)
        self._path = path

    def finish(self, size: int, tail: bytes) -> list[str]:  # noqa: ARG002 - tar's own count says more than the end
        try:
            warned = self._command.wait()
        except CommandError as error:
            hint = error.hint or (UNREADABLE_HINT if "Permission denied" in error.message else "")
            raise CommandError(f"{shown(self._path)}: {error.message}", status=error.status, hint=hint) from None
        return [*self._warnings, *archive_warnings(self._path, self._command.stderr_tail, size, warned=bool(warned))]


def archive_warnings(path: PurePath, said: str, size: int, *, warned: bool) -> list[str]:
    """What to report of an archive of ``size`` bytes, from the last lines that tar said with ``--totals``.

    ``warned`` says that tar's status was 1. Raises SourceError when the archive is not whole.
    """
    lines = said.splitlines()
    totals = [int(match[1]) for line in lines if (match := _TOTAL.match(line))]
    complaints = "; ".join(line for line in lines if not _TOTAL.match(line))
    if not totals:
        # sudo's refusals have the status of tar's warnings.
        raise SourceError(f"{shown(path)}: tar did not finish: {complaints or 'it said nothing'}")
    if warned and not complaints:
        raise SourceError(f"{shown(path)}: tar ended with exit status 1 and did not say why")
    if totals[-1] != size or size == 0:
        raise SourceError(f"{shown(path)}: tar wrote {totals[-1]} bytes, but {size} arrived")
    return [f"{shown(path)}: {complaints}"] if warned else []


def is_plain(path: str) -> bool:
    """Whether a path means the same on every host: absolute, and without a way up."""
    return path.startswith("/") and ".." not in PurePath(path).parts and "\0" not in path


def shown(path: PurePath) -> str:
    """A path as messages show it, on one line whatever it holds."""
    text = str(path)
    return text if text.isprintable() else repr(text)[1:-1]


def renaming(name: str) -> str:
    """What turns ``./a`` into ``NAME/a``; targets of symbolic links stay as they are. The root has no name.

    tar goes into the folder instead of being given its name: so a link is followed, and an exclude that equals
    the folder's own name does not empty the archive.
    """
    for character in "\\&/":
        name = name.replace(character, "\\" + character)
    return f"s/^\\./{name or '.'}/S"


def excludes(path: PurePath, name: str, patterns: tuple[str, ...]) -> tuple[list[str], list[str], list[str]]:
    """Patterns that match anywhere, those that match at the top only, and a warning for each that can't match.

    ``name`` is the folder's own. The second kind is for ``--anchored``.
    """
    anywhere, below, warnings = [], [], []
    for written in patterns:
        pattern = written.rstrip("/")  # with a slash at its end tar would match nothing at all
        if not pattern.startswith("/"):
            anywhere.append(pattern)
            inner = pattern.removeprefix(f"{name}/")  # as the archive's names are
        else:
            inner = pattern.removeprefix(str(path).rstrip("/") + "/")
            if inner == pattern:
                warnings.append(f"{shown(path)}: the exclude {written!r} is not below it, so it excludes nothing")
        if inner != pattern:
            below.append(f"./{inner}")
    return anywhere, below, warnings
