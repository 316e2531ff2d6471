"""What the command line shows: progress on a terminal, plain lines elsewhere, tables. Every secret is masked here.

Results go to standard output. Progress, notes, warnings and errors go to standard error, so that the output of a
command can always be read by another program.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from backups.errors import BackupsError, JobError
from backups.notifications.words import human_size
from backups.progress import Progress, ProgressRecord
from backups.records import Outcome, Result
from backups.secrets import Scrubber, ScrubbingFilter
from backups.watching import Meter

if TYPE_CHECKING:
    from rich.console import RenderableType

FIRST_LINE_SECONDS = 2.0
LINE_SECONDS = 30.0
"""How often progress is told where no terminal shows it."""

Loudness = Literal["quiet", "normal", "verbose"]


class Display:
    """Standard output and standard error of one command. Its methods may be called from any thread."""

    def __init__(self, scrub: Scrubber, loudness: Loudness = "normal") -> None:
        """``quiet`` shows errors and warnings only, ``verbose`` tracebacks and log lines too."""
        self.scrub = scrub
        self.verbose = loudness == "verbose"
        self.quiet = loudness == "quiet"
        self._lock = threading.RLock()
        self._followed: list[Progress | Meter] = []
        self._shown: list[ProgressRecord] = []

    def out(self, text: str) -> None:
        """A result, on standard output. Raises BackupsError when it can't be written."""
        self.data(printable(self.scrub(text)))

    def data(self, text: str) -> None:
        """Output for a program, such as JSON, just as it is: its maker has masked the secrets in it.

        Raises BackupsError when it can't be written, BrokenPipeError when its reader has gone.
        """
        try:
            with self._lock:
                sys.stdout.write(text if text.endswith("\n") else text + "\n")
                sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise BackupsError(
                f"standard output can't be written: {error.strerror}",
                hint="only the output is lost: what the command was asked to do is done",
            ) from None

    def note(self, text: str) -> None:
        """Something worth knowing."""
        if not self.quiet:
            self._say(text)

    def warn(self, text: str) -> None:
        """Something that went wrong without ending the work."""
        self._say(f"warning: {text}")

    def error(self, error: BackupsError) -> None:
        """Why the command failed, and what to do."""
        lines = error.problems if isinstance(error, JobError) else [error.message]
        for line in lines:
            self._say(f"error: {line}")
        if error.hint:
            self._say(f"hint: {error.hint}")

    def done(self, result: Result) -> None:
        """A source has ended."""
        if result.outcome is Outcome.STORED:
            self.note(f"{result.source}: stored, {human_size(result.size)} in {result.seconds:.1f} s")
        else:
            self.note(f"{result.source}: {result.outcome}: {result.error}")

    @contextlib.contextmanager
    def follow(self, what: Progress | Meter) -> Iterator[None]:
        """Show how far this is, as long as the block lasts."""
        with self._lock:
            self._followed.append(what)
        try:
            yield
        finally:
            with self._lock:
                self._followed.remove(what)

    def show(self, records: Sequence[ProgressRecord]) -> None:
        """Show how far others are, until the next call."""
        with self._lock:
            self._shown = list(records)

    @contextlib.contextmanager
    def live(self) -> Iterator[None]:
        """Show everything that is followed, as long as the block lasts."""
        if self.quiet:
            yield
        elif sys.stderr.isatty():
            with self._on_terminal():
                yield
        else:
            with self._in_lines():
                yield

    def log_to(self, logger: logging.Logger) -> None:
        """Show log records on standard error, without secrets; with tracebacks only when verbose."""
        handler = _LogHandler(self)
        handler.addFilter(ScrubbingFilter(self.scrub))
        logger.addHandler(handler)
        logging.getLogger("backups").setLevel(logging.DEBUG if self.verbose else logging.WARNING)

    def _say(self, text: str) -> None:
        """What can't be shown, since the log's disk is full or the terminal gone, is no reason to stop a backup."""
        with self._lock, contextlib.suppress(OSError):
            print(printable(self.scrub(text)), file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def _on_terminal(self) -> Iterator[None]:
        from rich.console import Console
        from rich.live import Live

        # It takes over sys.stderr, so that lines that are printed meanwhile stand above it.
        live = Live(console=Console(stderr=True), get_renderable=self._bars, refresh_per_second=5, transient=True)
        with contextlib.suppress(OSError):
            live.start()
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # the terminal has gone
                live.stop()

    def _bars(self) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for state in self._states():
            bar = ProgressBar(total=state.total, completed=state.bytes, width=24, pulse=state.total is None)
            table.add_row(*map(printable, (self.scrub(state.name), state.phase)), bar, *map(printable, state.figures()))
        return table

    @contextlib.contextmanager
    def _in_lines(self) -> Iterator[None]:
        over = threading.Event()

        def tell() -> None:
            pause = FIRST_LINE_SECONDS
            while not over.wait(pause):
                pause = min(LINE_SECONDS, 2 * pause)
                for state in self._states():
                    self._say("  ".join((state.name, state.phase, *state.figures())))

        thread = threading.Thread(target=tell, name="progress", daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _states(self) -> list[_State]:
        with self._lock:
            followed, shown = list(self._followed), list(self._shown)
        return [*map(_state, followed), *map(_recorded, shown)]


@dataclass(frozen=True)
class _State:
    """How far something is, at one moment."""

    name: str
    phase: str
    bytes: int
    total: int | None
    seconds: float
    details: tuple[str, ...] = ()

    def figures(self) -> tuple[str, ...]:
        """Amount, speed, time, and what each destination has."""
        of = f" of {human_size(self.total)}" if self.total is not None else ""
        return (f"{human_size(self.bytes)}{of}", rate(self.bytes, self.seconds), clock(self.seconds), *self.details)


def _state(what: Progress | Meter) -> _State:
    if isinstance(what, Meter):
        seconds = time.monotonic() - what.started
        return _State(what.name, "reading", min(what.bytes, what.total), what.total, seconds)
    return _recorded(what.snapshot())


def _recorded(now: ProgressRecord) -> _State:
    lanes = tuple(f"{lane.destination}: {human_size(lane.bytes)}" for lane in now.lanes)
    return _State(now.name, now.phase, now.plain_bytes, None, now.seconds, lanes)


class _LogHandler(logging.Handler):
    def __init__(self, display: Display) -> None:
        super().__init__()
        self._display = display

    def emit(self, record: logging.LogRecord) -> None:
        name = record.levelname.lower()
        text = f"{name}: {record.getMessage()}"
        if self._display.verbose and record.exc_text:
            text += f"\n{record.exc_text}"
        self._display._say(text)


def table(headers: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Aligned columns that no width of a terminal cuts; ``right`` names the headers of columns of numbers."""
    from rich.cells import cell_len

    cells = [[" ".join(printable(cell).split()) for cell in row] for row in [headers, *rows]]
    widths = [max(cell_len(row[column]) for row in cells) for column in range(len(headers))]
    lines = []
    for row in cells:
        padded = []
        for header, cell, width in zip(headers, row, widths, strict=True):
            space = " " * (width - cell_len(cell))
            padded.append(space + cell if header in right else cell + space)
        lines.append("  ".join(padded).rstrip())
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def printable(text: str) -> str:
    """Text that can't steer a terminal: names of files and words of servers end up in messages."""
    return "".join(char if char.isprintable() or char == "\n" else " " if char == "\t" else "?" for char in text)


def rate(size: int, seconds: float) -> str:
    """Bytes in a time as ``12.3 MB/s``, base 1024; empty for no time."""
    return f"{size / seconds / (1 << 20):.1f} MB/s" if seconds > 0 else ""


def clock(seconds: float) -> str:
    """A time as ``1:02:03`` or ``2:03``."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
