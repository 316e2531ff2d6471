"""How a deployed job is found, planned and started: what the orchestrator Lambda and the worker share.

A deployed job is known by one parameter, ``{prefix}{job}``: where its immutable job file is, and what runs it.
Through Step Functions go only names and pointers of ``RunInput``, never a secret and never a job file.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backups.cloud.events import RunStarted, tell
from backups.cloud.state import MapItem, State
from backups.errors import BackupsError, UsageError
from backups.job import Job, parse_job
from backups.planning import plan, run_id
from backups.records import Record

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

STORING_SECONDS = 7_200
"""How long a worker may take beside reading its source: to start, to store, and for a second chance."""

JOB_NAME = "[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
"""What a deployed job's file may be called; with a run's name it makes an execution's of at most 80 characters."""

_EXECUTION = re.compile(r"(?P<job>.+)-(?P<run>\d{8}T\d{6}Z)")
_LONGEST_ERROR = 1_000  # characters; the whole error is in the log


class ObjectPointer(Record):
    """Where an object is in S3."""

    bucket: str
    key: str


class Deployment(Record):
    """What the parameter of a job says."""

    job_file: ObjectPointer
    task_definition: str
    concurrency: int = Field(10, gt=0)


class RunInput(Record):
    """The input of an execution that the orchestrator starts, and the answer of planning on demand."""

    verdict: Literal["run", "skipped", "failed"]
    job: str
    run: str
    error: str = ""
    hint: str = ""
    hostname: str = ""
    sources: int = 0
    """How many it plans."""
    job_file: ObjectPointer | None = None
    task_definition: str = ""
    max_concurrency: int = 1
    items: ObjectPointer | None = None
    destinations: tuple[str, ...] = ()
    starts: tuple[str, ...] = ()
    """Channels that want to know that the run begins."""


