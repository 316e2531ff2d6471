"""The embedded cloud as a whole: starts, serves on loopback only, and leaves nothing behind however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local_cloud.client import ROOT, LocalCloud, LocalCloudError
from tests.servers.local_cloud import SAMPLE, WORKER, alive, sample_cloud, wait_for, written

# A client that starts a worker and a function that never end, and tells their process ids.
_CLIENT = """
import json, sys, threading, time
from pathlib import Path
from tests.servers.local_cloud import sample_cloud, wait_for, written
here = Path(sys.argv[1])
with sample_cloud(here / "state") as sample:
    sample.run_task(ACTION="hang", REPORT=str(here / "worker"))
    event = {"action": "hang", "pids": str(here / "function")}
    threading.Thread(target=sample.invoke, args=(event,), daemon=True).start()
    wait_for(lambda: written(here / "worker") and written(here / "function"), "they did not start")
    (here / "ready").write_text(str(sample.cloud.pid))
    time.sleep(600)
"""


def _listening(port: int) -> set[str]:
    """The local addresses, as the kernel writes them, that listen on a port."""
    found = set()
    for table in ("tcp", "tcp6"):
        for line in (Path("/proc/net") / table).read_text().splitlines()[1:]:
            address, state = line.split()[1], line.split()[3]
            if state == "0A" and int(address.rpartition(":")[2], 16) == port:
                found.add(address.partition(":")[0])
    return found


def test_serves_on_loopback_only(tmp_path: Path) -> None:
    with LocalCloud(programs={}, state_dir=tmp_path) as cloud:
        port = int(cloud.endpoint.rpartition(":")[2])
        assert _listening(port) == {"0100007F"}
        assert cloud.client("sts").get_caller_identity()["Account"] == cloud.account
    assert _listening(port) == set()
    assert not alive(cloud.pid)


def test_other_processes_use_it_through_the_environment(tmp_path: Path) -> None:
    script = "import boto3; boto3.client('s3').create_bucket(Bucket='from-a-child')"
    with LocalCloud(programs={}, state_dir=tmp_path) as cloud:
        environment = {"PATH": os.environ["PATH"], **cloud.environment()}
        subprocess.run([sys.executable, "-c", script], env=environment, check=True)
        assert [one["Name"] for one in cloud.client("s3").list_buckets()["Buckets"]] == ["from-a-child"]


def test_close_ends_workers_and_functions(tmp_path: Path) -> None:
    with sample_cloud(tmp_path / "state") as sample:
        sample.run_task(ACTION="stubborn", REPORT=str(tmp_path / "worker"))
        wait_for(lambda: written(tmp_path / "worker"), "the worker did not start")
        process = sample.invoke({"action": "environment"})[0]["process"]
        processes = [process, *json.loads((tmp_path / "worker").read_text())]
        assert all(alive(pid) for pid in processes)
        server = sample.cloud.pid
    assert not [pid for pid in (server, *processes) if alive(pid)]
    assert not (tmp_path / "state" / "tmp").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_outlives_the_client(tmp_path: Path, number: signal.Signals) -> None:
    client = subprocess.Popen([sys.executable, "-c", _CLIENT, str(tmp_path)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: written(tmp_path / "ready") or client.poll() is not None, "the client did not start")
        processes: list[int] = [int((tmp_path / "ready").read_text())]
        for name in ("worker", "function"):
            processes += json.loads((tmp_path / name).read_text())
        assert all(alive(pid) for pid in processes)
        client.send_signal(number)
        assert client.wait(30) != 0
        wait_for(lambda: not any(alive(pid) for pid in processes), "something outlived the client")
    finally:
        client.kill()
        client.wait()


def test_nothing_outlives_a_killed_server(tmp_path: Path) -> None:
    with sample_cloud(tmp_path / "state") as sample:
        sample.run_task(ACTION="stubborn", REPORT=str(tmp_path / "worker"))
        wait_for(lambda: written(tmp_path / "worker"), "the worker did not start")
        processes = json.loads((tmp_path / "worker").read_text())
        os.kill(sample.cloud.pid, signal.SIGKILL)
        wait_for(lambda: not any(alive(pid) for pid in processes), "a worker outlived the server")


@pytest.mark.parametrize(
    ("programs", "complaint"),
    [
        ({"(": {"argv": ["true"]}}, "not a map of programs"),
        ({"worker": {}}, "not a map of programs"),
        ({"worker": {"argv": []}}, "argv is empty"),
        ({"worker": {"argv": ["true"], "cwd": "/"}}, "unknown key cwd"),
    ],
)
def test_a_wrong_program_map_is_an_error(tmp_path: Path, programs: dict[str, Any], complaint: str) -> None:
    with pytest.raises(LocalCloudError, match="did not start") as caught:
        LocalCloud(programs=programs, state_dir=tmp_path)
    assert complaint in caught.value.message


def test_a_state_directory_has_one_cloud_at_a_time(tmp_path: Path) -> None:
    with (
        LocalCloud(programs={}, state_dir=tmp_path),
        pytest.raises(LocalCloudError, match="is in use by another embedded cloud"),
    ):
        LocalCloud(programs={}, state_dir=tmp_path)
    LocalCloud(programs={}, state_dir=tmp_path).close()


def test_two_clouds_know_nothing_of_each_other(tmp_path: Path) -> None:
    with (
        LocalCloud(programs={"x": WORKER}, state_dir=tmp_path / "one") as one,
        LocalCloud(programs={}, state_dir=tmp_path / "two", region="eu-central-1") as two,
    ):
        one.client("s3").create_bucket(Bucket="mine")
        assert two.client("s3").list_buckets()["Buckets"] == []
        assert two.deploy(SAMPLE, "Sample")["Machine"].startswith("arn:aws:states:eu-central-1:")


def test_new_buckets_hold_what_was_given_and_list_it_in_pages(tmp_path: Path) -> None:
    names = [f"a/{number:04}" for number in range(1500)]
    given = tmp_path / "objects.tsv"
    given.write_text("".join(f"full\t{name}\t{number % 3}\n" for number, name in enumerate(reversed(names))))
    with LocalCloud(programs={}, state_dir=tmp_path / "state", objects=given) as cloud:
        s3 = cloud.client("s3")
        for bucket in ("full", "empty"):
            s3.create_bucket(Bucket=bucket)
        assert s3.list_objects_v2(Bucket="empty")["KeyCount"] == 0
        pages = list(s3.get_paginator("list_objects_v2").paginate(Bucket="full", Prefix="a/"))
        assert [len(page["Contents"]) for page in pages] == [1000, 500]
        assert [found["Key"] for page in pages for found in page["Contents"]] == names
        s3.delete_objects(Bucket="full", Delete={"Objects": [{"Key": name} for name in names[:600]]})
        s3.put_object(Bucket="full", Key="a/0003", Body=b"again")
        left = s3.list_objects_v2(Bucket="full", StartAfter="a/0002", MaxKeys=2)["Contents"]
        assert [(found["Key"], found["Size"]) for found in left] == [("a/0003", 5), ("a/0600", 2)]
