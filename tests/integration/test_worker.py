"""The worker as the task runs it: a process with an environment, an S3 server, and an end that the record tells."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backups.cloud.state import MapItem, State
from backups.planning import plan, run_id
from backups.records import Outcome
from tests.jobs import parsed
from tests.servers.fake_path import FakePath
from tests.servers.local_cloud import wait_for
from tests.servers.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed

ROOT = Path(__file__).resolve().parent.parent.parent
NOW = dt.datetime(2026, 11, 23, 2, 30, tzinfo=dt.UTC)
PASSPHRASE = "planted: the one & only"


@dataclass
class Worker:
    """One planned source and what it takes to run its worker."""

    server: Seaweed
    directory: Path
    job: str = field(default_factory=lambda: f"job-{uuid.uuid4().hex[:8]}")
    run: str = run_id(NOW)

    @property
    def state(self) -> State:
        """The run's records."""
        return State(BUCKET, self.server.client())

    @property
    def copy(self) -> Path:
        """Where a stored copy is."""
        return self.directory / "disk" / "web1" / "2026-11-23" / "etc.tar.zst.gpg"

    def prepare(self, *, destinations: int = 1) -> None:
        """Plan a run of a folder, as the orchestrator does."""
        (self.directory / "passphrase").write_text(PASSPHRASE)
        (self.directory / "data").mkdir()
        (self.directory / "data" / "file").write_bytes(b"content" * 1000)
        (self.directory / "disk").mkdir()
        disks = [{"id": "disk", "type": "local", "path": str(self.directory / "disk")}]
        disks += [{"id": "gone", "type": "local", "path": str(self.directory / "gone")}] * (destinations - 1)
        data: dict[str, Any] = {
            "hostname": "web1",
            "compression": "zstd",
            "encryption": {"passphrase": f"{{{{resolve:file:{self.directory / 'passphrase'}}}}}"},
            "sources": [{"id": "etc", "type": "folder", "path": str(self.directory / "data")}],
            "destinations": disks,
        }
        self.state.put_job_file(self.job, self.run, json.dumps(data).encode())
        planned = plan(parsed(data), run=self.run, now=NOW)
        items = tuple(item.model_copy(update={"job": self.job}) for item in planned.items)
        self.state.put_plan(planned.model_copy(update={"job": self.job, "items": items}), [MapItem("etc", 60)])

    def start(self, **changes: str) -> subprocess.Popen[str]:
        """The process, with nothing in its environment but what a task has."""
        environment = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.directory),
            "AWS_ENDPOINT_URL": self.server.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "BACKUPS_JOB": self.job,
            "BACKUPS_RUN": self.run,
            "BACKUPS_SOURCE": "etc",
            "BACKUPS_JOB_BUCKET": BUCKET,
            "BACKUPS_JOB_KEY": f"runs/{self.job}/{self.run}/job.json",
            "BACKUPS_STATE_BUCKET": BUCKET,
            "BACKUPS_PROGRESS_SECONDS": "0.05",
        }
        argv = [sys.executable, "-m", "worker_image.main"]
        pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        return subprocess.Popen(argv, cwd=ROOT, env={**environment, **changes}, **pipes)

    def finish(self, **changes: str) -> tuple[int, str]:
        """Run it to its end: exit code and log."""
        with self.start(**changes) as process:
            output, _ = process.communicate(timeout=120)
        return process.returncode, output

    def result(self) -> Any:
        """What it left."""
        return self.state.result(self.job, self.run, "etc")


@pytest.fixture
def worker(s3_server: Seaweed, tmp_path: Path) -> Worker:
    return Worker(s3_server, tmp_path)


@pytest.fixture
def slow_tar(fake_path: FakePath, tmp_path: Path) -> Path:
    """A tar that never comes to its end, but ends with its reader; the file says that it has begun."""
    begun = tmp_path / "begun"
    fake_path.put(
        "tar",
        'case "$1" in --version) exec "$REAL" --version;; esac\n'
        f': >"{begun}"\nwhile :; do printf plain; sleep 0.1; done',
    )
    return begun


def test_a_stored_source(worker: Worker) -> None:
    worker.prepare()
    code, output = worker.finish()
    assert code == 0, output
    result = worker.result()
    assert result.outcome is Outcome.STORED and result.job == worker.job
    assert worker.copy.stat().st_size == result.size
    (progress,) = worker.state.progress(worker.job, worker.run)
    assert (progress.source, progress.phase, progress.encrypted_bytes) == ("etc", "stored", result.size)


