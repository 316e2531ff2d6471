"""The check as a task runs it: a process that keeps its books in a bucket, is killed in the middle, and goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backups.cloud.state import State
from backups.verification.status import Verification
from tests.integration.test_cli_verify_due import DAYS, at, copied_to
from tests.servers.command_line import Blocking, CommandLine, finished
from tests.servers.fake_path import FakePath
from tests.servers.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed

ROOT = Path(__file__).resolve().parent.parent.parent
LEASE_SECONDS = 8.0
"""Far longer than any of its renewals takes here."""


@dataclass
class Checks:
    """Copies of three days, and the check of their job with books in a bucket."""

    server: Seaweed
    backups: CommandLine
    job: str = field(default_factory=lambda: f"job-{uuid.uuid4().hex[:8]}")

    @property
    def state(self) -> State:
        """The books."""
        return State(BUCKET, self.server.client())

    @property
    def status(self) -> Verification:
        """How the copies stand."""
        found = self.state.verification(self.job)
        assert found
        return found

    def known(self) -> dict[str, tuple[bool, str]]:
        """Of each day's copy: whether it was found good, and what is wrong with it."""
        [ledger] = self.state.ledgers(self.job)
        return {
            key.split("/")[1]: (bool(one.checked), one.check.status if one.check else "")
            for key, one in ledger.copies.items()
        }

    def start(self, execution: str) -> subprocess.Popen[bytes]:
        """The process, with nothing in its environment but what a task has."""
        environment = {
            "PATH": os.environ["PATH"],
            "TMPDIR": str(self.backups.tmp),
            "AWS_ENDPOINT_URL": self.server.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "BACKUPS_JOB": self.job,
            "BACKUPS_CHECK": execution,
            "BACKUPS_JOB_BUCKET": BUCKET,
            "BACKUPS_JOB_KEY": f"{self.job}.json",
            "BACKUPS_STATE_BUCKET": BUCKET,
            "BACKUPS_LEASE_SECONDS": str(LEASE_SECONDS),
        }
        argv = [sys.executable, "-m", "worker_image.main", "check"]
        return subprocess.Popen(argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.fixture
def checks(s3_server: Seaweed, backups: CommandLine) -> Checks:
    one = backups.content()["destinations"][:1]
    backups.write_job(destinations=one, verification={"every_days": 1})
    assert backups("run", backups.job).code == 0
    [today] = backups.one.rglob("*.zst.gpg")
    for day in DAYS:
        copied_to(today, day)
    shutil.rmtree(today.parent)
    made = Checks(s3_server, backups)
    s3_server.client().put_object(Bucket=BUCKET, Key=f"{made.job}.json", Body=backups.job.read_bytes())
    return made


@pytest.fixture
def second_copy(fake_path: FakePath, checks: Checks) -> Blocking:
    """gpg that decrypts one copy and comes to no end with the next."""
    blocking, first = Blocking(checks.backups.directory), checks.backups.directory / "first"
    decrypt = f"""case "$*" in *--decrypt*) ;; *) exec "$REAL" "$@";; esac
if ! [ -e '{first}' ]; then : > '{first}'; exec "$REAL" "$@"; fi
"""
    fake_path.put("gpg", decrypt + blocking.script())
    return blocking


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_check_that_is_killed_loses_the_copy_that_it_read_and_the_next_goes_on(
    checks: Checks, second_copy: Blocking, fake_path: FakePath, number: signal.Signals
) -> None:
    copy = at(checks.backups, DAYS[2])
    content = bytearray(copy.read_bytes())
    content[-9] ^= 1
    copy.write_bytes(content)
    copy.with_name(f"{copy.name}.manifest.json").touch()
    with checks.start("first") as process:
        second_copy.wait(process)
        before, kept = checks.status, checks.known()
        # What was found is told while it goes on; what was not read counts for nothing.
        assert kept == {DAYS[0]: (False, ""), DAYS[1]: (False, ""), DAYS[2]: (False, "damaged")}
        assert (before.going, before.checked, before.damaged, before.execution) == (True, 1, 1, "first")
        if number is signal.SIGTERM:
            other = finished(checks.start("second"))
            assert (other.code, "still going: execution 'first'" in other.out) == (1, True), other.out
        ended = finished(process, number)
    second_copy.end()
    assert checks.known() == kept
    status = checks.status
    if number is signal.SIGTERM:
        assert ended.code == 143
        assert (status.going, status.error[:21], status.checked) == (False, "the check was stopped", 1)
    else:
        assert (ended.code, status) == (-signal.SIGKILL, before)
    # What it read was paid for.
    assert status.credit == status.size - status.checked_size > 0

    (fake_path.directory / "gpg").unlink()
    went_on = finished(checks.start("third"))
    assert went_on.code == 1, went_on.out  # the damage is not read again within the day, and not forgotten
    assert checks.known() == {DAYS[0]: (True, ""), DAYS[1]: (True, ""), DAYS[2]: (False, "damaged")}
    status = checks.status
    assert (status.going, status.error, status.checked, status.damaged) == (False, "", 2, 1)
    assert ("the check before has died: execution 'first'" in went_on.out) is (number is signal.SIGKILL)
    assert json.loads(checks.backups.job.read_text())["encryption"]["passphrase"] not in went_on.out + ended.out
    assert_no_secret(checks)


def assert_no_secret(checks: Checks) -> None:
    """The records name no passphrase."""
    client = checks.server.client()
    listed: Any = client.list_objects_v2(Bucket=BUCKET, Prefix=f"verification/{checks.job}")["Contents"]
    records = [client.get_object(Bucket=BUCKET, Key=one["Key"])["Body"].read().decode() for one in listed]
    assert len(records) == 3  # status, ledger, lease
    assert not [record for record in records if "pass'phrase" in record]
