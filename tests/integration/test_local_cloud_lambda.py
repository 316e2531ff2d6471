"""Functions in the embedded cloud: awslambdaric, the bundle and nothing else, errors by name, limits, retries."""

from __future__ import annotations

import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from local_cloud.seams.emf import Metric, metrics
from tests.servers.local_cloud import Sample, alive, wait_for


def test_a_function_answers(sample: Sample) -> None:
    answer, error = sample.invoke({"action": "echo", "text": "ü\n"})
    assert error is None
    assert answer["event"] == {"action": "echo", "text": "ü\n"}
    assert answer["dependency"] == "from the bundle"


def test_the_interpreter_sees_the_bundle_and_the_client_only(sample: Sample) -> None:
    seen, _ = sample.invoke({"action": "environment"})
    assert seen["found"] == ["awslambdaric"]
    assert Path(seen["path"][0]) == Path(seen["variables"]["LAMBDA_TASK_ROOT"])
    assert not [path for path in seen["path"] if "site-packages" in path or path == ""]


def test_the_environment_is_the_functions_own(sample: Sample) -> None:
    seen, _ = sample.invoke({"action": "environment"})
    variables = seen["variables"]
    assert variables["STATE_BUCKET"] == sample.outputs["StateBucket"]
    assert variables["AWS_ENDPOINT_URL"] == sample.cloud.endpoint
    assert variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"] == "256"
    assert "HOME" not in variables
    assert not [name for name in variables if name.startswith(("PYTHON", "MINISTACK", "VIRTUAL_ENV", "PYTEST"))]
    assert 0 < seen["remaining"] <= 20_000
    assert seen["arn"].endswith(f":function:{sample.outputs['Function']}")


def test_a_module_missing_from_the_bundle_is_an_error(sample: Sample) -> None:
    answer, error = sample.invoke({}, "Unbundled")
    assert error == "Unhandled"
    assert answer["errorType"] == "Runtime.ImportModuleError"
    assert "No module named 'pydantic'" in answer["errorMessage"]


def test_an_exception_has_its_own_name(sample: Sample) -> None:
    answer, error = sample.invoke({"action": "fail", "message": "broken"})
    assert error == "Unhandled"
    assert (answer["errorType"], answer["errorMessage"]) == ("UnavailableError", "broken")


def test_an_environment_is_used_again(sample: Sample) -> None:
    first, _ = sample.invoke({"action": "environment"})
    second, _ = sample.invoke({"action": "environment"})
    assert first["process"] == second["process"]


def test_a_busy_environment_does_not_block_another_invocation(sample: Sample, tmp_path: Path) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")
    events = [{"action": "meet", "mine": one, "other": other}, {"action": "meet", "mine": other, "other": one}]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(sample.invoke, events))
    assert [error for _, error in answers] == [None, None]
    assert answers[0][0] != answers[1][0]


def test_a_function_that_hangs_times_out_and_is_gone(sample: Sample, tmp_path: Path) -> None:
    answer, _ = sample.invoke({"action": "hang", "pids": str(tmp_path / "pids")}, "Brief")
    assert answer["errorType"] == "Sandbox.Timedout"
    assert "Task timed out after 1.00 seconds" in answer["errorMessage"]
    assert not [pid for pid in json.loads((tmp_path / "pids").read_text()) if alive(pid)]
    assert sample.invoke({"action": "echo"}, "Brief")[1] is None


def test_a_function_whose_process_ends_is_an_error(sample: Sample) -> None:
    answer, error = sample.invoke({"action": "leave"})
    assert error == "Unhandled"
    assert answer["errorType"] == "Runtime.ExitError"
    assert "exit status 7" in answer["errorMessage"]
    assert sample.invoke({"action": "echo"})[1] is None


def test_output_is_in_the_functions_log_group(sample: Sample) -> None:
    sample.invoke({"action": "fail", "message": "into the log"})
    messages = sample.messages("/sample/function")
    assert "handling fail" in messages
    assert any("into the log" in message for message in messages)


