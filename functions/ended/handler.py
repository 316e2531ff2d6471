"""Ended: tells of a run that was stopped, ran out of time or broke off before it could tell of its end itself."""

from __future__ import annotations

import datetime as dt
from typing import Any

from backups.cloud.reporting import Stopped, conclude_stopped
from functions.environment import Env
from functions.metrics import count_run
from functions.observability import logger, observed

CLOUD = Env.from_env().cloud()


@observed
def handler(event: dict[str, Any]) -> dict[str, Any]:
    """EventBridge's event of an execution's status becomes ``{outcome, channels}``: how many are going to be told."""
    stopped = Stopped.model_validate(event["detail"])
    now = dt.datetime.now(dt.UTC)
    conclusion = conclude_stopped(CLOUD, stopped, now=now)
    if conclusion is None:
        return {"outcome": "told", "channels": 0}
    logger.info("%s: %s", stopped.name, conclusion.summary)
    CLOUD.send(conclusion.channels)
    report = CLOUD.state.report(conclusion.job, conclusion.run)
    if report and report.finished == now:  # else the run itself has counted it
        count_run(report)
    return {"outcome": conclusion.outcome, "channels": len(conclusion.channels)}
