"""Fixtures that several kinds of test share; real servers are started once per test process."""

from __future__ import annotations

from pathlib import Path

import pytest

from backups.context import Context


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A context of its own for each test, so that no secret is remembered from another."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    return Context(tmpdir=private)
