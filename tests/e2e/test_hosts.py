"""Folders on a host, as they are deployed: the worker's own role, the document of the stack, the state bucket."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.records import Outcome
from local_cloud import stock
from local_cloud.night import STACK, until
from tests.e2e.conftest import MAIN, PASSPHRASE, REMOTE, SECOND, Scene, on_host, running_task
from tests.servers.faulty_proxy import FOREVER, Fault

pytestmark = pytest.mark.xdist_group("night")

WHEN = dt.datetime(2026, 11, 20, 3, 30, tzinfo=dt.UTC)


def staged(scene: Scene) -> list[str]:
    """What is in the staging area."""
    return scene.keys(scene.night.outputs["StateBucket"], "staging/")


def test_a_folder_on_a_host_is_stored_and_comes_back(scene: Scene, tmp_path: Path) -> None:
    run = scene.night.fire("far", at=WHEN)
    ended = scene.night.ended("far", run)
    assert ended["status"] == "SUCCEEDED", scene.night.report("far", run).model_dump_json(indent=1)
    (result,) = scene.night.report("far", run).results
    assert (result.outcome, result.warnings) == (Outcome.STORED, ())
    passphrase = tmp_path / "passphrase"
    passphrase.write_text(PASSPHRASE)
    scene.night.download(MAIN, result.key, tmp_path / "copy")
    stock.pipeline(tmp_path / "copy", passphrase, "tar", "-x", "-i", "-p", "-f", "-", "-C", str(tmp_path))
    assert stock.differences(scene.folder, tmp_path / scene.folder.name) == []
    assert staged(scene) == []
    events = scene.night.cloud.client("logs").filter_log_events(logGroupName=scene.night.outputs["WorkerLog"])["events"]
    assert events
    assert not any("X-Amz-Signature" in event["message"] for event in events)


def test_one_machine_reaches_the_host_through_the_stack_that_the_job_names(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "copies").mkdir()
    job = tmp_path / "by-hand.json"
    job.write_text(
        json.dumps(
            {
                "hostname": "by-hand.example.org",
                "encryption": {"passphrase": PASSPHRASE},
                "sources": [{**on_host(scene.folder), "stack": STACK}],
                "destinations": [{"id": "disk", "type": "local", "path": str(tmp_path / "copies")}],
            }
        )
    )
    done = subprocess.run(
        [str(Path(sys.executable).with_name("backups")), "run", str(job), "--json"],
        env={**os.environ, **scene.night.cloud.environment(), **({"RUN_AS_USER": "root"} if os.getuid() == 0 else {})},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert (result["outcome"], result["plain_size"] > 0) == ("stored", True)
    assert staged(scene) == []


@pytest.fixture
def stall(scene: Scene) -> Iterator[Fault]:
    """The destination takes requests and never answers."""
    yield scene.proxy.add(Fault("^(PUT|POST) ", times=FOREVER, stall=True))
    scene.proxy.heal()


def test_a_worker_that_dies_leaves_nothing_staged_and_nothing_running_on_the_host(scene: Scene, stall: Fault) -> None:
    cloud = scene.night.cloud
    run = scene.night.fire("farheld", at=WHEN)
    assert stall.stalled.wait(120), "the worker never wrote"
    assert staged(scene)
    worker = cloud.task_processes(running_task(scene, run))[0]
    os.kill(worker, signal.SIGKILL)
    ended = scene.night.ended("farheld", run, timeout=120)
    assert ended["status"] == "FAILED"
    (result,) = scene.night.report("farheld", run).results
    assert result.outcome is Outcome.FAILED
    until(lambda: None if cloud.host_processes(REMOTE) else True, "the host goes on", 60)
    assert staged(scene) == []
    assert scene.keys(SECOND, "farheld.example.org/") == []
