"""Asks a server through its command line client: a question on stdin, the answer from stdout, within a time limit."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Mapping, Sequence

from backups.commands import Command
from backups.context import Cancel
from backups.errors import CommandError

ANSWER_SECONDS = 600  # the catalogue of a server with 100,000 tables is slow


class RefusedError(Exception):
    """The client ended with a bad status. The text is what it said; ``status`` its exit status."""

    def __init__(self, text: str, status: int | None) -> None:
        super().__init__(text)
        self.status = status


def ask(argv: Sequence[str], question: str, cancel: Cancel, *, env: Mapping[str, str] | None = None) -> str:
    """What the client prints. Raises RefusedError, CommandError without the program, StoppedError."""
    command = Command(argv, stdin=subprocess.PIPE, env=env)
    late = threading.Event()

    def give_up() -> None:
        late.set()
        command.kill()

    timer = threading.Timer(ANSWER_SECONDS, give_up)
    timer.daemon = True
    forget = cancel.on_stop(command.kill)
    timer.start()
    try:
        with contextlib.suppress(BrokenPipeError), command.stdin as stdin:
            stdin.write(question.encode())
        output = command.stdout.read()
        command.wait()
    except CommandError as error:
        cancel.check()
        if late.is_set():
            raise RefusedError(f"no answer within {ANSWER_SECONDS} s", error.status) from None
        raise RefusedError(command.stderr_tail or error.message, error.status) from None
    finally:
        timer.cancel()
        forget()
        command.close()
    return output.decode("utf-8", "replace")
