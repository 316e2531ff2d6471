"""Ctrl-C, SIGTERM, kill -9 and a second run: nothing visible, nothing left, and the next run succeeds."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.servers.command_line import Blocking, CommandLine, finished, is_running
from tests.servers.fake_path import FakePath
from tests.servers.slack import slack_server

_TAR = """case "$*" in *--create*) ;; *) exec "$REAL" "$@";; esac
"""


@pytest.fixture
def blocking_tar(backups: CommandLine, fake_path: FakePath) -> Blocking:
    """A tar that gives 3 MB and then nothing more, so that a run is in the middle of storing."""
    blocking = Blocking(backups.directory)
    fake_path.put("tar", _TAR + blocking.script("head -c 3000000 /dev/urandom"))
    return blocking


@pytest.mark.parametrize(
    ("signals", "code"),
    [
        ((signal.SIGINT,), 130),
        ((signal.SIGTERM,), 143),
        ((signal.SIGHUP,), 143),
        ((signal.SIGINT, signal.SIGINT, signal.SIGINT), 130),
    ],
    ids=["ctrl-c", "sigterm", "sighup", "three times ctrl-c"],
)
def test_signal_leaves_nothing_and_is_told(
    backups: CommandLine, blocking_tar: Blocking, signals: tuple[signal.Signals, ...], code: int
) -> None:
    with slack_server() as slack:
        backups.write_job(notifications=[{"type": "slack", "url": slack.url}])
        with backups.started("run", backups.job) as process:
            child = blocking_tar.wait(process)
            ended = finished(process, *signals)
        assert ended.code == code
        assert "stopped" in ended.err
        assert "Traceback" not in ended.err
        assert not is_running(child)
        [message] = slack.messages
    assert "stopped" in str(message)
    assert backups.copies(backups.one) == backups.copies(backups.two) == []
    assert backups.private_leftovers() == []


def test_signal_before_the_second_source_keeps_the_first_and_never_starts_the_second(
    backups: CommandLine, fake_path: FakePath
) -> None:
    blocking = Blocking(backups.directory)
    stuck, never = backups.directory / "stuck", backups.directory / "never"
    for folder in (stuck, never):
        folder.mkdir()
    fake_path.put("tar", f'case "$*" in *line/stuck*) ;; *) exec "$REAL" "$@";; esac\n{blocking.script()}')
    folders = [{"id": path.name, "type": "folder", "path": str(path)} for path in (backups.data, stuck, never)]
    backups.write_job(sources=folders)
    with backups.started("run", backups.job, "--json") as process:
        blocking.wait(process)
        ended = finished(process, signal.SIGTERM)
    assert ended.code == 143
    report = ended.json()
    assert report["outcome"] == "partial"
    assert [result["outcome"] for result in report["results"]] == ["stored", "failed", "failed"]
    assert "before this source began" in report["results"][2]["error"]
    names = [Path(name).name for name in backups.copies(backups.one)]
    assert names == ["data.tar.zst.gpg", "data.tar.zst.gpg.manifest.json"]


def test_retention_is_left_out_once_stopped(backups: CommandLine, fake_path: FakePath) -> None:
    """What a stopped run would remove, the next one removes."""
    backups.write_job(
        sources=[
            *backups.content()["sources"],
            {"id": "stuck", "type": "folder", "path": str(backups.directory)},
        ],
        destinations=[{"id": "one", "type": "local", "path": str(backups.one), "retention_copies": 1}],
    )
    old = backups.old_copy(backups.one)
    blocking = Blocking(backups.directory)
    data = 'case "$*" in *line/data*) exec "$REAL" "$@";; esac\n'
    fake_path.put("tar", _TAR + data + blocking.script())
    with backups.started("run", backups.job) as process:
        blocking.wait(process)
        assert finished(process, signal.SIGTERM).code == 143
    assert old.exists()
    assert len(backups.copies(backups.one)) == 3


def test_after_kill_9_the_next_run_succeeds_and_cleans_up(
    backups: CommandLine, blocking_tar: Blocking, fake_path: FakePath
) -> None:
    with backups.started("run", backups.job) as process:
        child = blocking_tar.wait(process)
        process.kill()
        process.wait()
        os.kill(child, signal.SIGKILL)  # the stand-in waits for ever; the real one ends at its closed pipe
    assert backups.private_leftovers() != []
    visible = [name for name in backups.copies(backups.one) if not Path(name).name.startswith(".")]
    assert visible == []
    (fake_path.directory / "tar").unlink()
    ended = backups("run", backups.job)
    assert ended.code == 0, ended.err
    assert backups.private_leftovers() == []
    assert len(backups.copies(backups.one)) == 2
    assert backups("verify", backups.job).code == 0


def test_second_run_at_the_same_time_says_so_and_touches_nothing(
    backups: CommandLine, blocking_tar: Blocking, fake_path: FakePath
) -> None:
    with slack_server() as slack:
        backups.write_job(notifications=[{"type": "slack", "url": slack.url}])
        with backups.started("run", backups.job) as process:
            blocking_tar.wait(process)
            (fake_path.directory / "tar").unlink()
            second = backups("run", backups.job)
            assert second.code == 1
            assert "another run of" in second.err
            assert "still going on this machine" in second.err
            [message] = slack.messages
            assert "still going" in str(message)
            report = backups("run", backups.job, "--json").json()
            assert (report["outcome"], report["results"]) == ("skipped", [])
            visible = [name for name in backups.copies(backups.one) if not Path(name).name.startswith(".")]
            assert visible == []
            assert backups("list", backups.job).code == 0, "reading is allowed meanwhile"
            assert finished(process, signal.SIGTERM).code == 143
        assert backups("run", backups.job).code == 0


def test_two_jobs_run_at_the_same_time(backups: CommandLine, blocking_tar: Blocking, fake_path: FakePath) -> None:
    with backups.started("run", backups.job) as process:
        blocking_tar.wait(process)
        (fake_path.directory / "tar").unlink()
        other = backups.job.with_name("other.json")
        other.write_bytes(backups.job.read_bytes())
        assert backups("run", other).code == 0
        assert "backups-" in backups.private_leftovers()[0], "the first run's private files stay"
        assert finished(process, signal.SIGTERM).code == 143


def test_signals_that_the_caller_ignores_stay_ignored(
    backups: CommandLine, blocking_tar: Blocking, fake_path: FakePath
) -> None:
    """As under nohup: the terminal goes, the run goes on."""
    fake_path.put("nohup-backups", f"trap '' HUP\nexec {backups.program} \"$@\"")
    with backups.started("run", backups.job, program=fake_path.directory / "nohup-backups") as process:
        blocking_tar.wait(process)
        process.send_signal(signal.SIGHUP)
        assert finished(process, signal.SIGTERM).code == 143


@pytest.mark.parametrize("command", ["verify", "restore"])
def test_reading_back_can_be_stopped(backups: CommandLine, fake_path: FakePath, command: str) -> None:
    assert backups("run", backups.job).code == 0
    blocking = Blocking(backups.directory)
    fake_path.put("gpg", f'case "$*" in *--decrypt*) ;; *) exec "$REAL" "$@";; esac\n{blocking.script("true")}')
    more = ["data", "--to", "back"] if command == "restore" else []
    with backups.started(command, backups.job, *more) as process:
        child = blocking.wait(process)
        ended = finished(process, signal.SIGINT)
    assert ended.code == 130
    assert not is_running(child)
    assert not (backups.directory / "back").exists()
    assert list(backups.directory.glob(".restore-*")) == []
    assert backups.private_leftovers() == []
