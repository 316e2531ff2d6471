"""What may happen to a copy after it was stored."""

from __future__ import annotations

import json
import os
from pathlib import Path


def truncated(copy: Path) -> None:
    """The last third is gone."""
    with copy.open("r+b") as file:
        file.truncate(copy.stat().st_size * 2 // 3)
    _keep_manifest_newer(copy)


def bit_flipped(copy: Path) -> None:
    """One bit in the middle is another."""
    position = copy.stat().st_size // 2
    with copy.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))
    _keep_manifest_newer(copy)


def replaced_by_other_content(copy: Path) -> None:
    """As long as it was, and nothing of it left."""
    copy.write_bytes(os.urandom(copy.stat().st_size))
    _keep_manifest_newer(copy)


def with_wrong_manifest(copy: Path) -> None:
    """The copy is whole, but its manifest names another sha256: one of the two was changed."""
    manifest = copy.with_name(f"{copy.name}.manifest.json")
    content = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({**content, "sha256": "0" * 64}))


def _keep_manifest_newer(copy: Path) -> None:
    """So that the copy still counts as verified."""
    copy.with_name(f"{copy.name}.manifest.json").touch()