class Request(BaseModel):
    """What a schedule or a person asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    job: str = Field(pattern=f"^{JOB_NAME}$")
    scheduled_time: dt.datetime | None = None
    """When the schedule wanted it; the same time never makes a second run."""
    sources: tuple[str, ...] | None = None
    """Ids of the sources to back up; all when missing."""


class Started(Record):
    """Which execution tells of the request."""

    job: str
    run: str
    execution: str
    verdict: Literal["run", "skipped", "failed", "started before"]


@dataclass(frozen=True)
class Cloud:
    """The deployed stack, as its own processes reach it."""

    state: State
    parameters: str
    """What stands before a job's name in its parameter's, such as ``/Backups/jobs/``."""
    state_machine: str
    """ARN."""
    messages: str
    """ARN of the state machine that sends messages which no run sends itself."""

    def start(self, request: Request, *, now: dt.datetime) -> Started:
        """Plan a run and start its execution; once only for each scheduled time.

        Problems of the job are told by an execution too, so that they are seen. Raises BackupsError when a
        service of the stack does not answer: then nothing was started, and the caller may try again.
        """
        moment = request.scheduled_time or now
        run = run_id(moment)
        name = f"{request.job}-{run}"
        arn = f"{self.state_machine.replace(':stateMachine:', ':execution:')}:{name}"
        if self._describe(arn):
            return Started(job=request.job, run=run, execution=arn, verdict="started before")
        decided = self.prepare(request, run=run, moment=moment, own=arn)
        if not self._start(name, decided):
            return Started(job=request.job, run=run, execution=arn, verdict="started before")
        self.announce(decided, arn, now)
        return Started(job=request.job, run=run, execution=arn, verdict=decided.verdict)

    def prepare(self, request: Request, *, run: str, moment: dt.datetime, own: str) -> RunInput:
        """Decide what becomes of a run: planned, skipped, or failed since its job can't be planned.

        ``own`` is the ARN of the execution that this is for. Raises BackupsError when a service does not answer.
        """
        decided = RunInput(verdict="failed", job=request.job, run=run)
        try:
            deployed, pointer, job = self.adopt(request.job, run)
            decided = decided.model_copy(update={"job_file": pointer})
            going = self._going(request.job, own)
            if going:
                error = f"an earlier run of the job is still going: {going}"
                hint = f"'backups watch {going}' shows how far it is, 'backups cancel {going}' stops it"
                return decided.model_copy(update={"verdict": "skipped", "error": error, "hint": hint})
            planned = plan(job, run=run, now=moment, sources=request.sources)
        except UsageError as error:
            return decided.model_copy(update={"error": error.message[:_LONGEST_ERROR], "hint": error.hint})
        key = self.state.put_plan(planned, [_map_item(job, item.source) for item in planned.items])
        return decided.model_copy(
            update={
                "verdict": "run",
                "hostname": planned.hostname,
                "sources": len(planned.items),
                "task_definition": deployed.task_definition,
                "max_concurrency": deployed.concurrency,
                "items": ObjectPointer(bucket=self.state.bucket, key=key),
                "destinations": tuple(destination.id for destination in job.destinations),
                "starts": tuple(channel.id for channel in job.notifications if channel.notify_on_start),
            }
        )

    def announce(self, decided: RunInput, execution: str, now: dt.datetime) -> None:
        """Put it on the event bus that a run begins; nothing when it does not. Never raises."""
        if decided.verdict == "run":
            about = {"job": decided.job, "run": decided.run, "hostname": decided.hostname, "sources": decided.sources}
            tell([RunStarted.model_validate({**about, "started": now, "execution": execution})])

    def adopt(self, job: str, run: str) -> tuple[Deployment, ObjectPointer, Job]:
        """Find a job's file, and copy it to the run's records: a deployment in between must not change a run.

        Raises UsageError when there is no such job or its file is wrong, BackupsError when a service does not answer.
        """
        deployed = self.deployment(job)
        content = read_job_file(deployed.job_file, job)
        checked = parse_job(content, name=job, where=f"job '{job}'")
        key = self.state.put_job_file(job, run, content)
        return deployed, ObjectPointer(bucket=self.state.bucket, key=key), checked

    def send(self, messages: Sequence[Record]) -> None:
        """Have messages sent, each by itself: tried again, and at last put into the dead-letter queue.

        Raises BackupsError when Step Functions does not answer.
        """
        if messages:
            with _asking("send messages"):
                given = {"channels": [message.model_dump(mode="json") for message in messages]}
                _sfn().start_execution(stateMachineArn=self.messages, input=json.dumps(given))

    def deployment(self, job: str) -> Deployment:
        """What is deployed under a job's name. Raises UsageError when nothing is."""
        import boto3
        from botocore.exceptions import BotoCoreError, ClientError

        name = f"{self.parameters}{job}"
        try:
            value = boto3.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
            return Deployment.model_validate_json(value)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("ParameterNotFound", "ValidationException"):
                raise UsageError(
                    f"no job '{job}' is deployed", hint="its file belongs into jobs/; then deploy"
                ) from None
            raise BackupsError(f"could not read parameter {name}: {error}") from None
        except (BotoCoreError, ValidationError) as error:
            raise BackupsError(f"could not read parameter {name}: {error}") from None

    def _going(self, job: str, own: str) -> str:
        """The name of another run of the job that is at work; empty when there is none.

        Two that are started within the same second may miss each other. That costs work and nothing else: each
        stores its copies whole, and the later one stays.
        """
        mine = self._describe(own)
        for name, arn, started in self._running():
            known = _EXECUTION.fullmatch(name)
            if arn == own or (known and known["job"] != job):
                continue
            other = (self._describe(arn) or {}).get("input", {})
            if other.get("job") != job or other.get("verdict", "run") != "run":
                continue
            if mine is None or (started, arn) < (mine["startDate"], own):
                return name
        return ""

    def _running(self) -> Iterator[tuple[str, str, dt.datetime]]:
        pages = (
            _sfn().get_paginator("list_executions").paginate(stateMachineArn=self.state_machine, statusFilter="RUNNING")
        )
        with _asking("list the running executions"):
            for page in pages:
                for execution in page["executions"]:
                    yield execution["name"], execution["executionArn"], execution["startDate"]

    def _describe(self, arn: str) -> Mapping[str, Any] | None:
        """An execution, with its input parsed; None when there is none of that name."""
        client = _sfn()
        with _asking(f"look at execution {arn}"):
            try:
                found = client.describe_execution(executionArn=arn)
            except client.exceptions.ExecutionDoesNotExist:
                return None
        given = json.loads(found.get("input", "{}"))
        return {**found, "input": given if isinstance(given, dict) else {}}

    def _start(self, name: str, decided: RunInput) -> bool:
        client = _sfn()
        with _asking(f"start execution {name}"):
            try:
                client.start_execution(stateMachineArn=self.state_machine, name=name, input=decided.model_dump_json())
            except client.exceptions.ExecutionAlreadyExists:
                return False
        return True


def _map_item(job: Job, id_: str) -> MapItem:
    source = job.source(id_)
    seconds = source.opening_limit + job.time_limit_for(source) + STORING_SECONDS
    return MapItem(id_, seconds, cleanup=source.leaves_something)


def load_deployed(pointer: ObjectPointer, name: str) -> Job:
    """Read and check a deployed job file. Raises JobError, and BackupsError when it can't be read."""
    return parse_job(read_job_file(pointer, name), name=name, where=f"job '{name}'")


def read_job_file(pointer: ObjectPointer, name: str) -> bytes:
    """The content of a deployed job file. Raises BackupsError when it can't be read."""
    import boto3

    with _asking(f"read the file of job '{name}'"):
        return boto3.client("s3").get_object(Bucket=pointer.bucket, Key=pointer.key)["Body"].read()


@contextmanager
def _asking(what: str) -> Iterator[None]:
    """Turns a service's refusal into an error of ours."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise BackupsError(f"could not {what}: {error}", hint="the caller may try again") from None


def _sfn() -> SFNClient:
    import boto3

    return boto3.client("stepfunctions")
