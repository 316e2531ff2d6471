"""The functions' bundle: complete by itself, small, the same for the same sources, and never half made."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest

from backups.errors import CommandError
from infra import bundle as bundles
from infra.bundle import ROOT, Bundle, make_bundle
from infra.constructs.functions import NAMES

HERE = f"{platform.machine()}-manylinux_2_28"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """For this machine's own interpreter, so that it can be run."""
    return make_bundle(python=PYTHON, platform=HERE, cache=tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("name", NAMES)
def test_every_handler_runs_from_the_bundle_alone(bundle: Bundle, name: str) -> None:
    """``-I`` and ``-S`` leave out everything that is installed on this machine."""
    script = f"""
import sys
import time
sys.path.insert(0, {str(bundle.path)!r})
from functions.{name}.handler import handler
assert callable(handler)
import backups.notifying, backups.pruning, boto3
for service in ("s3", "ssm", "secretsmanager", "stepfunctions", "sts", "kms", "scheduler", "events"):
    boto3.client(service, region_name="eu-central-1")
foreign = [m.__file__ for m in sys.modules.values() if "site-packages" in (getattr(m, "__file__", "") or "")]
assert not foreign, foreign
"""
    variables = {
        "BACKUPS_STATE_BUCKET": "state",
        "BACKUPS_STATE_MACHINE": "arn:aws:states:eu-central-1:123456789012:stateMachine:Backups-run",
        "BACKUPS_JOB_PARAMETERS": "/Backups/jobs/",
        "BACKUPS_MESSAGES": "arn:aws:states:eu-central-1:123456789012:stateMachine:Backups-messages",
        "BACKUPS_SCHEDULES": "Backups",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_retention_can_reach_every_kind_of_destination(bundle: Bundle) -> None:
    """Their clients come with optional packages."""
    script = f"""
import sys
sys.path.insert(0, {str(bundle.path)!r})
from backups.destinations.gs import bucket, read, remove
from backups.destinations.s3 import bucket as s3_bucket, read as s3_read, remove as s3_remove
from backups.destinations.samba import link, read as samba_read, tree
"""
    done = subprocess.run([sys.executable, "-I", "-S", "-B", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_it_holds_our_own_packages_whole_and_nothing_compiled(bundle: Bundle) -> None:
    for package in ("backups", "functions"):
        ours = {path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py")}
        assert {path.relative_to(bundle.path) for path in (bundle.path / package).rglob("*.py")} == ours
    assert not list(bundle.path.rglob("__pycache__"))
    assert not (bundle.path / "infra").exists()


def test_it_is_small_enough_to_start_quickly(bundle: Bundle) -> None:
    """Lambda takes 250 MB at most; what counts is that nobody adds something large unseen."""
    size = sum(path.stat().st_size for path in bundle.path.rglob("*") if path.is_file())
    assert size < 65_000_000


def test_what_was_made_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundles, "_sources", lambda: {"functions/__init__.py": b""})
    made = make_bundle(python=PYTHON, platform=HERE, cache=tmp_path)

    def never(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(bundles, "_install", never)
    assert make_bundle(python=PYTHON, platform=HERE, cache=tmp_path) == made


def test_a_bundle_that_nobody_uses_goes(tmp_path: Path) -> None:
    old, used = tmp_path / "functions" / "old", tmp_path / "functions" / "used"
    for folder, days in ((old, 8), (used, 6)):
        folder.mkdir(parents=True)
        moment = time.time() - days * 86_400
        os.utime(folder, (moment, moment))
    made = make_bundle(python=PYTHON, platform=HERE, cache=tmp_path)
    assert made.path.exists() and used.exists() and not old.exists()


def test_another_source_python_or_platform_is_another_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    digest, sources = bundles._digest, {"backups/a.py": b"1", "backups/b.py": b"2"}
    known = {
        digest("3.13", "x86_64-manylinux_2_28", sources),
        digest("3.11", "x86_64-manylinux_2_28", sources),
        digest("3.13", "aarch64-manylinux_2_28", sources),
        digest("3.13", "x86_64-manylinux_2_28", {**sources, "backups/b.py": b"3"}),
        digest("3.13", "x86_64-manylinux_2_28", {"backups/a.py": b"1", "backups/c.py": b"2"}),
    }
    monkeypatch.setattr(bundles, "REQUIREMENTS", bundles.ROOT / "requirements" / "worker.txt")
    known.add(digest("3.13", "x86_64-manylinux_2_28", sources))
    assert len(known) == 6


def test_a_package_with_another_hash_is_refused_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "wrong.txt"
    wrong.write_text(f"six==1.17.0 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(bundles, "REQUIREMENTS", wrong)
    monkeypatch.setattr(bundles, "ROOT", tmp_path)
    with pytest.raises(CommandError, match="uv could not install"):
        make_bundle(python=PYTHON, platform=HERE, cache=tmp_path / "cache")
    assert not list((tmp_path / "cache" / "functions").iterdir())
