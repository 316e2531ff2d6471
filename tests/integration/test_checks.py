"""Checks of real copies with real gpg: what changes or breaks while they are read, and what shows without the key."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

from backups.cloud.state import State
from backups.context import Context
from backups.destinations.local.destination import LocalDestination
from backups.errors import BackupsError, DestinationError
from backups.job import Job, load_job
from backups.progress import Progress
from backups.records import Result
from backups.verification.check import check_due
from backups.verification.ledger import Ledger
from backups.verification.status import Check, Verification
from backups.watching import Meter
from tests.integration.damage import bit_flipped, truncated
from tests.servers.command_line import HOST, CommandLine
from tests.servers.gpg_home import gpg_home

NOW = dt.datetime(2026, 11, 26, 12, 0, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@dataclass
class Memory:
    """Books, and whoever watches."""

    kept: dict[tuple[str, str], Ledger] = field(default_factory=dict)
    status: Verification | None = None
    statuses: list[Verification] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def ledgers(self, job: str) -> list[Ledger]:
        return list(self.kept.values())

    def put_ledger(self, job: str, ledger: Ledger) -> None:
        self.kept[ledger.where] = ledger

    def verification(self, job: str) -> Verification | None:
        return self.status

    def put_verification(self, verification: Verification) -> None:
        self.status = verification
        self.statuses.append(verification)

    def follow(self, what: Progress | Meter) -> nullcontext[None]:
        return nullcontext()

    def done(self, result: Result) -> None:
        raise AssertionError(result)

    def note(self, text: str) -> None:
        self.said.append(text)

    warn = note


def checked(job: Job, memory: Memory, tmp: Path, *, days: float = 0, **more: Any) -> dict[str, Check]:
    """A check so many days later; what it finds, by destination."""
    _, checks = check_due(job, memory, Context(tmpdir=tmp), memory, now=lambda: NOW + days * DAY, **more)
    return {check.destination: check for check in checks}


@pytest.fixture
def job(backups: CommandLine) -> Job:
    """A copy at each of two destinations; each check reads all of them."""
    backups.write_job(verification={"every_days": 1})
    assert backups("run", backups.job).code == 0
    return load_job(backups.job)


def copy_at(destination: Path) -> Path:
    [path] = destination.rglob("*.gpg")
    return path


def test_copies_that_retention_removed_drop_out_of_the_record(job: Job, backups: CommandLine, tmp_path: Path) -> None:
    memory = Memory()
    old = copy_at(backups.one).parent.with_name("2026-01-01")
    shutil.copytree(copy_at(backups.one).parent, old)
    manifest = copy_at(old).with_name("data.tar.zst.gpg.manifest.json")
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "key": f"{HOST}/2026-01-01/data.tar.zst.gpg"}))
    bit_flipped(copy_at(old))
    checked(job, memory, tmp_path)
    assert memory.status
    assert (memory.status.copies, memory.status.damaged) == (3, 1)
    shutil.rmtree(old)
    checked(job, memory, tmp_path, days=1)
    assert (memory.status.copies, memory.status.good) == (2, True)
    assert f"{HOST}/2026-01-01/data.tar.zst.gpg" not in memory.kept["data", "one"].copies


@pytest.mark.parametrize("gone", ["declared", "destinations"])
def test_what_the_job_names_no_more_is_forgotten_but_for_damage(
    job: Job, backups: CommandLine, tmp_path: Path, gone: str
) -> None:
    """A copy of another job's place may be there still, and nobody may take a damaged one for good."""
    memory = Memory()
    bit_flipped(copy_at(backups.two))
    checked(job, memory, tmp_path)
    less = replace(job, declared=()) if gone == "declared" else replace(job, destinations=())
    checked(less, memory, tmp_path, days=1)
    assert memory.status
    assert (memory.status.copies, memory.status.damaged) == (0, 0)
    assert {where[1]: len(ledger.copies) for where, ledger in memory.kept.items()} == {"one": 0, "two": 1}
    assert set(checked(job, memory, tmp_path, days=1)) == {"one", "two"}
    assert memory.status.damaged == 1


