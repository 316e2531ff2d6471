from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.commands import STDERR_LINES, Command, environment, version_of
from backups.errors import CommandError
from tests.contract.streams import children
from tests.integration.scripted import until
from tests.servers.fake_path import FakePath


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    before = set(children())
    yield
    until(lambda: not {pid for pid in children() if pid not in before})


def sh(script: str, **options: object) -> Command:
    return Command(["sh", "-c", script], **options)  # type: ignore[arg-type]


def finished(command: Command) -> tuple[bytes, CommandError | list[str]]:
    """All of the output, and what waiting gave."""
    try:
        output = command.stdout.read()
        try:
            return output, command.wait(30)
        except CommandError as error:
            return output, error
    finally:
        command.close()


def zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_end_of_file_with_status_0_is_the_whole_output() -> None:
    assert finished(sh("printf abc")) == (b"abc", [])


@pytest.mark.parametrize("status", [1, 2, 3, 100, 127, 255])
def test_any_other_status_is_an_error_though_all_output_came(status: int) -> None:
    output, error = finished(sh(f"printf abc; echo why >&2; exit {status}"))
    assert output == b"abc"
    assert isinstance(error, CommandError)
    assert error.status == status
    assert error.message == f"sh ended with exit status {status}: why"


def test_a_status_that_is_only_a_warning_is_told_with_what_stderr_says() -> None:
    command = sh("echo 'tar: a: file changed as we read it' >&2; exit 1", warnings={1: "some files changed"})
    assert finished(command)[1] == ["some files changed: tar: a: file changed as we read it"]


def test_another_status_than_the_warning_is_an_error() -> None:
    assert isinstance(finished(sh("exit 2", warnings={1: "some files changed"}))[1], CommandError)


@pytest.mark.parametrize(("number", "name"), [(9, "SIGKILL"), (15, "SIGTERM"), (11, "SIGSEGV")])
def test_a_killed_child_is_an_error_that_names_the_signal(number: int, name: str) -> None:
    output, error = finished(sh(f"ulimit -c 0; printf abc; kill -{number} $$"))
    assert output == b"abc"
    assert isinstance(error, CommandError)
    assert error.status == -number
    assert error.message == f"sh was killed by {name}"


def test_a_missing_program_is_named_with_the_package_to_install(fake_path: FakePath) -> None:
    fake_path.only("sh")
    with pytest.raises(CommandError, match="mysqldump is not installed") as caught:
        Command(["mysqldump", "--all-databases"])
    assert caught.value.status == 127
    assert "mariadb-client" in caught.value.hint


def test_a_program_that_may_not_run_is_an_error_that_says_so(tmp_path: Path) -> None:
    program = tmp_path / "tar"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o644)
    with pytest.raises(CommandError, match="tar could not be started: Permission denied") as caught:
        Command([str(program)])
    assert caught.value.status == 126


def test_something_that_is_no_program_is_an_error(tmp_path: Path) -> None:
    program = tmp_path / "tar"
    program.write_bytes(b"\x7fELF nonsense")
    program.chmod(0o755)
    with pytest.raises(CommandError, match="could not be started: Exec format error"):
        Command([str(program)])


def test_a_megabyte_on_stderr_does_not_block_and_only_the_last_lines_are_told() -> None:
    script = 'i=0; while [ $i -lt 20000 ]; do echo "line $i of the many errors on stderr, 50 bytes"; i=$((i+1)); done'
    output, error = finished(sh(f"{{ {script}; }} >&2; printf abc; exit 1"))
    assert output == b"abc"
    assert isinstance(error, CommandError)
    lines = error.message.splitlines()
    assert len(lines) == STDERR_LINES
    assert lines[-1].startswith("line 19999 ")


def test_a_megabyte_on_stderr_without_a_newline_does_not_block() -> None:
    output, error = finished(sh("head -c 1000000 /dev/zero | tr '\\0' x >&2; printf abc; exit 1"))
    assert output == b"abc"
    assert isinstance(error, CommandError)
    assert error.message == "sh ended with exit status 1: 1000000 bytes on stderr without a line that could be shown"


def test_no_part_of_a_secret_stays_where_the_kept_stderr_was_cut() -> None:
    secret = "hunter2-" * 2_000  # so long that the kept end surely begins within it
    command = sh('read secret; for i in 1 2 3; do echo "bad: $secret" >&2; done; echo end >&2; exit 1', stdin=-1)
    command.stdin.write(secret.encode() + b"\n")
    command.stdin.close()
    error = finished(command)[1]
    assert isinstance(error, CommandError)
    assert "hunter2" not in error.message.replace(secret, "")
    assert error.message.endswith("end")


