"""``backups start``, ``watch`` and ``cancel`` against the deployed stack."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import Scene
from tests.servers.faulty_proxy import FOREVER, Fault

pytestmark = pytest.mark.xdist_group("night")


def run(scene: Scene, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed command with the credentials of the embedded cloud; it needs no particular user."""
    environment = {**os.environ, **scene.night.cloud.environment(), "RUN_AS_USER": "nobody-in-particular"}
    return subprocess.run(
        [str(Path(sys.executable).with_name("backups")), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_a_run_that_a_person_starts_is_watched_to_its_end(scene: Scene) -> None:
    started = run(scene, "start", "mute")
    assert started.returncode == 0, started.stderr
    name = started.stdout.strip()
    assert name.startswith("mute-")
    watched = run(scene, "watch", name, "--json")
    assert watched.returncode == 0, watched.stderr
    report = json.loads(watched.stdout)
    assert (report["job"], report["outcome"]) == ("mute", "stored")
    assert report["run"] == name.removeprefix("mute-")
    table = run(scene, "watch", name)
    assert "files" in table.stdout
    assert "stored, 1 of 1 sources" in table.stderr


def test_only_the_chosen_sources_run(scene: Scene) -> None:
    started = run(scene, "start", "nightly", "--source", "work", "--json")
    assert started.returncode == 0, started.stderr
    told = json.loads(started.stdout)
    watched = run(scene, "watch", told["execution"], "--json")
    assert [result["source"] for result in json.loads(watched.stdout)["results"]] == ["work"]


def test_watching_ends_as_the_run_does(scene: Scene) -> None:
    for job, code in (("broken", 1), ("partly", 3)):
        name = run(scene, "start", job).stdout.strip()
        watched = run(scene, "watch", name)
        assert watched.returncode == code, watched.stderr
        assert "error: files" in watched.stderr


def test_a_cancelled_run_ends_and_leaves_nothing_half(scene: Scene) -> None:
    stall = scene.proxy.add(Fault("^(PUT|POST) ", times=FOREVER, stall=True))
    try:
        name = run(scene, "start", "held").stdout.strip()
        assert stall.stalled.wait(120), "the worker never wrote"
        cancelled = run(scene, "cancel", name)
        assert cancelled.returncode == 0, cancelled.stderr
        watched = run(scene, "watch", name)
    finally:
        scene.proxy.heal()
    assert watched.returncode == 1
    assert "the run was stopped by someone" in watched.stderr
    assert scene.night.ended("held", name.removeprefix("held-"))["status"] == "ABORTED"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("start", "no-such-job"), 1, "no-such-job"),
        (("start", "../etc"), 2, "is no name of a deployed job"),
        (("start", "mute", "--stack", "NoSuchStack"), 2, "there is no stack 'NoSuchStack'"),
        (("watch", "mute-20200101T000000Z"), 2, "there is no run"),
        (("cancel", "mute-20200101T000000Z"), 2, "there is no run"),
    ],
)
def test_what_is_not_there_is_told(scene: Scene, arguments: tuple[str, ...], code: int, said: str) -> None:
    ended = run(scene, *arguments)
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr
    assert said in ended.stderr
