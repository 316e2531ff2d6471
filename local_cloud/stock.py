"""Restores copies the way somebody would who has only stock tools, and compares them with what was backed up."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

_BLOCK = 1 << 20


@dataclass(frozen=True)
class StockError(Exception):
    """A stock tool could not read a copy."""

    message: str

    def __str__(self) -> str:
        return self.message


def pipeline(copy: Path, passphrase: Path, *consumer: str, decompress: bool = True) -> None:
    """``gpg -d COPY | zstd -d | CONSUMER``, as docs/restoring.md tells. Raises StockError unless all ended well."""
    decrypt = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase-file", str(passphrase)]
    stages = [[*decrypt, "--decrypt", str(copy)], list(consumer)]
    if decompress:
        stages.insert(1, ["zstd", "-d", "--quiet", "--stdout"])
    children: list[subprocess.Popen[bytes]] = []
    for number, argv in enumerate(stages):
        feed = children[-1].stdout if children else subprocess.DEVNULL
        last = number == len(stages) - 1
        children.append(subprocess.Popen(argv, stdin=feed, stdout=None if last else subprocess.PIPE))
        if children[:-1] and children[-2].stdout:
            children[-2].stdout.close()
    failed = [argv[0] for argv, child in zip(stages, children, strict=True) if child.wait() != 0]
    if failed:
        raise StockError(f"{copy.name}: {', '.join(failed)} ended with an error")


def sha256(path: Path) -> str:
    """Of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def differences(original: Path, restored: Path, excludes: Iterable[str] = ()) -> list[str]:
    """What is not the same in two trees: names, kinds, modes, content byte for byte, targets of links."""
    patterns = tuple(excludes)
    left, right = dict(_entries(original, patterns)), dict(_entries(restored, ()))
    found = [f"missing: {name}" for name in sorted(left.keys() - right.keys())]
    found += [f"not in the original: {name}" for name in sorted(right.keys() - left.keys())]
    found += [f"differs: {name}" for name in sorted(left.keys() & right.keys()) if not _same(left[name], right[name])]
    return found


def _entries(top: Path, excludes: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    for directory, folders, files in os.walk(top):
        folders[:] = [name for name in folders if not _excluded(name, excludes)]
        for name in (*folders, *files):
            path = Path(directory, name)
            if not _excluded(name, excludes) and not stat.S_ISSOCK(path.lstat().st_mode):
                yield str(path.relative_to(top)), path


def _excluded(name: str, excludes: tuple[str, ...]) -> bool:
    return any(fnmatch(name, pattern) for pattern in excludes)


def _same(left: Path, right: Path) -> bool:
    one, other = left.lstat(), right.lstat()
    if one.st_mode != other.st_mode:
        return False
    if stat.S_ISLNK(one.st_mode):
        return left.readlink() == right.readlink()
    if not stat.S_ISREG(one.st_mode):
        return True
    return one.st_size == other.st_size and sha256(left) == sha256(right)