def test_bytes_that_are_no_text_do_not_break_the_error() -> None:
    error = finished(sh("printf '\\377\\376 bad\\n' >&2; exit 1"))[1]
    assert isinstance(error, CommandError)
    assert error.message.endswith("bad")


def test_a_grandchild_that_keeps_stderr_open_does_not_delay_the_end_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backups.commands.DRAIN_SECONDS", 0.05)
    assert finished(sh("sleep 1000 >/dev/null & printf abc")) == (b"abc", [])


def test_closing_ends_grandchildren_of_a_child_that_ended_well() -> None:
    command = sh("sleep 1000 >/dev/null 2>&1 & echo $!")
    grandchild = int(command.stdout.read())
    assert command.wait(30) == []
    assert Path(f"/proc/{grandchild}").exists()
    command.close()
    until(lambda: not Path(f"/proc/{grandchild}").exists() or zombie(grandchild))


def test_killing_ends_a_pipe_that_only_a_grandchild_holds() -> None:
    command = sh("sleep 1000 2>/dev/null & exit 0")
    command.wait(30)
    command.kill()
    assert command.stdout.read() == b""
    command.close()


def test_killing_ends_the_whole_group() -> None:
    command = sh("sleep 1000 & echo $!; wait")
    grandchild = int(command.stdout.readline())
    command.kill()
    until(lambda: not Path(f"/proc/{grandchild}").exists() or zombie(grandchild))
    command.kill()
    command.close()


def test_closing_leaves_no_zombie_and_may_be_done_twice() -> None:
    command = sh("sleep 1000")
    pid = command.process.pid
    command.close()
    assert not Path(f"/proc/{pid}").exists()
    command.close()
    command.kill()


def test_a_child_that_was_not_closed_keeps_its_number() -> None:
    command = sh("exit 3")
    with pytest.raises(CommandError):
        command.wait(30)
    assert zombie(command.process.pid), "so that killing the group can't hit another process"
    with pytest.raises(CommandError, match="exit status 3"):
        command.wait(30)
    command.close()
    with pytest.raises(CommandError, match="exit status 3"):
        command.wait(30)


def test_a_child_that_does_not_end_in_time_is_killed() -> None:
    command = sh("exec sleep 1000")
    with pytest.raises(CommandError, match="sh did not end within 0 s"):
        command.wait(0.05)
    with pytest.raises(CommandError, match="SIGKILL"):
        command.wait(30)
    command.close()


def test_no_secret_of_this_process_is_in_the_environment_of_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PASSPHRASE", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MYSQL_PWD", "PGPASSWORD"):
        monkeypatch.setenv(name, "planted-secret")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    output, _ = finished(Command([sys.executable, "-S", "-c", script], env={"PGPASSFILE": "/x"}))
    seen = json.loads(output)
    assert "planted-secret" not in seen.values()
    assert seen["LC_ALL"] == "C.UTF-8"
    assert seen["PGPASSFILE"] == "/x"
    assert seen["PATH"] == os.environ["PATH"]


def test_only_the_descriptors_that_were_passed_reach_a_child() -> None:
    reader, writer = os.pipe()
    try:
        output, _ = finished(Command(["ls", "/proc/self/fd"], pass_fds=(reader,)))
    finally:
        os.close(reader)
        os.close(writer)
    assert set(output.split()) == {b"0", b"1", b"2", b"3", str(reader).encode()} | (set() if reader > 3 else {b"4"})


def test_a_child_has_a_group_of_its_own_so_that_ctrl_c_reaches_only_us() -> None:
    command = sh("exec sleep 1000")
    assert os.getpgid(command.process.pid) == command.process.pid != os.getpgid(0)
    command.close()


def test_a_failing_child_never_looks_well_where_the_kernel_takes_the_status() -> None:
    """A parent may have left SIGCHLD ignored: then every status is lost, and subprocess would say 0."""
    script = """
        from backups.commands import Command
        from backups.errors import CommandError
        command = Command(["false"])
        try:
            print(command.wait())
        except CommandError as error:
            print(error)
        command.close()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    )
    assert done.stdout.startswith("false ended, but its exit status was lost")


def test_the_environment_takes_only_what_programs_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    assert "SECRET" not in environment()
    assert environment({"A": "b"})["A"] == "b"


def test_the_version_of_a_program_is_its_first_line() -> None:
    assert version_of(["sh", "-c", "echo one; echo two"]) == "one"
    assert version_of(["no-such-program"]) == ""
