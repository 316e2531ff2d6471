"""Retention: removes at one destination what the job's policy does not keep, after a run that stored there."""

from __future__ import annotations

import datetime as dt
from typing import Any

from backups.cloud.run_retention import Place, prune_after
from functions.environment import Env
from functions.observability import logger, observed, private_context

CLOUD = Env.from_env().cloud()


@observed
def handler(event: dict[str, Any]) -> dict[str, Any]:
    """``{job, run, destination, job_file}`` becomes ``{removed, failed}``, two numbers."""
    place = Place.model_validate(event)
    records = prune_after(CLOUD.state, place, private_context(), now=dt.datetime.now(dt.UTC))
    for record in records:
        logger.info("%s", record.model_dump_json())
    failed = [record for record in records if record.error or record.refused]
    return {"removed": sum(len(record.removed) for record in records), "failed": len(failed)}
