"""State machines in the embedded cloud: only the features that ours use, and the ways in which they fail."""

from __future__ import annotations

import json
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.servers.local_cloud import Sample, alive, wait_for, written

State = dict[str, Any]


def _machine(first: str, states: dict[str, State], **more: Any) -> dict[str, Any]:
    return {"StartAt": first, "States": states, **more}


def _lambda(payload: object, **more: Any) -> State:
    parameters = {"FunctionName": "@Function@", "Payload": payload}
    return {"Type": "Task", "Resource": "arn:aws:states:::lambda:invoke", "Parameters": parameters, **more}


def _worker(action: str, report: Path, **more: Any) -> State:
    environment = [{"Name": "ACTION", "Value": action}, {"Name": "REPORT", "Value": str(report)}]
    parameters = {
        "Cluster": "@Cluster@",
        "TaskDefinition": "@Task@",
        "LaunchType": "FARGATE",
        "NetworkConfiguration": {"AwsvpcConfiguration": {"Subnets": ["@Subnet@"]}},
        "Overrides": {"ContainerOverrides": [{"Name": "worker", "Environment": environment}]},
    }
    return {"Type": "Task", "Resource": "arn:aws:states:::ecs:runTask.sync", "Parameters": parameters, **more}


def _hanging(report: Path, **more: Any) -> dict[str, Any]:
    return _machine("Worker", {"Worker": _worker("hang", report, End=True, **more)})


def _processes(report: Path) -> list[int]:
    wait_for(lambda: written(report), "the worker did not start")
    pids: list[int] = json.loads(report.read_text())
    return pids


def _plan(sample: Sample, content: object) -> dict[str, str]:
    key = f"plans/{uuid.uuid4().hex}.json"
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    sample.cloud.client("s3").put_object(Bucket=sample.outputs["StateBucket"], Key=key, Body=body)
    return {"bucket": sample.outputs["StateBucket"], "key": key}


# The sample's own machine: a distributed Map over a plan in S3, workers, a function, a choice.


def test_one_failed_source_leaves_the_others_alone(sample: Sample, tmp_path: Path) -> None:
    items = [{"action": action, "report": str(tmp_path / action)} for action in ("environment", "fail", "succeed")]
    data = {**_plan(sample, items), "run": "r1", "concurrency": 2}
    ended = sample.end(sample.start(sample.outputs["Machine"], data, "one-fails"))
    assert ended["status"] == "SUCCEEDED", ended
    first, failed, last = json.loads(ended["output"])["results"]
    assert first["task"]["Containers"][0]["ExitCode"] == last["task"]["Containers"][0]["ExitCode"] == 0
    assert failed["error"]["Error"] == "States.TaskFailed"
    cause = json.loads(failed["error"]["Cause"])
    assert (cause["Containers"][0]["ExitCode"], cause["StoppedReason"]) == (3, "Essential container exited")
    variables = json.loads((tmp_path / "environment").read_text())["environment"]
    assert variables["RUN"] == "r1"
    # Inside the Map the context object is the child's; in its ItemSelector it is the parent's.
    assert failed["parent"] == "one-fails"
    assert variables["CHILD"] not in ("one-fails", failed["child"])


def test_a_killed_worker_fails_its_source(sample: Sample, tmp_path: Path) -> None:
    items = [{"action": "hang", "report": str(tmp_path / "report")}]
    execution = sample.start(sample.outputs["Machine"], {**_plan(sample, items), "run": "r", "concurrency": 1})
    os.kill(_processes(tmp_path / "report")[0], signal.SIGKILL)
    ended = sample.end(execution)
    (failed,) = json.loads(ended["output"])["results"]
    assert json.loads(failed["error"]["Cause"])["Containers"][0]["ExitCode"] == 137


