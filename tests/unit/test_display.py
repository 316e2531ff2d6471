"""What the command line shows, and what it must not show."""

from __future__ import annotations

import logging
import threading

import pytest

from backups import display as module
from backups.display import Display, clock, printable, rate, table
from backups.errors import BackupsError, JobError
from backups.progress import Progress
from backups.secrets import Scrubber
from backups.watching import Meter

SECRET = "planted-8d1f"


@pytest.fixture
def scrub() -> Scrubber:
    scrubber = Scrubber()
    scrubber.add(SECRET)
    return scrubber


def test_table_is_aligned_whatever_its_cells_hold() -> None:
    shown = table(("name", "size"), [("日本", "1"), ("a\nb\x1b[31m", "1234567")], right=("size",))
    assert shown.splitlines() == [
        "name         size",
        "--------  -------",
        "日本            1",
        "a b?[31m  1234567",
    ]


def test_nothing_steers_the_terminal() -> None:
    assert printable("a\x1b]0;title\x07\tb\nc\udcff\u202e") == "a?]0;title? b\nc??"


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0.0, "0:00"), (59.9, "0:59"), (61.0, "1:01"), (3_661.0, "1:01:01"), (90_000.0, "25:00:00")]
)
def test_clock(seconds: float, shown: str) -> None:
    assert clock(seconds) == shown


def test_rate_of_no_time_is_nothing() -> None:
    assert rate(1 << 20, 0.5) == "2.0 MB/s"
    assert rate(1, 0) == ""


def test_secrets_are_masked_everywhere(scrub: Scrubber, capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(scrub)
    display.out(f"out {SECRET}")
    display.note(f"note {SECRET}")
    display.warn(f"warn {SECRET}")
    display.error(BackupsError(f"error {SECRET}", hint=f"hint {SECRET}"))
    display.error(JobError([f"one {SECRET}", f"two {SECRET}"]))
    shown = capsys.readouterr()
    assert SECRET not in shown.out + shown.err
    assert shown.out == "out ****\n"
    assert shown.err.splitlines() == [
        "note ****",
        "warning: warn ****",
        "error: error ****",
        "hint: hint ****",
        "error: one ****",
        "error: two ****",
    ]


def test_quiet_shows_only_what_is_wrong(scrub: Scrubber, capsys: pytest.CaptureFixture[str]) -> None:
    display = Display(scrub, "quiet")
    display.note("note")
    display.warn("warn")
    assert capsys.readouterr().err == "warning: warn\n"


@pytest.mark.parametrize(("loudness", "traced"), [("normal", False), ("verbose", True)])
def test_log_records_come_without_secrets_and_tracebacks_only_when_asked_for(
    scrub: Scrubber, capsys: pytest.CaptureFixture[str], loudness: module.Loudness, traced: bool
) -> None:
    logger = logging.getLogger("test_display")
    before = logging.getLogger("backups").level
    try:
        Display(scrub, loudness).log_to(logger)
        try:
            int(SECRET)
        except ValueError:
            logger.exception("failed with %s", SECRET)
    finally:
        logger.handlers.clear()
        logging.getLogger("backups").setLevel(before)
    shown = capsys.readouterr().err
    assert "error: failed with ****" in shown
    assert SECRET not in shown
    assert ("Traceback" in shown) == traced


def test_progress_is_told_in_lines_where_there_is_no_terminal(
    scrub: Scrubber, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_LINE_SECONDS", 0.01)
    monkeypatch.setattr(module, "LINE_SECONDS", 0.01)
    progress = Progress("data", f"Data {SECRET}")
    progress.enter("streaming")
    progress.plain_bytes = 3 << 20
    progress.lanes["one"] = 1 << 20
    meter = Meter("shop from one", 2 << 20)
    meter.bytes = 1 << 20
    display = Display(scrub)
    told = threading.Event()
    say = display._say

    def listen(text: str) -> None:
        say(text)
        if text.startswith("shop"):
            told.set()

    monkeypatch.setattr(display, "_say", listen)
    with display.live(), display.follow(progress), display.follow(meter):
        assert told.wait(30)
    lines = capsys.readouterr().err.splitlines()
    first = next(line for line in lines if line.startswith("Data"))
    assert first.startswith("Data ****  streaming  3.0 MB")
    assert first.endswith("one: 1.0 MB")
    assert any("1.0 MB of 2.0 MB" in line for line in lines)


def test_progress_on_a_terminal_is_drawn_and_gone_at_the_end(
    scrub: Scrubber, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    progress = Progress("data", f"Data {SECRET}")
    progress.plain_bytes = 5 << 20
    display = Display(scrub)
    console = Console(width=120, force_terminal=True, color_system=None)
    with display.follow(progress):
        console.print(display._bars())
    console.print(display._bars())
    drawn = capsys.readouterr().out
    assert "Data ****" in drawn
    assert "5.0 MB" in drawn
    assert SECRET not in drawn
    assert drawn.count("Data") == 1
