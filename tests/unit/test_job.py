"""What a checked job answers: which encryption, compression and retention apply, and which day it is."""

from __future__ import annotations

import datetime as dt
import hashlib
import socket
from pathlib import Path
from typing import Any

import pytest

from backups.errors import ExitCode, JobError, UsageError
from backups.job import Job, content_hash, load_job
from backups.naming import Compression
from backups.retention import KeepRules, Policy
from tests.jobs import DATA, example, job_data, job_with, parsed

NOW = dt.datetime(2026, 11, 23, 23, 30, tzinfo=dt.UTC)


def test_a_job_is_named_after_its_file() -> None:
    job = load_job(DATA / "complete.json")
    assert job.name == "complete"
    assert job.path == DATA / "complete.json"


def test_the_example_that_is_deployed_is_ready_for_it() -> None:
    job = load_job(Path(__file__).parents[2] / "jobs" / "example.json")
    assert [source.type for source in job.sources] == ["folder", "folder", "mysql"]
    assert [destination.type for destination in job.destinations] == ["s3", "s3"]
    assert job.settings.hostname
    assert all("if the bucket keeps versions" in hint for hint in job.hints())
    assert job.plain_secrets() == []
    assert job.unavailable() == []


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_file_that_cannot_be_read_is_a_usage_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        load_job(tmp_path / name)
    assert caught.value.exit_code is ExitCode.USAGE
    assert str(tmp_path / name) in caught.value.message


def test_problems_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "nightly.json"
    path.write_text('{"sources": [], "destinations": []}')
    with pytest.raises(JobError) as caught:
        load_job(path)
    assert caught.value.exit_code is ExitCode.USAGE
    assert caught.value.problems == (
        f"{path}: sources: at least one source is needed",
        f"{path}: destinations: at least one destination is needed",
    )


def test_the_host_is_this_machine_unless_the_job_says_another() -> None:
    assert parsed(job_data()).hostname == socket.gethostname()
    assert parsed(job_data(hostname="server1")).hostname == "server1"


def test_parts_are_found_by_their_id() -> None:
    job = parsed(job_with("notifications", example("notifications", "flagfile", id="flag")))
    assert job.source("etc") is job.sources[0]
    assert job.destination("disk") is job.destinations[0]
    assert job.notification("flag") is job.notifications[0]
    with pytest.raises(UsageError, match="the job has no source 'nope' \\(it has: etc\\)"):
        job.source("nope")
    with pytest.raises(UsageError, match="it has: none"):
        parsed(job_data()).notification("flag")


def _secret(job: Job) -> str:
    passphrase = job.encryption_for(job.sources[0]).passphrase
    assert passphrase
    return passphrase.get_secret_value()


def test_a_source_is_encrypted_by_its_own_means_first() -> None:
    root = {"passphrase": "of the root"}
    assert _secret(parsed(job_data(encryption=root))) == "correct horse"
    folder = {"id": "etc", "type": "folder", "path": "/etc"}
    assert _secret(parsed(job_data(encryption=root, sources=[folder]))) == "of the root"
    keys = parsed(job_data(encryption=root, sources=[{**folder, "recipients": ["/etc/key.asc"]}]))
    assert keys.encryption_for(keys.sources[0]).recipients == ("/etc/key.asc",)
    assert keys.encryption_for(keys.sources[0]).passphrase is None


def test_compression_and_time_limit_of_a_source_come_before_those_of_the_job() -> None:
    job = parsed(job_data())
    assert job.compression_for(job.sources[0]) is Compression.GPG
    assert job.time_limit_for(job.sources[0]) == 86_400
    data = job_data(compression="zstd", time_limit=60)
    job = parsed(data)
    assert job.compression_for(job.sources[0]) is Compression.ZSTD
    assert job.time_limit_for(job.sources[0]) == 60
    data["sources"][0].update(compression="none", time_limit=5)
    job = parsed(data)
    assert job.compression_for(job.sources[0]) is Compression.NONE
    assert job.time_limit_for(job.sources[0]) == 5


@pytest.mark.parametrize(
    ("root", "own", "policy"),
    [
        ({}, {}, Policy(None, None, None, 1)),
        ({}, {"retention_copies": 3, "retention_days": 9}, Policy(3, 9, None, 1)),
        ({"retention": {"keep_last": 2}}, {}, Policy(None, None, KeepRules(keep_last=2), 1)),
        ({"retention": {"keep_last": 2}}, {"retention_days": 9}, Policy(None, 9, None, 1)),
        (
            {"retention": {"keep_last": 2}},
            {"retention": {"keep_daily": 7}},
            Policy(None, None, KeepRules(keep_daily=7), 1),
        ),
        ({"retention_minimum": 3}, {}, Policy(None, None, None, 3)),
        ({"retention_minimum": 3}, {"retention_minimum": 0}, Policy(None, None, None, 0)),
    ],
)
def test_retention_of_a_destination_comes_before_that_of_the_job(
    root: dict[str, Any], own: dict[str, Any], policy: Policy
) -> None:
    job = parsed(job_data(**root, destinations=[{"type": "local", "path": "/mnt", **own}]))
    assert job.policy_for(job.destinations[0]) == policy


@pytest.mark.parametrize(
    ("timezone", "date"),
    [
        ("Etc/UTC", dt.date(2026, 11, 23)),
        ("Europe/Berlin", dt.date(2026, 11, 24)),
        ("America/Lima", dt.date(2026, 11, 23)),
    ],
)
def test_the_day_is_that_of_the_jobs_time_zone(timezone: str, date: dt.date) -> None:
    assert parsed(job_data(timezone=timezone)).date(NOW) == date


def test_without_a_time_zone_the_day_is_that_of_the_machine() -> None:
    assert parsed(job_data()).date(NOW) == NOW.astimezone().date()


def test_a_job_is_frozen_and_shows_no_secret() -> None:
    job = parsed(job_data(encryption={"passphrase": "hunter2hunter2"}))
    assert "hunter2" not in repr(job)
    assert "correct horse" not in repr(job)
    with pytest.raises(AttributeError):
        job.name = "other"  # type: ignore[misc]


def test_the_immutable_copy_is_named_by_its_content() -> None:
    assert content_hash(b"{}") == hashlib.sha256(b"{}").hexdigest()