def test_max_concurrency_path_holds(sample: Sample, tmp_path: Path) -> None:
    items = [{"action": "hang", "report": str(tmp_path / name)} for name in ("one", "two")]
    execution = sample.start(sample.outputs["Machine"], {**_plan(sample, items), "run": "r", "concurrency": 1})
    wait_for(lambda: written(tmp_path / "one") or written(tmp_path / "two"), "no worker started")
    (first,) = [name for name in ("one", "two") if (tmp_path / name).exists()]
    os.kill(_processes(tmp_path / first)[0], signal.SIGKILL)
    second = tmp_path / ("two" if first == "one" else "one")
    os.kill(_processes(second)[0], signal.SIGKILL)
    assert sample.end(execution)["status"] == "SUCCEEDED"


@pytest.mark.parametrize("content", [b"{", b'{"not": "a list"}'])
def test_items_that_cannot_be_read_have_the_readers_error(sample: Sample, content: bytes) -> None:
    data = {**_plan(sample, content), "run": "r", "concurrency": 1}
    ended = sample.end(sample.start(sample.outputs["Machine"], data))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.ItemReaderFailed")


def test_an_item_without_what_the_selector_wants_fails_the_map(sample: Sample) -> None:
    data = {**_plan(sample, [{"action": "succeed"}]), "run": "r", "concurrency": 1}
    ended = sample.end(sample.start(sample.outputs["Machine"], data))
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")
    assert "$$.Map.Item.Value.report" in ended["cause"]


# The ends of an execution


def test_stopping_an_execution_stops_its_task(sample: Sample, tmp_path: Path) -> None:
    execution = sample.start(sample.machine(_hanging(tmp_path / "report")), {})
    processes = _processes(tmp_path / "report")
    sample.cloud.client("stepfunctions").stop_execution(executionArn=execution, error="Cancelled", cause="by a person")
    ended = sample.end(execution)
    assert (ended["status"], ended["error"], ended["cause"]) == ("ABORTED", "Cancelled", "by a person")
    wait_for(lambda: not any(alive(pid) for pid in processes), "the worker outlived its execution")


def test_stopping_an_execution_stops_all_tasks_of_its_map(sample: Sample, tmp_path: Path) -> None:
    items = [{"action": "hang", "report": str(tmp_path / name)} for name in ("one", "two")]
    execution = sample.start(sample.outputs["Machine"], {**_plan(sample, items), "run": "r", "concurrency": 2})
    processes = [*_processes(tmp_path / "one"), *_processes(tmp_path / "two")]
    sfn = sample.cloud.client("stepfunctions")
    sfn.stop_execution(executionArn=execution)
    wait_for(lambda: not any(alive(pid) for pid in processes), "a worker outlived its execution")
    run = sfn.list_map_runs(executionArn=execution)["mapRuns"][0]["mapRunArn"]

    def children() -> set[str]:
        return {child["status"] for child in sfn.list_executions(mapRunArn=run)["executions"]}

    wait_for(lambda: children() == {"ABORTED"}, "the children are not aborted")
    assert sample.end(execution)["status"] == "ABORTED"


def test_the_machines_time_limit_ends_it_and_its_task(sample: Sample, tmp_path: Path) -> None:
    execution = sample.start(sample.machine({**_hanging(tmp_path / "report"), "TimeoutSeconds": 2}), {})
    processes = _processes(tmp_path / "report")
    ended = sample.end(execution)
    assert (ended["status"], ended["error"]) == ("TIMED_OUT", "States.Timeout")
    wait_for(lambda: not any(alive(pid) for pid in processes), "the worker outlived its execution")


def test_a_tasks_time_limit_stops_it_and_can_be_caught(sample: Sample, tmp_path: Path) -> None:
    catch = [{"ErrorEquals": ["States.Timeout"], "ResultPath": "$.error", "Next": "Late"}]
    worker = _worker("hang", tmp_path / "report", TimeoutSecondsPath="$.limit", Catch=catch, End=True)
    ended = sample.run(_machine("Worker", {"Worker": worker, "Late": {"Type": "Pass", "End": True}}), {"limit": 1})
    assert ended["status"] == "SUCCEEDED", ended
    assert ended["output"]["error"]["Error"] == "States.Timeout"
    processes = _processes(tmp_path / "report")
    wait_for(lambda: not any(alive(pid) for pid in processes), "the worker outlived its state")


