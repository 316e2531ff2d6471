"""A deployed stack from outside: starts a run, looks how far it is, stops it. Uses the caller's AWS credentials."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from backups.cloud.orchestration import JOB_NAME, Started
from backups.cloud.state import State
from backups.errors import BackupsError, UsageError
from backups.planning import run_id
from backups.progress import ProgressRecord
from backups.records import Record, Result, RunReport

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

_OF_MESSAGES = ("NotifyName", "EndedName", "DeadLetterQueue")

Status = Literal["running", "ended", "aborted"]

_OUTPUTS = ("StateMachineArn", "OrchestratorName", "StateBucket", "HostFolderDocument")


class View(Record):
    """How far a run is."""

    status: Status
    progress: tuple[ProgressRecord, ...]
    results: tuple[Result, ...]


@dataclass(frozen=True)
class RunName:
    """What a run's execution is called, and where its records are."""

    arn: str
    job: str
    run: str


class Stack:
    """One deployed stack. Every method raises BackupsError when AWS refuses."""

    def __init__(self, name: str) -> None:
        """Look its parts up in the outputs of CloudFormation. Raises UsageError when there is no such stack."""
        import boto3

        with asking(f"look at stack {name}", missing=f"there is no stack '{name}' in this account and region"):
            stacks = boto3.client("cloudformation").describe_stacks(StackName=name)["Stacks"]
        outputs = {output.get("OutputKey"): output.get("OutputValue", "") for output in stacks[0].get("Outputs", [])}
        if any(key not in outputs for key in (*_OUTPUTS, *_OF_MESSAGES)):
            raise UsageError(f"stack '{name}' is not one of backups, or not deployed whole", hint="deploy it again")
        self.state_machine, self._orchestrator, bucket, self.host_document = (outputs[key] for key in _OUTPUTS)
        self.state = State(bucket)
        self.notify, self.ended, self.dead_letters = (outputs[key] for key in _OF_MESSAGES)

    def start(self, job: str, sources: Sequence[str] | None) -> Started:
        """Start a run of a deployed job now, as its schedule would."""
        import boto3

        if not re.fullmatch(JOB_NAME, job):
            raise UsageError(f"{job!r} is no name of a deployed job", hint="it is the job file's name without .json")
        request = {"job": job, **({"sources": list(sources)} if sources else {})}
        with asking(f"start job {job}"):
            client = boto3.client("lambda")
            answer = client.invoke(FunctionName=self._orchestrator, Payload=json.dumps(request).encode())
            content = answer["Payload"].read()
        try:
            return Started.model_validate_json(content)
        except ValidationError:
            said = content.decode("utf-8", "replace")[:500]
            raise BackupsError(f"the orchestrator could not start job {job}: {said}", hint="look at its log") from None

    def find(self, run: str) -> RunName:
        """The run of an execution's name or ARN. Raises UsageError when there is none."""
        arn = run if run.startswith("arn:") else f"{self.state_machine.replace(':stateMachine:', ':execution:')}:{run}"
        with asking(f"look at run {run}", missing=f"there is no run '{run}'"):
            found = _sfn().describe_execution(executionArn=arn)
        given = json.loads(found.get("input", "{}"))
        # One that was started by hand has no name for its run: the orchestrator makes it from the time of its start.
        return RunName(arn, str(given.get("job", "")), str(given.get("run") or run_id(found["startDate"])))

    def look(self, name: RunName) -> View:
        """How far a run is."""
        with asking(f"look at run {name.run}"):
            status = _sfn().describe_execution(executionArn=name.arn)["status"]
        return View(
            status="running" if status == "RUNNING" else "aborted" if status == "ABORTED" else "ended",
            progress=tuple(self.state.progress(name.job, name.run)),
            results=tuple(self.state.results(name.job, name.run)),
        )

    def report(self, name: RunName) -> RunReport | None:
        """What a run that ended tells; None when it was stopped before."""
        return self.state.report(name.job, name.run)

    def cancel(self, name: RunName) -> None:
        """Stop a run: its workers get SIGTERM. One that has ended stays as it is."""
        with asking(f"stop run {name.run}"):
            _sfn().stop_execution(executionArn=name.arn, error="BackupCancelled", cause="backups cancel")


@contextlib.contextmanager
def asking(what: str, *, missing: str = "") -> Iterator[None]:
    """Turns a service's refusal into an error of ours; ``missing`` is what it means that something isn't there."""
    from botocore.exceptions import BotoCoreError, ClientError

    hint = "are AWS credentials and a region set, and is --stack right?"
    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        if missing and (code in ("ExecutionDoesNotExist", "InvalidArn") or "does not exist" in str(error)):
            raise UsageError(missing, hint=hint) from None
        raise BackupsError(f"could not {what}: {error}", hint=hint) from None
    except BotoCoreError as error:
        raise BackupsError(f"could not {what}: {error}", hint=hint) from None


def _sfn() -> SFNClient:
    import boto3

    return boto3.client("stepfunctions")
