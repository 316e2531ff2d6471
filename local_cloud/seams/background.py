"""Work that goes on after a request was answered, as in a service that needs time for it."""

from __future__ import annotations

import contextvars
import logging
import threading
from collections.abc import Callable

log = logging.getLogger("local_cloud.background")


def later(work: Callable[[], None]) -> None:
    """Do it in a thread, for the account and region of the request that asked for it."""
    context = contextvars.copy_context()

    def run() -> None:
        try:
            context.run(work)
        except Exception:
            log.exception("work after a request")

    threading.Thread(target=run, daemon=True).start()
