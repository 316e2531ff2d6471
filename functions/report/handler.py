"""Report: the records of a run become its report; the answer says how it ended and which channels to tell."""

from __future__ import annotations

import datetime as dt
from typing import Any

from backups.cloud.reporting import Finished, conclude
from functions.environment import Env
from functions.metrics import count_run
from functions.observability import logger, observed

CLOUD = Env.from_env().cloud()


@observed
def handler(event: dict[str, Any]) -> dict[str, Any]:
    """``{input, execution, started}`` becomes ``{outcome, summary, channels: [{job, run, channel, job_file}]}``."""
    conclusion = conclude(CLOUD, Finished.model_validate(event), now=dt.datetime.now(dt.UTC))
    logger.info("%s: %s", conclusion.outcome, conclusion.summary)
    if report := CLOUD.state.report(conclusion.job, conclusion.run):
        count_run(report)
    return conclusion.model_dump(mode="json")