def test_a_destination_that_is_not_there_makes_it_partial(worker: Worker) -> None:
    worker.prepare(destinations=2)
    code, output = worker.finish()
    assert code == 3, output
    assert worker.result().outcome is Outcome.PARTIAL
    assert {at.destination: at.status for at in worker.result().destinations} == {"disk": "stored", "gone": "failed"}


def test_a_source_that_fails_leaves_a_record_and_no_copy(worker: Worker, fake_path: FakePath) -> None:
    worker.prepare()
    fake_path.ends_with("tar", 2, stderr="tar: broken")
    code, output = worker.finish()
    assert code == 1, output
    assert worker.result().outcome is Outcome.FAILED and "tar" in worker.result().error
    assert not list(worker.copy.parent.glob("*"))


def test_a_stopped_worker_says_so_and_leaves_no_copy(worker: Worker, slow_tar: Path) -> None:
    worker.prepare()
    with worker.start() as process:
        wait_for(slow_tar.exists, "tar did not begin")
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    assert worker.result().outcome is Outcome.FAILED and "stop" in worker.result().error
    assert not worker.copy.exists()


def test_a_killed_worker_leaves_no_copy_and_the_next_one_stores(
    worker: Worker, slow_tar: Path, fake_path: FakePath
) -> None:
    worker.prepare()
    with worker.start() as process:
        wait_for(slow_tar.exists, "tar did not begin")
        process.kill()
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert worker.result() is None and not worker.copy.exists()
    (fake_path.directory / "tar").unlink()
    code, output = worker.finish()
    assert code == 0, output
    assert worker.result().outcome is Outcome.STORED and worker.copy.exists()


def test_progress_is_told_while_it_goes_on(worker: Worker, slow_tar: Path) -> None:
    worker.prepare()
    with worker.start() as process:
        wait_for(slow_tar.exists, "tar did not begin")
        first = worker.state.progress(worker.job, worker.run)[0].updated
        wait_for(lambda: worker.state.progress(worker.job, worker.run)[0].updated > first, "no progress was told")
        process.terminate()
        process.communicate(timeout=60)


def test_secrets_are_in_no_record_and_no_log(worker: Worker, fake_path: FakePath) -> None:
    worker.prepare()
    fake_path.ends_with("tar", 2, stderr=f"tar: {PASSPHRASE}: no such file")
    _, output = worker.finish()
    client = worker.server.client()
    keys = [o["Key"] for o in client.list_objects_v2(Bucket=BUCKET, Prefix=f"runs/{worker.job}/")["Contents"]]
    records = [client.get_object(Bucket=BUCKET, Key=key)["Body"].read().decode() for key in keys]
    assert len(records) >= 5  # job, plan, items, progress, result
    assert "no such file" in worker.result().error
    assert all(PASSPHRASE not in text for text in (output, *records))


def test_private_files_are_gone_afterwards(worker: Worker) -> None:
    worker.prepare()
    worker.finish()
    assert not list(worker.directory.glob("backups-*"))


def test_a_run_without_a_plan_is_an_error(worker: Worker) -> None:
    worker.prepare()
    code, output = worker.finish(BACKUPS_RUN="20200101T000000Z")
    assert code == 1
    assert "run 20200101T000000Z of job" in output and "plans no source 'etc'" in output
    assert "Traceback" not in output


def test_a_job_file_that_is_gone_is_in_the_record(worker: Worker) -> None:
    worker.prepare()
    code, _ = worker.finish(BACKUPS_JOB_KEY="gone.json")
    assert code == 1
    assert "could not read the file of job" in worker.result().error


def test_a_state_bucket_that_does_not_answer_is_an_error(worker: Worker) -> None:
    worker.prepare()
    code, output = worker.finish(BACKUPS_STATE_BUCKET="no-such-bucket")
    assert code == 1 and "Traceback" not in output
    assert worker.result() is None


def test_a_missing_variable_is_named(worker: Worker) -> None:
    code, output = worker.finish(BACKUPS_SOURCE="")
    assert code == 2 and "BACKUPS_SOURCE" in output and "Traceback" not in output
