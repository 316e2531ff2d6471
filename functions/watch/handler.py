"""Watch: looks at every job once an hour, and counts what it sees."""

from __future__ import annotations

import datetime as dt
from typing import Any

from backups.cloud.watch import look
from backups.errors import BackupsError
from functions.environment import Env
from functions.metrics import count_look, count_state
from functions.observability import logger, observed

ENV = Env.from_env()
CLOUD = ENV.cloud()


@observed
def handler(event: dict[str, Any]) -> dict[str, Any]:
    """``{jobs: [NAME], after?, check?}`` becomes ``{jobs, problems}``, two numbers.

    Fails when it could not look at one, after all the others. ``after`` says what else than the hour it follows, and
    ``check`` which execution of a check is over.
    """
    jobs = event["jobs"]
    problems, unseen = 0, []
    for job in jobs:
        now = dt.datetime.now(dt.UTC)
        try:
            seen = look(CLOUD, job, ENV.schedules, now=now, ended=event.get("check", ""))
        except Exception:  # one job must not keep the others from being looked at
            logger.exception("job %s", job)
            unseen.append(job)
            continue
        for finding in seen.found:
            logger.warning("job %s: %s: %s", job, finding.kind, finding.text)
        count_state(seen, now)
        problems += len(seen.found)
    if unseen:
        raise BackupsError(f"could not look at {', '.join(unseen)}", hint="the log says why")
    if "after" not in event:  # a look at one job must not stand for the hourly one at all
        count_look()
    return {"jobs": len(jobs), "problems": problems}