def test_damage_that_is_known_outlives_a_check_that_can_not_look(
    job: Job, backups: CommandLine, tmp_path: Path
) -> None:
    memory = Memory()
    bit_flipped(copy_at(backups.two))
    assert checked(job, memory, tmp_path)["two"].status == "damaged"
    backups.two.rename(backups.two.with_name("away"))
    assert set(checked(job, memory, tmp_path, days=1)) == {"one"}
    assert memory.status
    assert (memory.status.damaged, list(memory.status.left_out)) == (1, ["two"])


def test_damage_that_gpg_alone_finds_has_a_way_out(job: Job, backups: CommandLine, tmp_path: Path) -> None:
    bit_flipped(copy_at(backups.one))
    copy_at(backups.one).with_name("data.tar.zst.gpg.manifest.json").unlink()
    found = checked(job, Memory(), tmp_path)["one"]
    assert (found.status, found.hint) == ("damaged", "restore from another destination or date, and run the job again")


def test_damage_is_told_while_the_check_goes_on(job: Job, backups: CommandLine, tmp_path: Path) -> None:
    memory = Memory()
    bit_flipped(copy_at(backups.one))
    checked(job, memory, tmp_path)
    assert [(status.going, status.damaged, status.checked) for status in memory.statuses] == [
        (True, 0, 0),
        (True, 1, 1),
        (True, 1, 2),
        (False, 1, 2),
    ]