def test_new_code_is_used_at_once(sample: Sample) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as new:
        new.writestr("sample.py", "def handler(event, context):\n    return 'second'\n")
    lambda_ = sample.cloud.client("lambda")
    role = sample.outputs["MachineRole"]
    code = archive.getvalue()
    lambda_.create_function(
        FunctionName="changing", Runtime="python3.11", Role=role, Handler="sample.handler", Code={"ZipFile": code}
    )
    sample.outputs["Changing"] = "changing"
    assert sample.invoke({}, "Changing")[0] == "second"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as new:
        new.writestr("sample.py", "def handler(event, context):\n    return 'third'\n")
    lambda_.update_function_code(FunctionName="changing", ZipFile=archive.getvalue())
    assert sample.invoke({}, "Changing")[0] == "third"


def test_modules_compiled_for_another_python_are_named(sample: Sample) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as bundle:
        bundle.writestr("index.py", "def handler(event, context):\n    return 1\n")
        bundle.writestr("fast/core.cpython-39-x86_64-linux-gnu.so", b"")
    sample.cloud.client("lambda").create_function(
        FunctionName="foreign",
        Runtime="python3.9",
        Role=sample.outputs["MachineRole"],
        Handler="index.handler",
        Code={"ZipFile": archive.getvalue()},
    )
    sample.outputs["Foreign"] = "foreign"
    answer, _ = sample.invoke({}, "Foreign")
    assert "fast/core.cpython-39-x86_64-linux-gnu.so is compiled for Python 3.9" in answer["errorMessage"]


def test_an_asynchronous_failure_goes_to_the_dead_letter_queue(sample: Sample) -> None:
    sample.cloud.client("lambda").invoke(
        FunctionName=sample.outputs["Function"],
        InvocationType="Event",
        Payload=b'{"action": "fail", "message": "asynchronously"}',
    )
    sqs = sample.cloud.client("sqs")

    def lost() -> dict[str, object] | None:
        received = sqs.receive_message(QueueUrl=sample.outputs["Lost"], MaxNumberOfMessages=10).get("Messages", [])
        bodies = [json.loads(one["Body"]) for one in received]
        return next((body for body in bodies if body.get("requestPayload", {}).get("action") == "fail"), None)

    body = wait_for(lost, "nothing arrived in the dead-letter queue")
    assert body["responsePayload"]["errorMessage"] == "asynchronously"  # type: ignore[index]


def test_a_printed_metric_rings_the_alarm_of_its_dimensions(sample: Sample) -> None:
    cloudwatch = sample.cloud.client("cloudwatch")
    for job in ("good", "bad"):
        cloudwatch.put_metric_alarm(
            AlarmName=f"not-stored-{job}",
            Namespace="Sample",
            MetricName="RunsNotStored",
            Dimensions=[{"Name": "job", "Value": job}, {"Name": "service", "Value": "backups"}],
            Statistic="Sum",
            Period=300,
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
        )
    sample.invoke({"action": "measure", "job": "good", "value": 0})
    sample.invoke({"action": "measure", "job": "bad", "value": 1})
    alarms = cloudwatch.describe_alarms(AlarmNamePrefix="not-stored-")["MetricAlarms"]
    assert {alarm["AlarmName"]: alarm["StateValue"] for alarm in alarms} == {
        "not-stored-good": "OK",
        "not-stored-bad": "ALARM",
    }


def test_only_metrics_are_read_from_a_log() -> None:
    metric = {"Namespace": "N", "Dimensions": [["job"], []], "Metrics": [{"Name": "A"}, {"Name": "B", "Unit": "Count"}]}
    log = "\n".join(
        [
            "START",
            '{"message": "CloudWatchMetrics"}',
            '"CloudWatchMetrics" {',
            json.dumps({"_aws": {"CloudWatchMetrics": [metric]}, "job": "j", "A": [1, 2], "B": 3}),
        ]
    )
    assert list(metrics(log)) == [
        Metric("N", "A", 1.0, "None", {"job": "j"}),
        Metric("N", "A", 2.0, "None", {"job": "j"}),
        Metric("N", "B", 3.0, "Count", {"job": "j"}),
        Metric("N", "A", 1.0, "None", {}),
        Metric("N", "A", 2.0, "None", {}),
        Metric("N", "B", 3.0, "Count", {}),
    ]
