"""Builds and parses object keys; the only place that knows their pattern.

``{hostname}/{yyyy-mm-dd}/{source_id}.{extension}[.zst|.gz].gpg``, and beside each its ``….manifest.json``.
The old tool has stored copies in that way too, but others as ``{source_id}/{stamp}/{source_id}.{sql|tar}.gpg``, where
nothing names their host.
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


@dataclass(frozen=True)
class LegacyKey(CopyKey):
    """The key of a copy that the old tool has stored without its host; the hostname is whose job asks."""

    stamp: str = ""
    """The moment as the key has it, which begins with the date."""

    def __str__(self) -> str:
        return f"{self.source_id}/{self.stamp}/{self.source_id}.{self.extension}{self.compression_suffix}.gpg"


_KEY = re.compile(
    r"(?P<hostname>[^/]+)/(?P<date>\d{4}-\d{2}-\d{2})/"
    r"(?P<source>[^/]+?)\.(?P<extension>sql|tar|json|dump)(?P<compression>\.zst|\.gz)?\.gpg"
)

_LEGACY_KEY = re.compile(
    r"(?P<source>[^/]+)/"
    r"(?P<stamp>(?P<year>\d{4})-?(?P<month>\d\d)-?(?P<day>\d\d)([-T_ .]?\d\d[-:.]?\d\d([-:.]?\d\d)?)?Z?)/"
    r"(?P<file>[^/]+)\.(?P<extension>sql|tar)\.gpg"
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


def parse_legacy_key(key: str, hostname: str) -> LegacyKey | None:
    """What the key of an old tool's copy says, for the job of that host; None for anything else.

    The file must be named after its source: whatever else lies there is somebody's own.
    """
    match = _LEGACY_KEY.fullmatch(key)
    if not match or match["file"] != match["source"]:
        return None
    try:
        date = dt.date(int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError:
        return None
    return LegacyKey(hostname, date, match["source"], match["extension"], stamp=match["stamp"])


def copy_of_manifest(key: str) -> str | None:
    """The key of the copy that a manifest stands beside; None when ``key`` is no manifest."""
    return key.removesuffix(MANIFEST_SUFFIX) if key.endswith(MANIFEST_SUFFIX) else None


def host_prefix(hostname: str) -> str:
    """Where all copies of one host are; nothing outside it is ever removed but by ``legacy_prefix``."""
    return f"{hostname}/"


def day_prefix(hostname: str, date: dt.date) -> str:
    """Where the copies of one day are."""
    return f"{hostname}/{date.isoformat()}/"


def legacy_prefix(source_id: str) -> str:
    """Where the old tool's copies of one source are, of whichever host; looked at only where a job asks for it."""
    return f"{source_id}/"
