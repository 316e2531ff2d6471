"""The worker's environment: every missing variable is named, numbers are numbers."""

from __future__ import annotations

import pytest

from backups.errors import UsageError
from worker_image.check import CheckEnv
from worker_image.environment import Env

FULL = {
    "BACKUPS_JOB": "nightly",
    "BACKUPS_RUN": "20261123T023000Z",
    "BACKUPS_SOURCE": "db",
    "BACKUPS_JOB_BUCKET": "state",
    "BACKUPS_JOB_KEY": "runs/nightly/20261123T023000Z/job.json",
    "BACKUPS_STATE_BUCKET": "state",
}


def test_what_the_state_machine_sets_is_read() -> None:
    env = Env.from_env({**FULL, "BACKUPS_PROGRESS_SECONDS": "0.5"})
    assert (env.job, env.run, env.source) == ("nightly", "20261123T023000Z", "db")
    assert (env.job_file.bucket, env.job_file.key) == ("state", FULL["BACKUPS_JOB_KEY"])
    assert env.progress_seconds == 0.5


def test_progress_has_a_default() -> None:
    assert Env.from_env(FULL).progress_seconds == 10


def test_every_missing_variable_is_named() -> None:
    with pytest.raises(UsageError, match="BACKUPS_SOURCE, BACKUPS_JOB_KEY"):
        Env.from_env({**FULL, "BACKUPS_SOURCE": "", "BACKUPS_JOB_KEY": ""})


def test_a_check_is_told_whose_copies_it_reads() -> None:
    env = CheckEnv.from_env(FULL)
    assert (env.job, env.job_file.bucket, env.job_file.key, env.state_bucket) == (
        "nightly",
        "state",
        FULL["BACKUPS_JOB_KEY"],
        "state",
    )
    with pytest.raises(UsageError, match="BACKUPS_JOB_KEY, BACKUPS_STATE_BUCKET"):
        CheckEnv.from_env({**FULL, "BACKUPS_STATE_BUCKET": "", "BACKUPS_JOB_KEY": ""})


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "inf", "nan"])
def test_progress_needs_a_time(seconds: str) -> None:
    with pytest.raises(UsageError, match="BACKUPS_PROGRESS_SECONDS"):
        Env.from_env({**FULL, "BACKUPS_PROGRESS_SECONDS": seconds})
