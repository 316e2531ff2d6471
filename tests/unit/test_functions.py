"""The handlers: what goes in, what comes out, and that no secret comes out of their logs and errors."""

from __future__ import annotations

import datetime as dt
import importlib
import io
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
from aws_lambda_powertools.utilities.typing import LambdaContext

from backups.cloud.state import MapItem
from backups.errors import UsageError
from backups.records import Outcome
from backups.verification.status import Verification
from functions.environment import Env
from functions.observability import FunctionError, logger, observed, scrub
from tests.jobs import job_with
from tests.servers.slack import PATH, Answer, slack_server
from tests.unit.deployment import Deployment, deployment
from tests.unit.reports import report, result, stored
from tests.unit.test_state import a_plan

SECRET = "s3cr3t-of-the-channel"
POINTER = {"bucket": "state", "key": "runs/nightly/run-1/job.json"}
PLACE = {"job": "nightly", "run": "run-1", "job_file": POINTER}


class AContext(LambdaContext):
    """What Lambda hands to a handler beside the event."""

    def __init__(self) -> None:
        self._function_name = "Backups-function"
        self._memory_limit_in_mb = 512
        self._invoked_function_arn = "arn:aws:lambda:eu-central-1:123456789012:function:Backups-function"
        self._aws_request_id = "11111111-2222-3333-4444-555555555555"


Invoke = Callable[[str, dict[str, Any]], Any]


@pytest.fixture
def stack() -> Iterator[Deployment]:
    with deployment() as made:
        made.state.put_plan(a_plan("db"), [MapItem("db", 60)])
        yield made


