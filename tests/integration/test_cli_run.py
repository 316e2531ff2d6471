"""``backups run`` as a process: exit codes, output, the lock, and what a run leaves behind."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.servers.command_line import HOST, PASSPHRASE, CommandLine
from tests.servers.fake_path import FakePath
from tests.servers.slack import slack_server


def test_everything_stored_is_0_and_a_table(backups: CommandLine) -> None:
    ended = backups("run", backups.job)
    assert ended.code == 0, ended.err
    header, _, one, two = ended.out.splitlines()
    assert header.split() == ["source", "destination", "size", "seconds", "speed", "sha256", "verified"]
    assert one.split()[:2] == ["data", "one"]
    assert two.split()[:2] == ["data", "two"]
    copies = backups.copies(backups.one)
    assert [name.rpartition("/")[2] for name in copies] == ["data.tar.zst.gpg", "data.tar.zst.gpg.manifest.json"]
    assert copies == backups.copies(backups.two)
    assert backups.private_leftovers() == []


def test_json_is_the_report_and_nothing_else(backups: CommandLine) -> None:
    report = backups("run", backups.job, "--json").json()
    assert report["outcome"] == "stored"
    assert report["exit_code"] == 0
    assert [place["destination"] for place in report["results"][0]["destinations"]] == ["one", "two"]


def test_quiet_and_the_old_command_say_nothing_when_all_is_well(backups: CommandLine) -> None:
    old = backups.program.with_name("backup")
    for program, arguments in ((backups.program, ("run", "--quiet")), (old, ())):
        ended = backups(*arguments, backups.job, program=program)
        assert (ended.code, ended.out, ended.err) == (0, "", "")
    ended = backups("-v", backups.job, program=old)
    assert ended.code == 0
    assert "data" in ended.out
    backups.two.rename(backups.directory / "unplugged")
    ended = backups(backups.job, program=old)
    assert ended.code == 3
    assert ended.out == ""
    assert "error: data at two" in ended.err


def test_terminal_shows_progress_and_leaves_the_table(backups: CommandLine) -> None:
    shown, code = on_terminal(backups, "run", str(backups.job))
    assert code == 0, shown
    assert "\x1b[" in shown, "progress is drawn in place"
    assert "sha256" in shown
    assert "Traceback" not in shown


def on_terminal(backups: CommandLine, *arguments: str) -> tuple[str, int]:
    """What a terminal gets, and the exit code."""
    ours, theirs = pty.openpty()
    environment = {**backups.environment(), "TERM": "xterm"}
    argv = [str(backups.program), *arguments]
    process = subprocess.Popen(argv, env=environment, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # how Linux tells that nobody holds the other end any more
        while block := os.read(ours, 65536):
            shown += block
    os.close(ours)
    return shown.decode(), process.wait(60)


def test_one_destination_down_is_3_and_the_other_has_the_copy(backups: CommandLine) -> None:
    backups.two.rmdir()
    ended = backups("run", backups.job)
    assert ended.code == 3
    assert "error: data at two:" in ended.err
    assert "hint: " in ended.err
    assert len(backups.copies(backups.one)) == 2


def test_one_of_two_sources_failing_is_3(backups: CommandLine) -> None:
    missing = {"id": "gone", "type": "folder", "path": str(backups.directory / "gone")}
    backups.write_job(sources=[missing, backups.content()["sources"][0]])
    ended = backups("run", backups.job)
    assert ended.code == 3
    assert "error: gone: " in ended.err
    assert "does not exist" in ended.err


def test_nothing_stored_is_1(backups: CommandLine, fake_path: FakePath) -> None:
    fake_path.ends_with("tar", 2, stderr="tar: disk on fire")
    ended = backups("run", backups.job)
    assert ended.code == 1
    assert "disk on fire" in ended.err
    assert backups.copies(backups.one) == backups.copies(backups.two) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("run",), "JOB.json"),
        (("run", "absent.json"), "No such file"),
        (("run", "job.json", "--source", "nobody"), "the job has no source 'nobody'"),
        (("run", "job.json", "--surce", "data"), "--surce"),
        (("restore", "job.json", "data", "--to", "x", "--date", "yesterday"), "is no day"),
        (("list", "job.json", "--destination", "three"), "the job has no destination 'three'"),
        (("verify", "job.json", "--source", "nobody"), "the job has no source 'nobody'"),
        ((), "COMMAND"),
    ],
)
def test_bad_usage_is_2_and_touches_nothing(backups: CommandLine, arguments: tuple[str, ...], said: str) -> None:
    ended = backups(*arguments)
    assert ended.code == 2
    assert said in ended.err
    assert backups.copies(backups.one) == []


def test_bad_job_file_is_2_with_every_problem(backups: CommandLine) -> None:
    backups.write_job(sources=[{"id": "a", "type": "folder"}, {"id": "b", "type": "fodler"}])
    ended = backups("run", backups.job)
    assert ended.code == 2
    assert "sources[0].path: required for type 'folder'" in ended.err
    assert "did you mean 'folder'" in ended.err


def test_type_that_can_not_run_yet_is_refused_before_anything_is_touched(backups: CommandLine) -> None:
    flag = backups.directory / "flag"
    backups.write_job(
        modules=["later_type"],
        sources=[backups.content()["sources"][0], backups.later_source()],
        notifications=[{"type": "flagfile", "filename": str(flag)}],
    )
    for more in ((), ("--dry-run",)):
        ended = backups("run", backups.job, *more)
        assert ended.code == 2
        assert "sources[1]: type 'later' is understood but can't run yet" in ended.err
    assert backups.copies(backups.one) == []
    assert backups.private_leftovers() == []
    assert not flag.exists()


def test_only_the_chosen_sources_run(backups: CommandLine) -> None:
    other = {"id": "other", "type": "folder", "path": str(backups.data)}
    backups.write_job(sources=[backups.content()["sources"][0], other])
    report = backups("run", backups.job, "--json", "--source", "other").json()
    assert [result["source"] for result in report["results"]] == ["other"]


def test_sources_run_at_once_when_the_job_says_so(backups: CommandLine, fake_path: FakePath) -> None:
    """Each tar waits for the other one to be there, so one after the other would never end."""
    first, second = backups.directory / "first", backups.directory / "second"
    for fifo in (first, second):
        os.mkfifo(fifo)
    folders = [backups.directory / "f1", backups.directory / "f2"]
    for folder in folders:
        folder.mkdir()
        (folder / "x").write_text("x")
    fake_path.put(
        "tar",
        f"""case "$*" in
        *--version*) ;;
        *f1*) echo >'{first}'; read _ <'{second}';;
        *f2*) read _ <'{first}'; echo >'{second}';;
        esac
        exec "$REAL" "$@\"""",
    )
    sources = [{"id": folder.name, "type": "folder", "path": str(folder)} for folder in folders]
    backups.write_job(sources=sources, concurrency=2)
    assert backups("run", backups.job).code == 0


