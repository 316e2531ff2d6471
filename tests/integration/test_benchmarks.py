"""The benchmarks still measure what they say; how fast it was is nobody's business here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.table import README


def test_every_table_is_measured_and_written(tmp_path: Path) -> None:
    """Tiny, once, and without the large S3 server, which only makes it longer."""
    readme = tmp_path / "README.md"
    shutil.copy(README, readme)
    with tempfile.TemporaryDirectory(prefix="b", dir="/tmp") as directory:  # smbd's sockets want a short path
        subprocess.run(
            [
                *(sys.executable, "-m", "benchmarks.bench", "--mib", "8", "--rounds", "1", "--servers", "light"),
                *("--only", "folder", "buckets", "hosts", "destinations", "--readme", str(readme)),
                *("--directory", directory),
            ],
            check=True,
            timeout=600,
        )
        assert list(Path(directory).iterdir()) == []
    text = readme.read_text()
    rows = {name: rows_of(text, name) for name in ("folder", "buckets", "hosts", "destinations")}
    assert {name: len(found) for name, found in rows.items()} == {
        "folder": 4,
        "buckets": 2,
        "hosts": 4 if len(os.sched_getaffinity(0)) > 1 else 2,
        "destinations": 4 + bool(shutil.which("smbclient")),
    }
    assert all(float(cell) > 0 for found in rows.values() for row in found for cell in row[1:3])


def rows_of(text: str, name: str) -> list[list[str]]:
    """The cells of a table's lines, without its head."""
    found = re.search(rf"<!-- {name} -->\n\nMeasured .*\n\n(.*)\n\n<!-- end of {name} -->", text, re.DOTALL)
    assert found, text
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in found[1].split("\n")[2:]]