def test_a_missing_heartbeat_is_an_error(sample: Sample) -> None:
    waiting = {
        "Type": "Task",
        "Resource": "arn:aws:states:::sqs:sendMessage.waitForTaskToken",
        "HeartbeatSeconds": 1,
        "Parameters": {"QueueUrl": "@Lost@", "MessageBody": {"token.$": "$$.Task.Token"}},
        "Catch": [{"ErrorEquals": ["States.HeartbeatTimeout"], "ResultPath": "$.error", "Next": "Silent"}],
        "End": True,
    }
    ended = sample.run(_machine("Wait", {"Wait": waiting, "Silent": {"Type": "Pass", "End": True}}), {})
    assert ended["status"] == "SUCCEEDED", ended
    assert ended["output"]["error"]["Error"] == "States.HeartbeatTimeout"


# Names of executions


def test_a_name_is_used_once(sample: Sample, tmp_path: Path) -> None:
    machine = sample.machine(_hanging(tmp_path / "report"))
    execution = sample.start(machine, {"a": 1}, "nightly")
    assert sample.start(machine, {"a": 1}, "nightly") == execution
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        sample.start(machine, {"a": 2}, "nightly")
    sample.cloud.client("stepfunctions").stop_execution(executionArn=execution)
    sample.end(execution)
    with pytest.raises(ClientError, match="ExecutionAlreadyExists"):
        sample.start(machine, {"a": 1}, "nightly")


@pytest.mark.parametrize("name", ["a b", "a:b", "x" * 81, "a/b"])
def test_a_name_that_aws_refuses_is_refused(sample: Sample, name: str) -> None:
    with pytest.raises(ClientError, match="InvalidName"):
        sample.start(sample.outputs["Machine"], {}, name)


# Errors, by name


def test_retry_by_name_until_it_works(sample: Sample, tmp_path: Path) -> None:
    retry = [{"ErrorEquals": ["UnavailableError"], "IntervalSeconds": 1, "MaxAttempts": 2, "JitterStrategy": "FULL"}]
    event = {"action": "fail_until", "counter": str(tmp_path / "counter"), "times": 3}
    ended = sample.run(_machine("Call", {"Call": _lambda(event, Retry=retry, OutputPath="$.Payload", End=True)}), {})
    assert ended["status"] == "SUCCEEDED", ended
    assert ended["output"] == "at last"
    assert (tmp_path / "counter").read_text() == "xxx"


def test_catch_by_name_after_the_retries(sample: Sample) -> None:
    states = {
        "Call": _lambda(
            {"action": "fail", "message": "for good"},
            Retry=[{"ErrorEquals": ["OtherError"]}],
            Catch=[
                {"ErrorEquals": ["OtherError"], "Next": "Wrong"},
                {"ErrorEquals": ["UnavailableError"], "ResultPath": "$.error", "Next": "Right"},
            ],
            End=True,
        ),
        "Wrong": {"Type": "Fail"},
        "Right": {"Type": "Pass", "End": True},
    }
    ended = sample.run(_machine("Call", states), {"kept": True})
    assert ended["output"]["kept"] is True
    assert ended["output"]["error"]["Error"] == "UnavailableError"
    assert json.loads(ended["output"]["error"]["Cause"])["errorMessage"] == "for good"


