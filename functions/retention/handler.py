"""Retention: removes at one destination what the job's policy does not keep, after a run that stored there."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from typing import Any

from backups.cloud.run_retention import Limits, Place, prune_after
from functions.environment import Env
from functions.observability import logger, private_context, timed

CLOUD = Env.from_env().cloud()
OBJECTS = int(os.environ.get("BACKUPS_RETENTION_OBJECTS", "0"))


@timed
def handler(event: dict[str, Any], seconds_left: Callable[[], float]) -> dict[str, Any]:
    """``{job, run, destination, job_file, turn}`` becomes ``{number, done, removed, failed}``: the turn that is due."""
    place = Place.model_validate(event)
    limits = Limits(seconds_left, OBJECTS)
    turn = prune_after(CLOUD.state, place, private_context(), limits, now=dt.datetime.now(dt.UTC))
    logger.info("%s: %s", place.destination, turn.model_dump_json())
    return turn.model_dump()
