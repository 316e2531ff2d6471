"""The worker's image, as far as it can be told without building one: what it holds runs, and by itself."""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.bundle import ROOT

pytestmark = pytest.mark.xdist_group("assembly")

DOCKERFILE = (ROOT / "worker_image" / "Dockerfile").read_text()


@pytest.fixture(scope="module")
def content(assembly: Path) -> Path:
    """What is sent to the builder."""
    assets = json.loads((assembly / "Backups.assets.json").read_text())
    (image,) = assets["dockerImages"].values()
    return assembly / str(image["source"]["directory"])


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's packages, for this machine's interpreter."""
    target = tmp_path_factory.mktemp("packages")
    argv = [
        str(Path(sys.prefix) / "bin" / "uv"),
        "pip",
        "install",
        "--quiet",
        "--require-hashes",
        "--only-binary",
        ":all:",
    ]
    argv += ["--python", sys.executable, "--python-platform", f"{platform.machine()}-manylinux_2_28"]
    argv += ["--target", str(target), "--requirement", str(ROOT / "requirements" / "worker.txt")]
    subprocess.run(argv, check=True, capture_output=True)
    return target


def test_the_entry_point_runs_with_the_image_s_packages_alone(content: Path, packages: Path) -> None:
    script = f"""
import runpy, sys
sys.path[:0] = [{str(content)!r}, {str(packages)!r}]
import backups.job, backups.destinations.s3.connect, boto3
runpy.run_module("worker_image.main", run_name="__main__", alter_sys=True)
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", script], env={}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "BACKUPS_JOB, BACKUPS_RUN" in done.stdout


def test_rclone_comes_with_the_packages_and_runs(packages: Path) -> None:
    done = subprocess.run([packages / "bin" / "rclone", "version"], capture_output=True, text=True, check=True)
    assert re.match(r"rclone v1\.(7\d|[89]\d|\d{3})\.", done.stdout)


def test_everything_that_is_copied_is_sent_to_the_builder(content: Path) -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE)
    clients = "worker_image/postgresql_clients.sh"
    assert copied == ["requirements/worker.txt", clients, "backups", "worker_image"]
    assert all((content / name).exists() for name in copied)


def test_it_runs_as_nobody_in_particular_without_a_shell() -> None:
    last_user = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)[-1]
    assert last_user == "10001:10001" and "useradd --system --create-home --uid 10001" in DOCKERFILE
    assert 'ENTRYPOINT ["python", "-m", "worker_image.main"]' in DOCKERFILE
    assert "CMD" not in DOCKERFILE and "--require-hashes" in DOCKERFILE


@pytest.mark.parametrize("program", ["gnupg", "gzip", "mariadb-client", "pigz", "tar", "zstd", "ca-certificates"])
def test_every_program_that_a_worker_starts_is_installed(program: str) -> None:
    final = DOCKERFILE.rpartition("\nFROM ")[2]
    assert re.search(rf"\s{program}\s", final)