def test_a_task_that_cannot_start_is_caught_with_its_reason(sample: Sample, tmp_path: Path) -> None:
    sample.cloud.client("ecs").register_task_definition(
        family="sample", containerDefinitions=[{"name": "worker", "image": "registry.example/other:1", "memory": 64}]
    )
    worker = _worker("succeed", tmp_path / "report", End=True)
    worker["Parameters"]["TaskDefinition"] = "sample"
    ended = sample.run(_machine("Worker", {"Worker": worker}), {})
    assert ended["error"] == "States.TaskFailed"
    assert "no local program for image" in json.loads(ended["cause"])["StoppedReason"]


@pytest.mark.parametrize(
    ("change", "error", "cause"),
    [
        ({"NetworkConfiguration": None}, "ECS.InvalidParameterException", "Network Configuration must be provided"),
        (
            {"Overrides": {"ContainerOverrides": [{"Name": "worker", "Environment": [{"Name": "A", "Value": 1}]}]}},
            "States.Runtime",
            "must be a STRING",
        ),
        (
            {"Overrides": {"ContainerOverrides": [{"Name": "worker", "Command": ["x" * 8192]}]}},
            "ECS.InvalidParameterException",
            "at most 8192",
        ),
        ({"Overrides": {"ContainerOverrides": [{"Name": "other"}]}}, "ECS.InvalidParameterException", "named other"),
    ],
)
def test_what_ecs_refuses_is_refused(
    sample: Sample, tmp_path: Path, change: dict[str, Any], error: str, cause: str
) -> None:
    worker = _worker("succeed", tmp_path / "report", End=True)
    worker["Parameters"] = {key: value for key, value in {**worker["Parameters"], **change}.items() if value}
    ended = sample.run(_machine("Worker", {"Worker": worker}), {})
    assert (ended["status"], ended["error"]) == ("FAILED", error)
    assert cause in ended["cause"]


# Where MiniStack is more lenient than Step Functions


@pytest.mark.parametrize(
    "state",
    [
        {"Type": "Pass", "Parameters": {"x.$": "$.missing"}, "End": True},
        {"Type": "Pass", "Parameters": {"x": {"y.$": "$$.Execution.Missing"}}, "End": True},
        {
            "Type": "Choice",
            "Choices": [{"Variable": "$.missing", "StringEquals": "a", "Next": "End"}],
            "Default": "End",
        },
    ],
)
def test_a_path_that_leads_nowhere_fails(sample: Sample, state: State) -> None:
    ended = sample.run(_machine("Begin", {"Begin": state, "End": {"Type": "Succeed"}}), {"present": 1})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.Runtime")
    assert "could not be found" in ended["cause"]


def test_only_is_present_may_ask_for_what_is_missing(sample: Sample) -> None:
    rules = [{"Variable": "$.missing", "IsPresent": True, "Next": "Bad"}]
    states: dict[str, State] = {
        "Begin": {"Type": "Choice", "Choices": rules, "Default": "Good"},
        "Good": {"Type": "Succeed"},
        "Bad": {"Type": "Fail"},
    }
    assert sample.run(_machine("Begin", states), {})["status"] == "SUCCEEDED"


def test_a_payload_over_the_limit_fails_and_cannot_be_caught(sample: Sample) -> None:
    catch = [{"ErrorEquals": ["States.ALL"], "Next": "Caught"}]
    states = {
        "Call": _lambda({"action": "big", "size.$": "$.size"}, Catch=catch, End=True),
        "Caught": {"Type": "Succeed"},
    }
    assert sample.run(_machine("Call", states), {"size": 1000})["status"] == "SUCCEEDED"
    ended = sample.run(_machine("Call", states), {"size": 256 * 1024})
    assert (ended["status"], ended["error"]) == ("FAILED", "States.DataLimitExceeded")


def test_a_fail_state_takes_its_cause_from_the_input(sample: Sample) -> None:
    states = {"Failed": {"Type": "Fail", "Error": "BackupFailed", "CausePath": "$.summary"}}
    ended = sample.run(_machine("Failed", states), {"summary": "2 of 3"})
    assert (ended["error"], ended["cause"]) == ("BackupFailed", "2 of 3")


