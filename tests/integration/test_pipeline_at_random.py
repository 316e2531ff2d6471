"""Many short runs with faults drawn at random: never a deadlock, and never a wrong word about what is stored.

``python -m benchmarks.faults`` makes as many more of them as one likes.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from backups.context import Context
from tests.integration.random_runs import run_with_faults
from tests.integration.scripted import nothing_left


@pytest.mark.parametrize("seed", range(100))
def test_a_run_with_faults_ends_and_tells_the_truth(tmp_path: Path, context: Context, seed: int) -> None:
    with nothing_left(context):
        run_with_faults(seed, tmp_path, context)
