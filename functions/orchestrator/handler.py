"""Orchestrator: a schedule's event becomes a planned execution; a person's execution becomes a plan."""

from __future__ import annotations

import datetime as dt
from typing import Any

from backups.cloud.orchestration import Request
from backups.planning import run_id
from functions.environment import Env
from functions.observability import logger, observed

CLOUD = Env.from_env().cloud()


@observed
def handler(event: dict[str, Any]) -> dict[str, Any]:
    """``{job, scheduled_time?, sources?}`` starts a run; ``{request, execution, started}`` asks for one's plan."""
    now = dt.datetime.now(dt.UTC)
    if "execution" not in event:
        started = CLOUD.start(Request.model_validate(event), now=now)
        logger.info("%s: %s", started.verdict, started.execution)
        return started.model_dump(mode="json")
    request = Request.model_validate(event["request"])
    moment = dt.datetime.fromisoformat(event["started"])
    decided = CLOUD.prepare(request, run=run_id(moment), moment=moment, own=event["execution"])
    CLOUD.announce(decided, event["execution"], now)
    logger.info("%s: %s", decided.verdict, event["execution"])
    return decided.model_dump(mode="json")
