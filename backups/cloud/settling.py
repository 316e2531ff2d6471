"""What became of a deployed run, whatever became of its workers: every planned source ends with a record.

A worker writes its result in ``finally``. One that was killed, never started or ran out of time could not; then
what Amazon ECS says of its task is the reason that the report gives.
"""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

from pydantic import ConfigDict

from backups.cloud.state import State
from backups.records import Outcome, Plan, PlanItem, Record, Result
from backups.sources import SOURCES

EXECUTION = "Execution."
"""Begins the error of a source whose whole run was cut off; how the execution ended follows."""

_KILLED = 137  # 128 + SIGKILL
_LONGEST_REASON = 500
_CUT_OFF = {
    f"{EXECUTION}ABORTED": ("the run was stopped by someone", "start the job again if that was a mistake"),
    f"{EXECUTION}TIMED_OUT": ("the run took more than three days and was stopped", "split the job or its sources"),
    f"{EXECUTION}FAILED": ("the run broke off", "look at its execution, and start the job again"),
}


class Failure(Record):
    """What a Catch of Step Functions hands on."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=str.capitalize, populate_by_name=True)

    error: str = ""
    cause: str = ""


def settle(
    state: State, *, job: str, run: str, source: str, failure: Failure | None, now: dt.datetime
) -> Result | None:
    """Make sure that a source has a result, and return it; None when the run never planned it.

    Raises BackupsError when the state bucket does not answer.
    """
    result = state.result(job, run, source)
    if result is None:
        plan = state.plan(job, run)
        item = next((item for item in plan.items if item.source == source), None) if plan else None
        if plan is None or item is None:
            return None
        # A worker that is just being stopped may still write: its own words are better than ours, so they stay.
        state.put_result(lost(plan, item, failure, now), replace=False)
        result = state.result(job, run, source)
    return result


def lost(plan: Plan, item: PlanItem, failure: Failure | None, now: dt.datetime) -> Result:
    """The result of a source whose worker left none."""
    error, hint = explain(failure)
    model = SOURCES.get(item.type)
    return Result(
        job=item.job,
        run=item.run,
        hostname=plan.hostname,
        source=item.source,
        name=item.name,
        type=item.type,
        label=(model.label if model else "") or item.type,
        outcome=Outcome.FAILED,
        started=now,  # when it really began nobody knows any more
        finished=now,
        error=error,
        hint=hint,
        warnings=(model.left_when_killed,) if model and model.left_when_killed else (),
    )


def explain(failure: Failure | None) -> tuple[str, str]:
    """Why a worker left no result, and what to do: from the error that Step Functions caught."""
    if failure is None:
        return "the worker ended without a result", "look at its log"
    if failure.error in ("States.Timeout", "States.HeartbeatTimeout"):
        return "the worker ran out of time and was stopped", "raise 'time_limit', or split the source"
    if failure.error in _CUT_OFF:
        return _CUT_OFF[failure.error]
    task = _task(failure.cause)
    if task is None:
        hint = "what AWS refused stands in the error; deploy again if a part of the stack is gone"
        return f"the worker could not be started: {failure.error}: {failure.cause}"[:_LONGEST_REASON], hint
    return _explain_task(task)


def _explain_task(task: dict[str, Any]) -> tuple[str, str]:
    """Why a task ended, from what Amazon ECS says of it."""
    container = (task["containers"] or [{}])[0]
    code = container.get("exitcode")
    stopped = str(task.get("stoppedreason") or "")
    # That the only container ended is what every task says, and no reason.
    reason = str(container.get("reason") or ("" if stopped.startswith("Essential container") else stopped))
    detail = f" ({reason})"[:_LONGEST_REASON] if reason else ""
    if "OutOfMemory" in reason:
        return "the worker ran out of memory", "raise 'worker_memory' in the deployment's settings"
    if code is None:
        return f"the worker did not start{detail}", "look at the task's stopped reason"
    if code == _KILLED:
        return f"the worker was killed{detail}", "run the job again; if it recurs, look at its memory"
    return f"the worker died with exit status {code}{detail}", "look at its log"


def _task(cause: str) -> dict[str, Any] | None:
    """The task that Step Functions describes in a cause, its keys in lower case; None when it is no task."""
    try:
        task = _lowered(json.loads(cause))
    except ValueError:
        return None
    return task if isinstance(task, dict) and "containers" in task else None


def _lowered(value: Any) -> Any:
    if isinstance(value, dict):
        return {key.lower(): _lowered(item) for key, item in value.items()}
    return [_lowered(item) for item in value] if isinstance(value, list) else value
