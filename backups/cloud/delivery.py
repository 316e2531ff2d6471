"""Messages of a deployed stack: one channel, one message, and a record of what became of it.

What is to be told lies in the state bucket; a message names it and nothing more, so that it can be sent again later.
"""

from __future__ import annotations

from typing import Literal

from backups.changes import told_after
from backups.cloud.orchestration import ObjectPointer, load_deployed
from backups.cloud.state import State
from backups.context import Context
from backups.errors import BackupsError, NotificationError
from backups.job import Job
from backups.notifying import ONE_TRY, notify, tell_notice, tell_start
from backups.planning import begun
from backups.records import Notice, Notified, Record, RunStart

_CONSOLES = {"aws-cn": "console.amazonaws.cn", "aws-us-gov": "console.amazonaws-us-gov.com"}
_PAGE = "https://{region}.{console}/{service}/home?region={region}#{page}"


class Channel(Record):
    """One message that is due."""

    job: str
    run: str
    """Of a notice, its own name."""
    channel: str
    job_file: ObjectPointer
    about: Literal["end", "start", "notice"] = "end"
    execution: str = ""
    """ARN, where a message that a run begins sends people."""


def deliver(state: State, channel: Channel, context: Context) -> Notified:
    """Send one message, and record what became of it. Tries once: whoever calls tries again.

    Raises NotificationError when the channel refused, JobError when the job file can't be used, and BackupsError when
    what is to be told can't be read.
    """
    job = load_deployed(channel.job_file, channel.job)
    if channel.about == "notice":
        answer = tell_notice(job, channel.channel, _notice(state, channel), context, patience=ONE_TRY)
        state.put_notice_told(channel.job, channel.run, answer)
    elif channel.about == "start":
        answer = tell_start(job, channel.channel, _start(state, channel), context, patience=ONE_TRY)
        # No record: the end of the run is told under the same name, and a start that was not told is no news by then.
    else:
        answer = _tell_end(state, channel, job, context)
    if answer.status == "failed":
        raise NotificationError(f"channel {channel.channel} was not told: {answer.error}", permanent=answer.permanent)
    return answer


def console_link(execution: str) -> str:
    """The page of an execution."""
    return _page(execution, "states", f"/v2/executions/details/{execution}")


def dashboard_link(state_machine: str, stack: str) -> str:
    """The page of a stack's dashboard; the state machine's ARN says where the stack is."""
    return _page(state_machine, "cloudwatch", f"dashboards/dashboard/{stack}")


def _page(arn: str, service: str, page: str) -> str:
    """A page of AWS's console, in the part of AWS and the region of an ARN."""
    _, partition, _, region, *_ = arn.split(":")
    console = _CONSOLES.get(partition, "console.aws.amazon.com")
    return _PAGE.format(region=region, console=console, service=service, page=page)


def _tell_end(state: State, channel: Channel, job: Job, context: Context) -> Notified:
    told = state.report(channel.job, channel.run)
    if told is None:
        raise _gone(channel, "report")
    changes_only = any(c.id == channel.channel and c.notify_on == "change" for c in job.notifications)
    before = state.told(channel.job, channel.channel) if changes_only else None
    answer = notify(job, channel.channel, told, context, previous=before, patience=ONE_TRY)
    state.put_notified(channel.job, channel.run, answer)
    after = told_after(told, before, answer)
    if changes_only and after and after != before:
        state.put_told(channel.job, channel.channel, after)
    return answer


def _notice(state: State, channel: Channel) -> Notice:
    found = state.notice(channel.job, channel.run)
    if found is None:
        raise _gone(channel, "notice")
    return found


def _start(state: State, channel: Channel) -> RunStart:
    plan = state.plan(channel.job, channel.run)
    if plan is None:
        raise _gone(channel, "plan")
    return begun(plan, link=console_link(channel.execution) if channel.execution else "")


def _gone(channel: Channel, what: str) -> BackupsError:
    hint = "records of runs are kept for 'run_days'; without it there is nothing to tell"
    return BackupsError(f"run {channel.run} of job '{channel.job}' has no {what}", hint=hint)