# The role of the state machine


def test_what_the_machines_role_does_not_allow_is_refused(sample: Sample, tmp_path: Path) -> None:
    other = sample.cloud.client("iam").create_role(RoleName=f"other-{uuid.uuid4().hex}", AssumeRolePolicyDocument="{}")
    powerless = other["Role"]["Arn"]
    sfn = sample.cloud.client("stepfunctions")
    errors = []
    plan = _plan(sample, [])
    distributed: State = {
        "Type": "Map",
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "JSON"},
            "Parameters": {"Bucket": plan["bucket"], "Key": plan["key"]},
        },
        "ItemProcessor": {
            "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "STANDARD"},
            **_machine("Item", {"Item": {"Type": "Succeed"}}),
        },
        "End": True,
    }
    for state in (_lambda({}, End=True), _worker("succeed", tmp_path / "report", End=True), distributed):
        machine = sample.machine(_machine("Begin", {"Begin": state}))
        sfn.update_state_machine(stateMachineArn=machine, roleArn=powerless)
        ended = sample.end(sample.start(machine, {}))
        assert "is not authorized to perform" in ended["cause"]
        errors.append(ended["error"])
    assert errors == ["Lambda.AWSLambdaException", "ECS.AccessDeniedException", "States.Permissions"]


# What watches executions


def test_a_failed_execution_rings_its_own_alarm_only(sample: Sample) -> None:
    cloudwatch, sqs = sample.cloud.client("cloudwatch"), sample.cloud.client("sqs")
    topic = sample.cloud.client("sns").create_topic(Name=f"alarms-{uuid.uuid4().hex}")["TopicArn"]
    queue = sqs.create_queue(QueueName=f"alarms-{uuid.uuid4().hex}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    allow = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**allow, "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": json.dumps(policy)})
    sample.cloud.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    failing = sample.machine(_machine("Bad", {"Bad": {"Type": "Fail", "Error": "Bad"}}))
    other = sample.machine(_machine("Good", {"Good": {"Type": "Succeed"}}))
    names = {machine: f"alarm-{uuid.uuid4().hex}" for machine in (failing, other)}
    for machine, name in names.items():
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/States",
            MetricName="ExecutionsFailed",
            Dimensions=[{"Name": "StateMachineArn", "Value": machine}],
            Statistic="Sum",
            Period=300,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            AlarmActions=[topic],
        )
    for machine in names:
        sample.end(sample.start(machine, {}))

    def state(machine: str) -> str:
        value: str = cloudwatch.describe_alarms(AlarmNames=[names[machine]])["MetricAlarms"][0]["StateValue"]
        return value

    wait_for(lambda: state(failing) == "ALARM", "the alarm did not ring")
    assert state(other) != "ALARM"
    messages = wait_for(lambda: sqs.receive_message(QueueUrl=queue).get("Messages"), "nobody was told")
    assert names[failing] in messages[0]["Body"]


def test_errors_of_a_function_that_a_machine_called_are_counted(sample: Sample) -> None:
    cloudwatch = sample.cloud.client("cloudwatch")
    cloudwatch.put_metric_alarm(
        AlarmName="errors-of-one",
        Namespace="AWS/Lambda",
        MetricName="Errors",
        Dimensions=[{"Name": "FunctionName", "Value": sample.outputs["Unbundled"]}],
        Statistic="Sum",
        Period=300,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
    )
    call = _lambda({}, End=True)
    call["Parameters"]["FunctionName"] = "@Unbundled@"
    ended = sample.run(_machine("Call", {"Call": call}), {})
    assert ended["error"] == "Runtime.ImportModuleError"
    alarms = cloudwatch.describe_alarms(AlarmNames=["errors-of-one"])["MetricAlarms"]
    assert [alarm["StateValue"] for alarm in alarms] == ["ALARM"]
