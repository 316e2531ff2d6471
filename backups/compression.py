"""Which program compresses, and how a stock tool undoes it."""

from __future__ import annotations

import shutil

from backups.naming import Compression

ZSTD_LEVEL = 3


def compress_argv(compression: Compression) -> list[str] | None:
    """The program that compresses stdin to stdout; None when gpg does it itself or nobody does."""
    if compression is Compression.ZSTD:
        return ["zstd", f"-{ZSTD_LEVEL}", "-T0", "--quiet", "--stdout"]
    if compression is Compression.GZIP:
        # pigz writes the same format on every core
        return [shutil.which("pigz") or "gzip", "--no-name", "--stdout"]
    return None


def decompress_argv(suffix: str) -> list[str] | None:
    """The program that undoes the compression that a key's suffix names; None for gpg's own or none."""
    return {".zst": ["zstd", "-d", "--quiet", "--stdout"], ".gz": ["gzip", "-d", "--stdout"]}.get(suffix)


def version_argv(compression: Compression) -> list[str] | None:
    """How to ask the compressing program for its version."""
    argv = compress_argv(compression)
    return [argv[0], "--version"] if argv else None
