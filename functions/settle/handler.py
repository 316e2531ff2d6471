"""Settle: a source whose worker failed ends with a result all the same."""

from __future__ import annotations

import datetime as dt
from typing import Any

from backups.cloud.settling import Failure, settle
from backups.staging import abandon, staged_under
from functions.environment import Env
from functions.observability import logger, observed

CLOUD = Env.from_env().cloud()


@observed
def handler(event: dict[str, Any]) -> dict[str, Any]:
    """``{job, run, source, failure}`` becomes ``{source, outcome}``."""
    failure = Failure.model_validate(event["failure"]) if event.get("failure") else None
    about = {name: event[name] for name in ("job", "run", "source")}
    result = settle(CLOUD.state, **about, failure=failure, now=dt.datetime.now(dt.UTC))
    outcome = result.outcome if result else "unknown"
    logger.info("source %s: %s", event["source"], outcome)
    # Whatever a host was still asked to send would wait for nobody.
    left = abandon(CLOUD.state.bucket, staged_under(**about))
    if left:
        logger.info("source %s: removed %d objects from the staging area", event["source"], left)
    return {"source": event["source"], "outcome": outcome}
