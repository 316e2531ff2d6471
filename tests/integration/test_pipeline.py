"""Every way a pass can end, with real children, real gpg and real directories."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.context import Context
from backups.errors import SourceError
from backups.fanout import Patience
from backups.naming import Compression
from backups.progress import Progress
from backups.records import Manifest, Outcome
from tests.integration.scripted import (
    ENDLESS,
    KEY,
    MANIFEST,
    PASSPHRASE,
    Faults,
    Hang,
    Setup,
    child_named,
    fail,
    nothing_left,
    python,
    shell,
    until,
)
from tests.servers.fake_path import FakePath

HEAD = "head -c 3000000 /dev/urandom"


@pytest.fixture
def setup(tmp_path: Path, context: Context) -> Iterator[Setup]:
    """Looks after each test whether anything goes on or stays."""
    with nothing_left(context):
        yield Setup(tmp_path, context)


def plain(path: Path, *undo: str) -> bytes:
    """What stock tools make of a copy."""
    decrypt = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", PASSPHRASE, "-d", str(path)]
    data = subprocess.run(decrypt, check=True, capture_output=True).stdout
    return subprocess.run(undo, input=data, check=True, capture_output=True).stdout if undo else data


def older_copy(setup: Setup, *names: str) -> dict[str, bytes]:
    """A copy of the same day that must stay until a new one is complete."""
    result = setup.run(shell("echo older"), *(setup.local(name) for name in names))
    assert result.outcome is Outcome.STORED
    return {name: (setup.path(name) / KEY).read_bytes() for name in names}


def assert_nothing_stored(setup: Setup, *names: str) -> None:
    for name in names:
        assert setup.files(name) == []


@pytest.mark.parametrize(
    ("compression", "suffix", "undo"),
    [("gpg", "", ()), ("none", "", ()), ("zstd", ".zst", ("zstd", "-d")), ("gzip", ".gz", ("gzip", "-d"))],
)
def test_every_compression_is_restored_with_stock_tools(
    setup: Setup, compression: str, suffix: str, undo: tuple[str, ...]
) -> None:
    source = shell("seq 1 300000; echo '-- Dump completed'", last_line="-- Dump completed\n")
    result = setup.run(source, setup.local("a"), setup.local("b"), compression=compression)
    assert (result.outcome, result.error) == (Outcome.STORED, "")
    expected = "".join(f"{number}\n" for number in range(1, 300001)).encode() + b"-- Dump completed\n"
    key = f"host/2026-11-23/data.sql{suffix}.gpg"
    assert result.key == key
    assert result.plain_size == len(expected)
    for name in "ab":
        copy = setup.path(name) / key
        assert plain(copy, *undo) == expected
        assert hashlib.sha256(copy.read_bytes()).hexdigest() == result.sha256
        assert copy.stat().st_size == result.size
        manifest = Manifest.model_validate_json((setup.path(name) / f"{key}.manifest.json").read_bytes())
        assert (manifest.sha256, manifest.size, manifest.plain_size) == (result.sha256, result.size, len(expected))
        assert manifest.compression == compression
        assert {"gpg", "python", *({compression} & {"zstd", "gzip"})} <= set(manifest.tools)
        assert setup.objects(name) == [key, f"{key}.manifest.json"]
    if compression != "none":
        assert result.size < len(expected) / 2


def test_megabytes_pass_unchanged_and_progress_counts_them(setup: Setup) -> None:
    progress = Progress("data")
    script = "import sys; [sys.stdout.buffer.write(bytes([i % 251]) * 1000003) for i in range(40)]"
    result = setup.run(python(script), setup.local("a"), progress=progress)
    assert plain(setup.path("a") / KEY) == b"".join(bytes([number]) * 1000003 for number in range(40))
    shown = progress.snapshot()
    assert (shown.phase, shown.plain_bytes, shown.encrypted_bytes) == ("stored", 40000120, result.size)
    assert [(lane.destination, lane.bytes, lane.state) for lane in shown.lanes] == [("a", result.size, "stored")]


def test_a_megabyte_on_stderr_of_the_source_does_not_block(setup: Setup) -> None:
    result = setup.run(shell(f"head -c 1000000 /dev/zero >&2; {HEAD}"), setup.local("a"))
    assert result.outcome is Outcome.STORED


def test_a_slow_source_is_waited_for(setup: Setup) -> None:
    source = shell("printf a; sleep 0.3; printf b; sleep 0.3; printf c")
    assert setup.run(source, setup.local("a")).outcome is Outcome.STORED
    assert plain(setup.path("a") / KEY) == b"abc"


@pytest.mark.parametrize("compression", list(Compression))
@pytest.mark.parametrize(
    ("script", "says"),
    [
        (f"{HEAD}; echo 'the last table is gone' >&2; exit 1", "sh ended with exit status 1: the last table is gone"),
        (f"{HEAD}; kill -9 $$", "sh was killed by SIGKILL"),
        ("exit 0", "the source gave no data at all"),
        ("exit 3", "sh ended with exit status 3"),
    ],
)
def test_a_source_that_was_not_whole_leaves_what_was_there(
    setup: Setup, compression: Compression, script: str, says: str
) -> None:
    before = older_copy(setup, "a")
    result = setup.run(shell(script), setup.local("a"), setup.local("b"), compression=compression)
    assert result.outcome is Outcome.FAILED
    assert result.error == says
    assert (result.key, result.destinations) == ("", ())
    assert (setup.path("a") / KEY).read_bytes() == before["a"]
    assert setup.objects("a") == [KEY, MANIFEST]
    assert setup.files("a") == [KEY, MANIFEST]
    assert_nothing_stored(setup, "b")


def test_a_dump_without_its_last_line_is_not_stored(setup: Setup) -> None:
    source = shell("echo data", last_line="-- Dump completed\n")
    result = setup.run(source, setup.local("a"))
    assert result.outcome is Outcome.FAILED
    assert result.error == "the dump of 5 bytes does not end with '-- Dump completed\n'"
    assert_nothing_stored(setup, "a")


@pytest.mark.parametrize("compression", ["none", "zstd", "gzip"])
def test_gpg_killed_in_the_middle_is_what_the_error_names(setup: Setup, compression: str) -> None:
    run = setup.start(shell(ENDLESS), setup.local("a"), setup.local("b"), compression=compression)
    os.kill(child_named("gpg"), signal.SIGKILL)
    result = run.result()
    assert (result.outcome, result.error) == (Outcome.FAILED, "gpg was killed by SIGKILL")
    assert_nothing_stored(setup, "a", "b")


@pytest.mark.parametrize(("compression", "program"), [("zstd", "zstd"), ("gzip", "pigz")])
def test_a_compressor_killed_in_the_middle_is_what_the_error_names(
    setup: Setup, fake_path: FakePath, compression: str, program: str
) -> None:
    fake_path.put("pigz", "exec gzip -c")  # the name counts, whether pigz is installed or not
    run = setup.start(shell(ENDLESS), setup.local("a"), compression=compression)
    os.kill(child_named("gzip" if compression == "gzip" else program), signal.SIGKILL)
    result = run.result()
    assert (result.outcome, result.error) == (Outcome.FAILED, f"{program} was killed by SIGKILL")
    assert_nothing_stored(setup, "a")


def test_a_silent_source_does_not_hide_that_gpg_died(setup: Setup) -> None:
    run = setup.start(shell("printf a; exec sleep 1000"), setup.local("a"))
    os.kill(child_named("gpg"), signal.SIGKILL)
    assert run.result().error == "gpg was killed by SIGKILL"


@pytest.mark.parametrize("program", ["gpg", "zstd"])
def test_a_stage_that_stops_reading_and_says_that_all_is_well_is_a_failure(
    setup: Setup, fake_path: FakePath, program: str
) -> None:
    other = '"$REAL" "$@" </dev/null; ' if program == "zstd" else ""
    fake_path.put(program, f'[ "$*" = --version ] && exec "$REAL" --version\n{other}head -c 1000; exit 0')
    result = setup.run(shell(HEAD), setup.local("a"), compression="zstd" if program == "zstd" else "none")
    assert result.outcome is Outcome.FAILED
    assert result.error == "a stage ended with status 0 before it had read all of the data"
    assert_nothing_stored(setup, "a")


def test_a_stage_that_fails_after_its_last_byte_is_a_failure(setup: Setup, fake_path: FakePath) -> None:
    fake_path.ends_with("zstd", 1, stderr="zstd: write error")
    result = setup.run(shell(HEAD), setup.local("a"), compression="zstd")
    assert result.error == "zstd ended with exit status 1: zstd: write error"
    assert_nothing_stored(setup, "a")


def test_a_missing_compressor_is_named(setup: Setup, fake_path: FakePath) -> None:
    fake_path.only("gpg", "sh", "head")
    result = setup.run(shell(HEAD), setup.local("a"), compression="zstd")
    assert (result.error, result.hint) == ("zstd is not installed", "install the package zstd or correct PATH")
    assert_nothing_stored(setup, "a")


def test_a_source_that_takes_longer_than_its_limit_is_ended(setup: Setup) -> None:
    result = setup.run(shell("printf a; sleep 1000"), setup.local("a"), time_limit=1)
    assert result.error == "reading took longer than 1 s and was given up"
    assert "time_limit" in result.hint
    assert_nothing_stored(setup, "a")


def test_the_limit_also_ends_a_source_that_never_stops_writing(setup: Setup) -> None:
    result = setup.run(shell(ENDLESS), setup.local("a"), time_limit=1)
    assert result.error == "reading took longer than 1 s and was given up"
    assert_nothing_stored(setup, "a")


def test_a_grandchild_that_holds_the_pipe_ends_with_the_limit(setup: Setup) -> None:
    result = setup.run(shell("sleep 1000 2>/dev/null & printf a"), setup.local("a"), time_limit=1)
    assert result.error == "reading took longer than 1 s and was given up"
    assert_nothing_stored(setup, "a")


def test_a_source_that_can_not_be_opened_leaves_nothing(setup: Setup) -> None:
    source = shell("echo a", faults=Faults(open_source=fail("no such table", SourceError)))
    result = setup.run(source, setup.local("a"))
    assert (result.outcome, result.error) == (Outcome.FAILED, "no such table")
    assert_nothing_stored(setup, "a")


def test_an_unforeseen_error_is_a_failure_that_names_it(setup: Setup) -> None:
    source = shell("echo a", faults=Faults(open_source=fail("what now", ZeroDivisionError)))
    result = setup.run(source, setup.local("a"))
    assert (result.outcome, result.error) == (Outcome.FAILED, "unexpected ZeroDivisionError: what now")
    assert_nothing_stored(setup, "a")


def test_two_sources_at_once_do_not_meet(setup: Setup) -> None:
    runs = [setup.start(shell(f"echo {id_}", id=id_), setup.local("a"), setup.local("b")) for id_ in ("one", "two")]
    assert [run.result().outcome for run in runs] == [Outcome.STORED] * 2
    for id_ in ("one", "two"):
        assert plain(setup.path("b") / f"host/2026-11-23/{id_}.sql.gpg") == f"{id_}\n".encode()


class TestStopped:
    """A signal may come in any phase."""

    @pytest.fixture(autouse=True)
    def _impatient(self, setup: Setup) -> None:
        setup.patience = Patience(abort=0.2)

    def test_before_the_source_is_opened(self, setup: Setup) -> None:
        setup.context.cancel.set(signal.SIGTERM)
        result = setup.run(
            shell("echo a", faults=Faults(open_source=fail("was opened", SourceError))), setup.local("a")
        )
        assert (result.outcome, result.error) == (Outcome.FAILED, "stopped")
        assert_nothing_stored(setup, "a")

    def test_while_the_source_is_opened(self, setup: Setup) -> None:
        opening = Hang()
        faults = Faults(open_source=opening)
        run = setup.start(shell("echo a", faults=faults), setup.local("a"))
        assert faults.reached("open source").wait(30)
        setup.context.cancel.set(signal.SIGTERM)
        opening.release()
        assert run.result().error == "stopped"
        assert_nothing_stored(setup, "a")

    @pytest.mark.parametrize("script", [ENDLESS, "printf a; exec sleep 1000", "exec sleep 1000"])
    def test_while_streaming(self, setup: Setup, script: str) -> None:
        before = older_copy(setup, "a")
        run = setup.start(shell(script), setup.local("a"), setup.local("b"), compression="zstd")
        child_named("gpg")
        setup.context.cancel.set(signal.SIGINT)
        result = run.result()
        assert (result.outcome, result.error, result.destinations) == (Outcome.FAILED, "stopped", ())
        assert (setup.path("a") / KEY).read_bytes() == before["a"]
        assert setup.files("a") == [KEY, MANIFEST]
        assert_nothing_stored(setup, "b")

    @pytest.mark.parametrize("step", ["connect", "create", "write"])
    def test_while_a_destination_hangs(self, setup: Setup, step: str) -> None:
        hang = Hang()
        faults = Faults(**{step: hang})
        run = setup.start(shell(ENDLESS), setup.faulty("a", faults), setup.local("b"))
        assert faults.reached(step).wait(30)
        setup.context.cancel.set(signal.SIGTERM)
        assert run.result().error == "stopped"
        assert setup.objects("a") == setup.objects("b") == []
        hang.release()
        until(lambda: setup.files("a") == [])
        assert_nothing_stored(setup, "b")

    def test_while_committing(self, setup: Setup) -> None:
        """What is committed already stays, without a manifest: so it does not count as verified."""
        hang = Hang()
        faults = Faults(commit=[hang])
        run = setup.start(shell(HEAD), setup.faulty("a", faults), setup.local("b"))
        assert faults.reached("commit").wait(30)
        until(lambda: setup.objects("b"))
        setup.context.cancel.set(signal.SIGTERM)
        result = run.result()
        assert (result.outcome, result.error) == (Outcome.FAILED, "stopped")
        assert setup.objects("a") == []
        assert setup.objects("b") == [KEY]
        hang.release()
        until(lambda: setup.files("a") in ([], [KEY]))

    def test_while_a_second_chance_is_taken(self, setup: Setup) -> None:
        reading = Hang()
        good = Faults(read=[reading])
        run = setup.start(shell(HEAD), setup.faulty("a", good), setup.faulty("b", Faults(create=[fail()])))
        assert good.reached("read").wait(30)
        setup.context.cancel.set(signal.SIGTERM)
        reading.release()
        result = run.result()
        assert result.outcome is Outcome.PARTIAL
        assert setup.objects("a") == [KEY, MANIFEST]
        assert_nothing_stored(setup, "b")

    def test_while_a_manifest_is_written(self, setup: Setup) -> None:
        """What has its manifest already is stored, and the result says so."""
        hang = Hang()
        faults = Faults(commit_manifest=[hang])
        run = setup.start(shell(HEAD), setup.faulty("a", faults), setup.local("b"))
        assert faults.reached("commit manifest").wait(30)
        until(lambda: MANIFEST in setup.objects("b"))
        setup.context.cancel.set(signal.SIGTERM)
        result = run.result()
        assert result.outcome is Outcome.PARTIAL
        assert result.error == "a: the copy is there, but not its manifest: was aborted before its commit"
        hang.release()
        until(lambda: not [file for file in setup.files("a") if ".partial" in file])