@contextmanager
def reading(monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]) -> Iterator[None]:
    """Whoever reads a copy meets a change and wrong bytes in the middle of it, once."""
    real, changes = LocalDestination.read, [change]

    def read(self: LocalDestination, key: str) -> Iterator[bytes]:
        for block in real(self, key):
            if key.endswith(".gpg") and changes:
                changes.pop()(Path(key))
                yield block[: len(block) // 2]
                yield b"\0" * (len(block) - len(block) // 2)
            else:
                yield block

    with monkeypatch.context() as patch:
        patch.setattr(LocalDestination, "read", read)
        yield
    assert not changes


def only_two(job: Job) -> Job:
    """The job with one destination."""
    return replace(job, destinations=job.destinations[1:])


def test_a_copy_that_is_replaced_while_it_is_read_is_no_damage(
    job: Job, backups: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory()
    with reading(monkeypatch, lambda _: assert_ran(backups)):
        found = checked(only_two(job), memory, tmp_path)
    assert {id_: check.status for id_, check in found.items()} == {"two": "ok"}


def assert_ran(backups: CommandLine) -> None:
    assert backups("run", backups.job).code == 0


def test_a_copy_that_is_removed_while_it_is_read_is_no_damage(
    job: Job, backups: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory()
    with reading(monkeypatch, lambda _: shutil.rmtree(backups.two / HOST)):
        assert checked(only_two(job), memory, tmp_path) == {}
    assert memory.status
    assert memory.status.damaged == 0


def test_a_destination_that_dies_in_the_middle_is_left_out(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory()

    def gone(*_: object) -> None:
        raise DestinationError("the connection is gone")

    def die(_: Path) -> None:
        monkeypatch.setattr(LocalDestination, "list", gone)
        gone()

    with reading(monkeypatch, die):
        assert checked(only_two(job), memory, tmp_path) == {}
    assert memory.status
    assert list(memory.status.left_out) == ["two"]
    assert (memory.status.damaged, memory.status.unreadable, memory.status.good) == (0, 0, False)


def test_after_its_time_a_check_begins_no_copy(job: Job, tmp_path: Path) -> None:
    memory = Memory()
    assert checked(job, memory, tmp_path, seconds=0) == {}
    assert memory.status
    assert (memory.status.copies, memory.status.checked, memory.status.good) == (2, 0, True)


def test_books_that_can_not_be_written_end_the_check(job: Job, tmp_path: Path) -> None:
    memory = Memory()

    def full(job: str, ledger: Ledger) -> None:
        raise BackupsError(f"no room for {job} {ledger.source}")

    memory.put_ledger = full  # type: ignore[method-assign]
    with pytest.raises(BackupsError, match="no room"):
        checked(job, memory, tmp_path)
    assert memory.status
    assert "no room" in memory.status.error
    assert not memory.status.good


def test_books_that_can_not_be_read_leave_the_status_as_it_was(job: Job, tmp_path: Path) -> None:
    memory = Memory()

    def denied(job: str) -> list[Ledger]:
        raise BackupsError(f"denied: {job}")

    memory.ledgers = denied  # type: ignore[method-assign]
    with pytest.raises(BackupsError, match="denied"):
        checked(job, memory, tmp_path)
    assert memory.statuses == []


@pytest.fixture
def for_a_key(backups: CommandLine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Job]:
    """Copies for a public key whose secret key is elsewhere."""
    with gpg_home() as owner:
        gpg = ["gpg", "--homedir", str(owner), "--batch", "--quiet"]
        subprocess.run([*gpg, "--passphrase", "", "--quick-gen-key", "b@example.org"], check=True, capture_output=True)
        key = subprocess.run([*gpg, "--armor", "--export"], check=True, capture_output=True).stdout.decode()
        (tmp_path / "empty").mkdir(mode=0o700)
        monkeypatch.setenv("GNUPGHOME", str(tmp_path / "empty"))
        (backups.data / "more").write_bytes(bytes(range(256)) * 4000)
        backups.write_job(encryption={"recipients": [key]}, compression="none", verification={"every_days": 1})
        assert backups("run", backups.job).code == 0
        yield load_job(backups.job)


def test_without_the_key_the_sha256_and_the_packets_are_checked(
    for_a_key: Job, backups: CommandLine, tmp_path: Path
) -> None:
    memory = Memory()
    bit_flipped(copy_at(backups.one))
    found = checked(for_a_key, memory, tmp_path)
    assert found["one"].status == "damaged"
    assert found["two"].checked == "size, sha256 and packets; not gpg, since the secret key is not on this machine"


def test_without_the_key_and_without_a_manifest_a_cut_still_shows(
    for_a_key: Job, backups: CommandLine, tmp_path: Path
) -> None:
    memory = Memory()
    for destination in (backups.one, backups.two):
        copy_at(destination).with_name("data.tar.gpg.manifest.json").unlink()
    content = copy_at(backups.one).read_bytes()
    copy_at(backups.one).write_bytes(content[: len(content) * 2 // 3])
    found = checked(for_a_key, memory, tmp_path)
    assert (found["one"].status, "ends in the middle of a packet" in found["one"].error) == ("damaged", True)
    assert found["two"].checked.endswith("there is no manifest")


def test_without_the_key_a_copy_newer_than_its_manifest_must_still_be_the_one_it_describes(
    for_a_key: Job, backups: CommandLine, tmp_path: Path
) -> None:
    memory = Memory()
    bit_flipped(copy_at(backups.one))
    for destination in (backups.one, backups.two):  # as if it was written again: its manifest is older
        copy_at(destination).write_bytes(copy_at(destination).read_bytes())
    found = checked(for_a_key, memory, tmp_path)
    assert (found["one"].status, found["two"].status) == ("damaged", "ok")
    assert "is not what its manifest describes" in found["one"].error


def test_the_state_bucket_keeps_what_was_found(job: Job, backups: CommandLine, tmp_path: Path) -> None:
    truncated(copy_at(backups.one))
    with mock_aws():
        boto3.client("s3", region_name="us-east-1").create_bucket(Bucket="state")
        state, memory = State("state"), Memory()
        context = Context(tmpdir=tmp_path)
        status, checks = check_due(job, state, context, memory)
        assert state.verification(job.name) == status
        assert {ledger.where for ledger in state.ledgers(job.name)} == {("data", "one"), ("data", "two")}
        assert {check.destination: check.status for check in checks} == {"one": "damaged", "two": "ok"}
        again, checks = check_due(job, state, context, memory)
        assert (again.damaged, again.copies, checks) == (1, 2, [])
