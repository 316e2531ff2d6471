"""Turns arguments into one command, and its end into an exit code."""

from __future__ import annotations

import atexit
import contextlib
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence

from backups.cli.arguments import backup_parser, parser
from backups.cli.session import Session
from backups.display import Display, Loudness
from backups.errors import BackupsError, ExitCode, StoppedError
from backups.privileges import settle_user
from backups.secrets import Scrubber, Secrets


def main(argv: Sequence[str] | None = None) -> int:
    """The command ``backups``. Returns its exit code."""
    _open_standard_streams()
    return _run(parser().parse_args(argv))


def backup(argv: Sequence[str] | None = None) -> int:
    """The command ``backup [-v] CONFIG`` of the old tool. Returns its exit code."""
    _open_standard_streams()
    return _run(backup_parser().parse_args(argv))


def _run(arguments: object) -> int:
    given = vars(arguments)
    # When all is said and the exit code is known, Ctrl-C would only get a traceback out of Python's own end.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a locale that lacks a character is no reason to fail
    scrub = Scrubber()
    loudness: Loudness = "verbose" if given.get("verbose") else "quiet" if given.get("quiet") else "normal"
    display = Display(scrub, loudness)
    display.log_to(logging.getLogger())
    try:
        if given["as_user"]:
            settle_user()
        return int(given["command"](arguments, Session(display, Secrets(scrub=scrub))))
    except StoppedError as error:
        display.warn("stopped")
        return int(error.code)
    except KeyboardInterrupt:
        display.warn("stopped")
        return int(ExitCode.INTERRUPTED)
    except BackupsError as error:
        display.error(error)
        return int(error.exit_code)
    except BrokenPipeError:  # whoever reads our output has gone
        # Whoever read our output has gone; Python must not try again when it ends.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        _unexpected(error, display)
        return int(ExitCode.FAILED)
    finally:
        _give_up_what_can_not_be_written()


def _open_standard_streams() -> None:
    """Where the caller closed one, as with ``2>&-``, the next file that is opened would take its number, and messages
    would go into a copy. Its place is taken by one that can't be written."""
    closed = []
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY)  # gets the lowest number that is free: this one
            closed.append(name)
    for name in closed[closed[:1] == ["stdin"] :]:
        setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123 - as long as the process lives


def _give_up_what_can_not_be_written() -> None:
    """Python writes once more when it ends, and ends with a status of its own where that fails."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _unexpected(error: Exception, display: Display) -> None:
    hint = "" if display.verbose else "-v shows where; please report it"
    display.error(BackupsError(f"unexpected {type(error).__name__}: {error}", hint=hint))
    if display.verbose:
        display.warn(traceback.format_exc())
