"""Settle: a source ends with a result, whatever became of its worker, and others are told that it has ended."""

from __future__ import annotations

import datetime as dt
from typing import Any

from backups.cloud.events import source_finished, tell
from backups.cloud.settling import Failure, settle
from backups.staging import abandon, staged_under
from functions.environment import Env
from functions.observability import logger, observed

CLOUD = Env.from_env().cloud()


@observed
def handler(event: dict[str, Any]) -> dict[str, Any]:
    """``{job, run, source, failure?}`` becomes ``{source, outcome}``."""
    failure = Failure.model_validate(event["failure"]) if event.get("failure") else None
    about = {name: event[name] for name in ("job", "run", "source")}
    result = settle(CLOUD.state, **about, failure=failure, now=dt.datetime.now(dt.UTC))
    tell([source_finished(result)] if result else [])
    outcome = result.outcome if result else "unknown"
    logger.info("source %s: %s", event["source"], outcome)
    # Whatever a host was still asked to send would wait for nobody.
    left = abandon(CLOUD.state.bucket, staged_under(**about))
    if left:
        logger.info("source %s: removed %d objects from the staging area", event["source"], left)
    return {"source": event["source"], "outcome": outcome}
