"""Janitor: removes what workers left behind; after each that may have left something, and every hour all of it."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from typing import Any

import boto3

from backups.cloud.janitor import Janitor, Uploads, Worked
from functions.environment import Env
from functions.metrics import count_removed
from functions.observability import logger, timed

CLOUD = Env.from_env().cloud()
REGIONS = "BACKUPS_DATABASE_REGIONS"
"""Where the jobs' databases are, with commas between; infra/ derives it from the job files."""

CLEAN_UP_SECONDS = 120.0
"""How long the end of a run waits while the service refuses; the hourly sweep goes on after that."""

_RESERVE_SECONDS = 60.0


@timed
def handler(event: dict[str, Any], seconds_left: Callable[[], float]) -> dict[str, Any]:
    """``{job, run, source}`` or ``{uploads: [{bucket, prefix}]}`` becomes ``{instances, uploads, staged}``, numbers.

    Fails when something is still there that should not be, after all else is removed: then it is tried again.
    """
    regions = tuple(filter(None, os.environ[REGIONS].split(",")))
    janitor = Janitor(CLOUD.state, regions, boto3.client("s3"))
    seconds = max(0.0, seconds_left() - _RESERVE_SECONDS)
    if "source" in event:
        swept = janitor.clean_up(Worked.model_validate(event), seconds=min(seconds, CLEAN_UP_SECONDS))
    else:
        places = [Uploads.model_validate(place) for place in event.get("uploads", [])]
        swept = janitor.sweep(places, now=dt.datetime.now(dt.UTC), seconds=seconds)
    count_removed(len(swept.instances))
    logger.info("removed %s, %d uploads, %d staged", swept.instances or "no instance", swept.uploads, swept.staged)
    swept.check()
    return {"instances": len(swept.instances), "uploads": swept.uploads, "staged": swept.staged}
