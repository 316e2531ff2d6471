"""What channels were last told, kept in a file that may be missing, damaged, unreadable or not writable."""

from __future__ import annotations

import logging
import resource
from dataclasses import replace
from pathlib import Path

import pytest

from backups.context import Context
from backups.job import Job
from backups.notifying import Patience
from backups.outcomes import notify_here, outcomes_file
from backups.records import RunReport
from tests.unit.reports import FAILURE, SUCCESS
from tests.unit.test_notifying import Probe, job, probe

QUICK = Patience(retry_after=0, limit=30)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where state is kept."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def channel() -> Probe:
    """Hears of changes only."""
    return probe("changes", notify_on="change")


def nightly(*channels: Probe, path: str = "/etc/backups/nightly.json") -> Job:
    """A job that was read from a file."""
    return replace(job(*channels), path=Path(path))


def statuses(of: Job, context: Context, *nights: RunReport) -> list[tuple[str, ...]]:
    """What becomes of each channel's message, run by run."""
    return [tuple(a.status for a in notify_here(of, night, context, patience=QUICK)) for night in nights]


def test_changes_are_told_and_the_others_hear_of_every_run(context: Context, channel: Probe, state: Path) -> None:
    assert statuses(nightly(channel, probe("all")), context, SUCCESS, FAILURE, FAILURE, SUCCESS, SUCCESS) == [
        ("not wanted", "sent"),
        ("sent", "sent"),
        ("not wanted", "sent"),
        ("sent", "sent"),
        ("not wanted", "sent"),
    ]
    (file,) = (state / "backups").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_job_without_such_a_channel_leaves_no_file(context: Context, state: Path) -> None:
    assert statuses(nightly(probe()), context, FAILURE) == [("sent",)]
    assert not state.exists()


def test_two_job_files_of_one_name_do_not_mix(context: Context, channel: Probe) -> None:
    assert statuses(nightly(channel), context, FAILURE) == [("sent",)]
    assert statuses(nightly(channel, path="/srv/nightly.json"), context, FAILURE) == [("sent",)]
    assert statuses(nightly(channel), context, FAILURE) == [("not wanted",)]


def test_without_xdg_state_home_it_is_in_the_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for value in ("", "relative/path"):  # the latter is to be ignored
        monkeypatch.setenv("XDG_STATE_HOME", value)
        assert outcomes_file(nightly()).parent == tmp_path / ".local" / "state" / "backups"


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"[1]", b'{"changes": {"at": "never"}}', b'{"changes": 1'])
def test_a_damaged_file_is_told_and_written_anew(
    context: Context, channel: Probe, caplog: pytest.LogCaptureFixture, content: bytes
) -> None:
    of = nightly(channel)
    path = outcomes_file(of)
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert statuses(of, context, FAILURE, FAILURE) == [("sent",), ("not wanted",)]
    assert "it is damaged" in caplog.text


def test_a_place_that_can_not_be_used_stops_no_message(
    context: Context, channel: Probe, state: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state.write_text("a file, where the directory should be")
    assert statuses(nightly(channel), context, FAILURE, FAILURE) == [("sent",), ("sent",)]
    assert "can't be remembered" in caplog.text


def test_a_full_disk_leaves_the_file_as_it_was(
    context: Context, channel: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    of = nightly(channel)
    assert statuses(of, context, FAILURE) == [("sent",)]
    path = outcomes_file(of)
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, hard))  # the second byte is refused
    try:
        logging.disable()  # logs are files too
        answers = statuses(of, context, SUCCESS)
    finally:
        logging.disable(logging.NOTSET)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert answers == [("sent",)]
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_what_could_not_be_told_is_not_remembered(context: Context) -> None:
    broken = probe("changes", lambda _report: (_ for _ in ()).throw(RuntimeError("down")), notify_on="change")
    assert statuses(nightly(broken), context, FAILURE, FAILURE) == [("failed",), ("failed",)]


def test_no_secret_and_no_error_is_kept(context: Context, channel: Probe, state: Path) -> None:
    about = FAILURE.model_copy(update={"error": "planted-error"})
    statuses(nightly(probe("changes", notify_on="change", token="planted-token")), context, about)
    (file,) = (state / "backups").iterdir()
    assert "planted" not in file.read_text()
