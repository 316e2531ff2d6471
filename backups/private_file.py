"""A small file that only this user may read, for what must not stand in a command's arguments: passwords."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def private_file(parent: Path, name: str, text: str, *, prefix: str) -> Iterator[Path]:
    """A file of mode 0600 in a directory of its own, both removed at the end."""
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        path = directory / name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        yield path
    finally:
        shutil.rmtree(directory, ignore_errors=True)