def test_dry_run_shows_what_would_be_stored_and_removed(backups: CommandLine) -> None:
    destinations = backups.content()["destinations"]
    destinations[0]["retention_copies"] = 1
    backups.write_job(destinations=destinations)
    backups.old_copy(backups.one)
    before = backups.copies(backups.directory)
    ended = backups("run", "--dry-run", backups.job, "--json")
    assert ended.code == 0, ended.err
    shown = ended.json()
    [item] = shown["plan"]["items"]
    at_one = {each["key"]: each["keep"] for each in shown["retention"] if each["destination"] == "one"}
    assert at_one == {item["key"]: True, f"{HOST}/2020-01-01/data.tar.gpg": False}
    table = backups("run", "--dry-run", backups.job).out
    assert "remove" in table
    assert item["key"] in table
    assert backups.copies(backups.directory) == before


def test_dry_run_says_what_the_run_then_does_with_copies_of_the_old_tool_too(backups: CommandLine) -> None:
    destinations = backups.content()["destinations"]
    destinations[0] |= {"retention_copies": 1, "retention_legacy": True}
    backups.write_job(destinations=destinations)
    backups.old_copy(backups.one)
    legacy = backups.one / "data" / "20200101-020000" / "data.tar.gpg"
    legacy.parent.mkdir(parents=True)
    legacy.write_text("old")
    os.utime(legacy, (0, 0))
    shown = backups("run", "--dry-run", backups.job, "--json").json()
    promised = {each["key"] for each in shown["retention"] if each["destination"] == "one" and not each["keep"]}
    assert promised == {f"{HOST}/2020-01-01/data.tar.gpg", "data/20200101-020000/data.tar.gpg"}
    before = {str(path.relative_to(backups.one)) for path in backups.one.rglob("*.gpg")}
    assert backups("run", backups.job).code == 0
    assert before - {str(path.relative_to(backups.one)) for path in backups.one.rglob("*.gpg")} == promised


def test_dry_run_with_a_destination_down_is_3(backups: CommandLine) -> None:
    backups.two.rmdir()
    ended = backups("run", "--dry-run", backups.job)
    assert ended.code == 3
    assert "two" in ended.err


def test_retention_runs_only_where_this_run_stored_a_copy(backups: CommandLine) -> None:
    destinations = [{**each, "retention_copies": 1} for each in backups.content()["destinations"]]
    backups.write_job(destinations=destinations)
    for place in (backups.one, backups.two):
        backups.old_copy(place)
    backups.data.rename(backups.directory / "away")
    assert backups("run", backups.job).code == 1
    assert len(backups.copies(backups.one)) == 1
    (backups.directory / "away").rename(backups.data)
    backups.two.rename(backups.directory / "unplugged")
    ended = backups("run", backups.job)
    assert ended.code == 3
    assert all("2020-01-01" not in name for name in backups.copies(backups.one))
    assert len(backups.copies(backups.directory / "unplugged")) == 1
    assert "removed 1" in ended.err


