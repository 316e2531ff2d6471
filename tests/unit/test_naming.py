from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backups.config import ID_PATTERN
from backups.jobfile.settings import HOSTNAME_PATTERN
from backups.naming import Compression, copy_key, copy_of_manifest, host_prefix, parse_key

DAY = dt.date(2026, 11, 23)
IDS = st.from_regex(ID_PATTERN, fullmatch=True)
HOSTS = st.from_regex(HOSTNAME_PATTERN, fullmatch=True).filter(bool)
EXTENSIONS = st.sampled_from(["sql", "tar", "json", "dump"])


@given(HOSTS, st.dates(), IDS, EXTENSIONS, st.sampled_from(Compression))
@example("host", DAY, "a.sql.gz.gpg", "tar", Compression.ZSTD)
@example("host", DAY, "a.sql", "sql", Compression.NONE)
@example("2026-11-23", DAY, "2026-11-23", "sql", Compression.GZIP)
@example("host", DAY, "db.sql.gpg.manifest", "json", Compression.GPG)
@example("host", DAY, "ends with a space ", "tar", Compression.GPG)
def test_what_is_built_is_read_back(
    host: str, date: dt.date, id_: str, extension: str, compression: Compression
) -> None:
    key = copy_key(host, date, id_, extension, compression)
    assert parse_key(str(key)) == key
    assert copy_of_manifest(key.manifest) == str(key)
    assert parse_key(key.manifest) is None
    assert copy_of_manifest(str(key)) is None
    assert str(key).startswith(host_prefix(host))


@given(st.text() | st.from_regex(r"[^/]*/[0-9-]{8,12}/[^/]*\.(sql|tar|xml)(\.zst|\.xz)?\.gpg.?", fullmatch=True))
def test_whatever_is_read_stands_for_exactly_that_key(key: str) -> None:
    parsed = parse_key(key)
    assert parsed is None or str(parsed) == key


@pytest.mark.parametrize(
    "key",
    [
        "",
        "host/2026-11-23/db.sql",
        "host/2026-11-23/db.sql.gpg.manifest.json",
        "host/2026-11-23/db.sql.gpg ",
        "host/2026-11-23/db.sql.gpg\n",
        "host/2026-11-23/.sql.gpg",
        "host/2026-11-23/sql.gpg",
        "host/2026-02-30/db.sql.gpg",
        "host/0000-01-01/db.sql.gpg",
        "host/٢٠٢٦-11-23/db.sql.gpg",
        "host/20261123/db.sql.gpg",
        "/2026-11-23/db.sql.gpg",
        "host/a/2026-11-23/db.sql.gpg",
        "host/2026-11-23/a/db.sql.gpg",
        "host/2026-11-23/db.sql.bz2.gpg",
        "host/2026-11-23/db.exe.gpg",
        "db/db-2026-11-23.sql.gpg",
    ],
)
def test_a_key_that_is_not_ours_is_none(key: str) -> None:
    assert parse_key(key) is None


@pytest.mark.parametrize(
    ("compression", "expected"),
    [
        (Compression.GPG, "web1/2026-11-23/db.sql.gpg"),
        (Compression.NONE, "web1/2026-11-23/db.sql.gpg"),
        (Compression.ZSTD, "web1/2026-11-23/db.sql.zst.gpg"),
        (Compression.GZIP, "web1/2026-11-23/db.sql.gz.gpg"),
    ],
)
def test_a_key_says_how_to_undo_what_was_done(compression: Compression, expected: str) -> None:
    assert str(copy_key("web1", DAY, "db", "sql", compression)) == expected