@pytest.fixture
def invoke(stack: Deployment, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Invokes a function of the stack by its name."""
    monkeypatch.setenv("BACKUPS_STATE_BUCKET", "state")
    monkeypatch.setenv("BACKUPS_STATE_MACHINE", stack.cloud.state_machine)
    monkeypatch.setenv("BACKUPS_MESSAGES", stack.cloud.messages)
    monkeypatch.setenv("BACKUPS_SCHEDULES", "Backups")
    monkeypatch.setenv("BACKUPS_JOB_PARAMETERS", "/Backups/jobs/")
    monkeypatch.setenv("POWERTOOLS_TRACE_DISABLED", "true")

    def run(name: str, event: dict[str, Any]) -> Any:
        module: ModuleType = importlib.import_module(f"functions.{name}.handler")
        module = importlib.reload(module)  # each test has a stack of its own
        answer = module.handler(event, AContext())
        return json.loads(json.dumps(answer))  # what Lambda does with it

    return run


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Where the functions' log goes meanwhile."""
    stream = io.StringIO()
    monkeypatch.setattr(logger.registered_handler, "stream", stream)
    return stream


def metric(output: str) -> dict[str, Any]:
    """The one line of metrics among the log lines."""
    (line,) = [line for line in output.splitlines() if '"_aws"' in line]
    return dict(json.loads(line))


def test_a_missing_variable_is_named() -> None:
    with pytest.raises(
        UsageError, match="BACKUPS_STATE_MACHINE, BACKUPS_JOB_PARAMETERS, BACKUPS_MESSAGES, BACKUPS_SCHEDULES"
    ):
        Env.from_env({"BACKUPS_STATE_BUCKET": "state", "BACKUPS_JOB_PARAMETERS": ""})


def test_orchestrator_starts_what_a_schedule_asks_for(stack: Deployment, invoke: Invoke) -> None:
    event = {"job": "nightly", "scheduled_time": "2026-11-23T02:30:00Z"}
    answer = invoke("orchestrator", event)
    assert (answer["verdict"], answer["run"]) == ("run", "20261123T023000Z")
    assert stack.executions() == ["nightly-20261123T023000Z"]
    assert invoke("orchestrator", event)["verdict"] == "started before"


def test_orchestrator_plans_what_a_person_started(stack: Deployment, invoke: Invoke) -> None:
    own = stack.begin("by-hand", {"job": "nightly"})
    answer = invoke(
        "orchestrator", {"request": {"job": "nightly"}, "execution": own, "started": "2026-11-23T10:00:00.123Z"}
    )
    assert (answer["verdict"], answer["run"], answer["destinations"]) == ("run", "20261123T100000Z", ["disk"])
    assert stack.executions() == ["by-hand"]


def test_orchestrator_refuses_what_it_does_not_know(stack: Deployment, invoke: Invoke) -> None:
    with pytest.raises(Exception, match="jobb"):
        invoke("orchestrator", {"jobb": "nightly"})
    assert stack.executions() == []


def test_settle_records_a_dead_worker(stack: Deployment, invoke: Invoke) -> None:
    failure = {"Error": "States.TaskFailed", "Cause": json.dumps({"Containers": [{"ExitCode": 137}]})}
    event = {**PLACE, "source": "db", "timeout_seconds": 60, "task_definition": "task:1", "failure": failure}
    assert invoke("settle", event) == {"source": "db", "outcome": "failed"}
    record = stack.state.result("nightly", "run-1", "db")
    assert record is not None and record.error == "the worker was killed"


def test_retention_counts_what_it_did(stack: Deployment, invoke: Invoke, tmp_path: Path) -> None:
    local = {"id": "disk", "type": "local", "path": str(tmp_path / "gone")}
    pointer = stack.deploy({**job_with("destinations", local), "hostname": "web1"}, "pruned")
    stack.state.put_result(result(destinations=(stored("disk"),)))
    event = {**PLACE, "destination": "disk", "job_file": pointer.model_dump()}
    assert invoke("retention", event) == {"number": 0, "done": True, "removed": 0, "failed": 1}


def test_the_janitor_counts_what_it_removed(
    stack: Deployment, invoke: Invoke, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BACKUPS_DATABASE_REGIONS", "eu-west-1")
    tags = {"backups:run": "nightly/run-1/db", "backups:expires": "2026-11-22T00:00:00+00:00"}
    rds = boto3.client("rds", region_name="eu-west-1")
    for name in ("backups-tmp-db-1", "production"):
        rds.create_db_instance(
            DBInstanceIdentifier=name,
            DBInstanceClass="db.t4g.medium",
            Engine="mysql",
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
    assert invoke("janitor", {"uploads": []}) == {"instances": 1, "uploads": 0, "staged": 0}
    assert [one["DBInstanceIdentifier"] for one in rds.describe_db_instances()["DBInstances"]] == ["production"]
    sent = metric(capsys.readouterr().out)
    assert (sent["TemporaryInstancesRemoved"], sent["service"]) == ([1.0], "backups")
    with pytest.raises(FunctionError, match="uploads to no-such-bucket"):
        invoke("janitor", {"uploads": [{"bucket": "no-such-bucket", "prefix": "host/"}]})


def test_a_look_after_a_check_counts_the_copies_and_not_as_the_hourly_look(
    stack: Deployment, invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    now = dt.datetime.now(dt.UTC)
    times = {"started": now, "finished": now, "oldest": now - dt.timedelta(hours=30)}
    counts = {"copies": 9, "checked": 3, "checked_size": 500, "damaged": 1, "missing": 1, "unreadable": 2}
    given = {"job": "nightly", "run": "c", "hostname": "web1", "within_days": 30, "left_out": {"far": "no answer"}}
    stack.state.put_verification(Verification.model_validate({**given, **times, **counts}))
    invoke("watch", {"jobs": ["nightly"], "after": "check"})
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if '"_aws"' in line]
    assert not [line for line in lines if "Looks" in line]
    (of_job,) = [line for line in lines if "CopiesDamaged" in line]
    assert {name: of_job[name] for name in of_job if name.startswith(("Copies", "Bytes", "HoursUnv"))} == {
        "CopiesDamaged": [2.0],
        "CopiesUnreadable": [3.0],
        "HoursUnverified": [30.0],
        "CopiesVerified": [3.0],
        "BytesVerified": [500.0],
    }
    assert sorted(of_job["_aws"]["CloudWatchMetrics"][0]["Dimensions"][0]) == ["job", "service"]
    invoke("watch", {"jobs": ["nightly"]})
    output = capsys.readouterr().out
    assert "Looks" in output
    assert "CopiesVerified" not in output


@pytest.mark.parametrize(("outcome", "not_stored"), [(Outcome.STORED, 0), (Outcome.PARTIAL, 1), (Outcome.FAILED, 1)])
def test_report_counts_the_run(
    stack: Deployment, invoke: Invoke, capsys: pytest.CaptureFixture[str], outcome: Outcome, not_stored: int
) -> None:
    stack.state.put_result(result(outcome=outcome))
    event = {
        "input": {**PLACE, "verdict": "run", "job_file": stack.cloud.adopt("nightly", "run-1")[1].model_dump()},
        "execution": f"{stack.cloud.state_machine.replace(':stateMachine:', ':execution:')}:x",
        "started": "2026-11-23T02:00:00Z",
    }
    answer = invoke("report", event)
    assert (answer["outcome"], answer["channels"]) == (outcome, [])
    counted = metric(capsys.readouterr().out)
    assert (counted["Runs"], counted["RunsNotStored"], counted["job"]) == ([1.0], [float(not_stored)], "nightly")
    (definition,) = counted["_aws"]["CloudWatchMetrics"]
    # Exactly these: the alarm of the job looks for this combination.
    assert definition["Namespace"] == "Backups" and sorted(definition["Dimensions"][0]) == ["job", "service"]


def test_notify_s_refusal_is_an_error_without_secrets(
    stack: Deployment, invoke: Invoke, capsys: pytest.CaptureFixture[str]
) -> None:
    with slack_server() as slack:
        slack.answers.append(Answer(404, f"no_service {slack.url}"))
        boto3.client("secretsmanager").create_secret(Name="hook", SecretString=slack.url)
        channel = {"id": "ops", "type": "slack", "url": "{{resolve:secretsmanager:hook}}"}
        stack.deploy({**job_with("notifications", channel), "hostname": "web1"}, "noisy")
        pointer = stack.cloud.adopt("noisy", "run-1")[1].model_dump()
        stack.state.put_report(report(result(), job="noisy"))
        with pytest.raises(Exception, match="channel ops was not told") as caught:
            invoke("notify", {"job": "noisy", "run": "run-1", "channel": "ops", "job_file": pointer})
    (told,) = stack.state.notified("noisy", "run-1")
    assert told.status == "failed" and slack.requests == 1
    assert PATH not in f"{caught.value!r} {told!r} {''.join(capsys.readouterr())}"
    assert caught.value.__suppress_context__  # else a traceback would show what was caught, with its values


def test_notify_tells(stack: Deployment, invoke: Invoke) -> None:
    with slack_server() as slack:
        boto3.client("secretsmanager").create_secret(Name="hook", SecretString=slack.url)
        channel = {"id": "ops", "type": "slack", "url": "{{resolve:secretsmanager:hook}}"}
        stack.deploy({**job_with("notifications", channel), "hostname": "web1"}, "noisy")
        pointer = stack.cloud.adopt("noisy", "run-1")[1].model_dump()
        stack.state.put_report(report(result(), job="noisy"))
        event = {"job": "noisy", "run": "run-1", "channel": "ops", "job_file": pointer}
        assert invoke("notify", event) == {"channel": "ops", "status": "sent"}
    assert len(slack.messages) == 1


def test_an_unexpected_error_leaves_its_traceback_in_the_log_without_secrets(log: io.StringIO) -> None:
    scrub.add(SECRET)

    @observed
    def breaks(event: dict[str, Any]) -> dict[str, Any]:
        raise ValueError(f"{event['secret']} is wrong")

    with pytest.raises(FunctionError, match=r"^ValueError: \*\*\*\* is wrong$"):
        breaks({"secret": SECRET}, AContext())
    (line,) = log.getvalue().splitlines()
    assert SECRET not in line
    assert "Traceback" in json.loads(line)["message"] and "in breaks" in json.loads(line)["message"]


def test_what_the_library_logs_is_json_and_scrubbed(log: io.StringIO) -> None:
    scrub.add(SECRET)
    logging.getLogger("backups.somewhere").warning("it says %s", SECRET)
    logger.info("it says %s", SECRET)
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [(line["service"], line["message"]) for line in lines] == [("backups", "it says ****")] * 2
