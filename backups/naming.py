"""Builds and parses object keys; the only place that knows their pattern.

``{hostname}/{yyyy-mm-dd}/{source_id}.{extension}[.zst|.gz].gpg``, and beside each its ``….manifest.json``.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from enum import StrEnum

MANIFEST_SUFFIX = ".manifest.json"


class Compression(StrEnum):
    """How the plain data is compressed before it is encrypted."""

    GPG = "gpg"  # GnuPG's own zlib, as the old tool's copies are
    ZSTD = "zstd"
    GZIP = "gzip"
    NONE = "none"

    @property
    def suffix(self) -> str:
        """What the compression adds to the key, so that anyone sees how to undo it."""
        return {"zstd": ".zst", "gzip": ".gz"}.get(self.value, "")


@dataclass(frozen=True)
class CopyKey:
    """What an object key says about the copy under it."""

    hostname: str
    date: dt.date
    source_id: str
    extension: str
    compression_suffix: str = ""

    def __str__(self) -> str:
        return f"{self.hostname}/{self.date.isoformat()}/{self.source_id}.{self.extension}{self.compression_suffix}.gpg"

    @property
    def manifest(self) -> str:
        """Key of the manifest beside the copy."""
        return f"{self}{MANIFEST_SUFFIX}"


_KEY = re.compile(
    r"(?P<hostname>[^/]+)/(?P<date>\d{4}-\d{2}-\d{2})/"
    r"(?P<source>[^/]+?)\.(?P<extension>sql|tar|json|dump)(?P<compression>\.zst|\.gz)?\.gpg"
)


def copy_key(hostname: str, date: dt.date, source_id: str, extension: str, compression: Compression) -> CopyKey:
    """The key under which a source's copy of a day is stored."""
    return CopyKey(hostname, date, source_id, extension, compression.suffix)


def parse_key(key: str) -> CopyKey | None:
    """What the key of a copy says; None for a manifest or anything that is not ours."""
    match = _KEY.fullmatch(key)
    if not match:
        return None
    try:
        date = dt.date.fromisoformat(match["date"])
    except ValueError:
        return None
    return CopyKey(match["hostname"], date, match["source"], match["extension"], match["compression"] or "")


def copy_of_manifest(key: str) -> str | None:
    """The key of the copy that a manifest stands beside; None when ``key`` is no manifest."""
    return key.removesuffix(MANIFEST_SUFFIX) if key.endswith(MANIFEST_SUFFIX) else None


def host_prefix(hostname: str) -> str:
    """Where all copies of one host are; nothing outside it is ever listed or removed."""
    return f"{hostname}/"