def test_notification_that_fails_is_told_and_changes_nothing(backups: CommandLine) -> None:
    flag = backups.directory / "no such directory" / "flag"
    backups.write_job(notifications=[{"id": "flag", "type": "flagfile", "filename": str(flag)}])
    ended = backups("run", backups.job)
    assert ended.code == 0
    assert "notification flag was not sent" in ended.err


def test_failure_is_told_by_notifications(backups: CommandLine) -> None:
    with slack_server() as slack:
        backups.write_job(
            sources=[{"id": "gone", "type": "folder", "path": str(backups.directory / "gone")}],
            notifications=[{"type": "slack", "url": slack.url}],
        )
        assert backups("run", backups.job).code == 1
        [message] = slack.messages
    assert "failed" in json.dumps(message)


def test_warning_of_a_source_is_shown(backups: CommandLine, fake_path: FakePath) -> None:
    fake_path.ends_with("tar", 1, stderr="tar: ./hello.txt: file changed as we read it")
    ended = backups("run", backups.job)
    assert ended.code == 0
    assert "warning: data: " in ended.err
    assert "file changed as we read it" in ended.err


def test_tmpdir_is_made_private_and_one_that_can_not_be_made_is_reported(backups: CommandLine) -> None:
    backups.write_job(tmpdir=str(backups.directory / "new"))
    assert backups("run", backups.job).code == 0
    assert (backups.directory / "new").stat().st_mode & 0o777 == 0o700
    flag = backups.directory / "flag"
    backups.write_job(
        tmpdir=str(backups.directory / "a" / "b"), notifications=[{"type": "flagfile", "filename": str(flag)}]
    )
    ended = backups("run", backups.job)
    assert ended.code == 1
    assert "tmpdir" in ended.err
    assert not flag.exists()


def test_no_secret_is_ever_shown(backups: CommandLine, fake_path: FakePath) -> None:
    """The passphrase in every form, and a secret that a child writes to its errors."""
    planted = "planted-51f0c3"
    fake_path.put("tar", f'echo "tar: {planted} $*" >&2; echo "{PASSPHRASE[:4]}"; exit 2')
    backups.env["PLANTED"] = planted
    backups.write_job(
        sources=[
            {
                "id": "data",
                "type": "folder",
                "path": str(backups.data),
                "passphrase": "{{resolve:env:PLANTED}}",
            },
            {"id": "more", "type": "folder", "path": str(backups.data)},
        ]
    )
    for more in (("-v",), ("--json",), ()):
        ended = backups("run", backups.job, *more)
        assert ended.code == 1
        shown = ended.out + ended.err
        assert "tar:" in shown
        assert planted not in shown
        assert PASSPHRASE not in shown
        assert json.dumps(PASSPHRASE)[1:-1] not in shown


def test_unexpected_error_is_one_line_and_a_traceback_only_with_v(backups: CommandLine) -> None:
    module = backups.directory / "broken_source.py"
    module.write_text(
        "from typing import ClassVar, Literal\n"
        "from backups.sources import SOURCES\n"
        "from backups.sources.base import Source\n"
        "class Broken(Source):\n"
        "    type: Literal['broken'] = 'broken'\n"
        "    @property\n"
        "    def extension(self): raise RuntimeError('bug with ' + self.passphrase.get_secret_value())\n"
        "    def open(self, context): raise NotImplementedError\n"
        "SOURCES.add(Broken)\n"
    )
    backups.env["PYTHONPATH"] = str(backups.directory)
    backups.write_job(
        modules=["broken_source"],
        sources=[{"id": "x", "type": "broken", "passphrase": "planted-7a7a"}],
        encryption=None,
    )
    ended = backups("run", backups.job)
    assert ended.code == 1
    assert "error: unexpected RuntimeError: bug with ****" in ended.err
    assert "Traceback" not in ended.err
    verbose = backups("run", "-v", backups.job)
    assert "Traceback" in verbose.err
    assert "planted-7a7a" not in verbose.err


def test_reader_of_the_output_that_goes_away_is_no_traceback(backups: CommandLine) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = backups.with_output("schema", to=writing)
    finally:
        os.close(writing)
    assert ended.code == 141
    assert ended.err == ""


def test_restores_what_it_stored_after_the_job_file_was_moved(backups: CommandLine) -> None:
    assert backups("run", backups.job).code == 0
    elsewhere = backups.directory / "elsewhere"
    elsewhere.mkdir()
    moved = backups.job.rename(elsewhere / "job.json")
    assert backups("restore", moved, "data", "--to", Path("back")).code == 0
    assert (backups.directory / "back" / "data" / "hello.txt").read_text() == "hello\n"
