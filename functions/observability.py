"""Logger and tracer of every function, made once, and the one frame that each handler runs in."""

from __future__ import annotations

import functools
import logging
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger, Tracer
from aws_lambda_powertools.utilities.typing import LambdaContext

from backups.context import Context
from backups.notifying import is_permanent
from backups.secrets import Scrubber, ScrubbingFilter, Secrets

Handler = Callable[[dict[str, Any]], dict[str, Any]]
TimedHandler = Callable[[dict[str, Any], Callable[[], float]], dict[str, Any]]

scrub = Scrubber()
"""Knows every secret that this process has resolved, and keeps them out of logs and errors."""

logger = Logger(service="backups")
tracer = Tracer(service="backups")


class _KeepTraceback(ScrubbingFilter):
    """Puts the scrubbed traceback into the message: the JSON formatter shows no other than the one with secrets."""

    def filter(self, record: logging.LogRecord) -> bool:
        kept = super().filter(record)
        if record.exc_text:
            record.msg, record.exc_text = f"{record.msg}\n{record.exc_text}", None
        return kept


# The service's name is the library's too, so what its loggers say takes the same way: as JSON, and scrubbed.
for _handler in logger.handlers:
    _handler.addFilter(_KeepTraceback(scrub))


class FunctionError(Exception):
    """What Step Functions sees of an error: its text without secrets, and nothing of its stack's values."""


class PermanentError(FunctionError):
    """The same of an error that would come again. The state machine knows it by this name, and does not try again."""


def private_context() -> Context:
    """A context whose secrets are resolved anew for each invocation, since they may have been rotated."""
    return Context(
        tmpdir=Path(tempfile.gettempdir()),
        secrets=Secrets(scrub=scrub),
        flag_document=os.environ.get("BACKUPS_FLAG_DOCUMENT", ""),
    )


def observed(handler: Handler) -> Callable[[dict[str, Any], LambdaContext], dict[str, Any]]:
    """Log and trace a handler; let no secret out of it, neither in its log nor in its error."""
    return timed(functools.wraps(handler)(lambda event, _: handler(event)))


def timed(handler: TimedHandler) -> Callable[[dict[str, Any], LambdaContext], dict[str, Any]]:
    """The same for a handler that asks how many seconds are left before its process is stopped."""

    @functools.wraps(handler)
    def scrubbed(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        try:
            return handler(event, lambda: context.get_remaining_time_in_millis() / 1000)
        except Exception as error:
            logger.exception("the function failed")
            kind = PermanentError if is_permanent(error) else FunctionError
            raise kind(scrub(f"{type(error).__name__}: {error}")) from None

    # What goes in and out holds names only, but a trace needs none of it.
    traced = tracer.capture_lambda_handler(scrubbed, capture_response=False)
    return logger.inject_lambda_context(traced, clear_state=True)
