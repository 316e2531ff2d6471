from __future__ import annotations

import subprocess

import pytest

from backups.compression import compress_argv, decompress_argv, version_argv
from backups.naming import Compression
from tests.servers.fake_path import FakePath

PLAIN = b"INSERT INTO t VALUES (1);\n" * 10_000


@pytest.mark.parametrize("compression", list(Compression))
def test_what_one_program_compresses_the_named_one_undoes(compression: Compression) -> None:
    argv, undo = compress_argv(compression), decompress_argv(compression.suffix)
    assert (argv is None) == (undo is None) == (version_argv(compression) is None)
    if argv and undo:
        packed = subprocess.run(argv, input=PLAIN, check=True, capture_output=True).stdout
        assert len(packed) < len(PLAIN) / 10
        assert subprocess.run(undo, input=packed, check=True, capture_output=True).stdout == PLAIN


def test_gzip_is_used_where_there_is_no_pigz(fake_path: FakePath) -> None:
    fake_path.only("gzip")
    assert compress_argv(Compression.GZIP) == ["gzip", "--no-name", "--stdout"]
    argv = compress_argv(Compression.GZIP)
    assert argv is not None
    packed = subprocess.run(argv, input=PLAIN, check=True, capture_output=True).stdout
    assert packed[:4] == b"\x1f\x8b\x08\x00", "without a name, so that the same data gives the same bytes"


def test_pigz_is_used_where_there_is_one(fake_path: FakePath) -> None:
    pigz = fake_path.put("pigz", "true")
    assert compress_argv(Compression.GZIP) == [str(pigz), "--no-name", "--stdout"]
