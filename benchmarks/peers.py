"""The same folder with the tools that people know, where they are installed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from benchmarks.cases import PASSPHRASE, Bench, Case
from benchmarks.measure import Measured, shell

Script = Callable[[Path, Path], str]
"""What to type for a repository and a folder."""

_PEERS: dict[str, tuple[str, Script]] = {
    "restic": (
        "RESTIC_PASSWORD",
        lambda repo, folder: f"restic -q -r {repo} init >/dev/null && restic -q -r {repo} backup {folder}",
    ),
    "borg": (
        "BORG_PASSPHRASE",
        lambda repo, folder: f"borg init -e repokey {repo} && borg create -C zstd,3 {repo}::a {folder}",
    ),
    "duplicity": (
        "PASSPHRASE",
        lambda repo, folder: f"duplicity full --archive-dir {repo}-archive {folder} file://{repo}",
    ),
}


def peer_cases(bench: Bench) -> None:
    """Each once or as often as was asked for, against the plain pipeline."""
    cases: dict[str, Case] = {"tar, zstd, gpg, sync": bench.plain}
    for name, (variable, script) in _PEERS.items():
        if shutil.which(name):
            cases[name] = lambda name=name, variable=variable, script=script: _peer(  # type: ignore[misc]
                bench, name, variable, script
            )
        else:
            print(f"{name} is not installed: left out", flush=True)
    bench.together(cases)


def _peer(bench: Bench, name: str, variable: str, script: Script) -> Measured:
    repo = bench.work / f"peer-{name}"
    env = {variable: PASSPHRASE, "HOME": str(bench.work)}
    measured = shell(script(repo, bench.folder), env=env)
    shutil.rmtree(repo, ignore_errors=True)
    shutil.rmtree(f"{repo}-archive", ignore_errors=True)
    return measured
