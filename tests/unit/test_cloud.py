"""The orchestrator: one run for each scheduled time, and skipped or failed ones that are seen."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator

import boto3
import pytest
from pydantic import ValidationError

from backups.cloud.orchestration import STORING_SECONDS, Request, load_deployed
from backups.cloud.orchestration import Deployment as Deployed
from backups.errors import BackupsError, JobError, UsageError
from tests.jobs import job_data, job_with
from tests.unit.deployment import ASSETS, Deployment, deployment

NOW = dt.datetime(2026, 11, 23, 2, 30, tzinfo=dt.UTC)
RUN = "20261123T023000Z"
NIGHTLY = Request(job="nightly", scheduled_time=NOW)


@pytest.fixture
def stack() -> Iterator[Deployment]:
    with deployment() as made:
        yield made


def test_a_schedule_starts_a_planned_run(stack: Deployment) -> None:
    started = stack.cloud.start(NIGHTLY, now=NOW + dt.timedelta(minutes=3))
    assert started.verdict == "run"
    assert started.execution.endswith(f":execution:Backups-run:nightly-{RUN}")
    given = stack.input_of(started.execution)
    assert given == {
        "verdict": "run",
        "job": "nightly",
        "run": RUN,
        "error": "",
        "hint": "",
        "hostname": "web1",
        "sources": 1,
        "job_file": {"bucket": "state", "key": f"runs/nightly/{RUN}/job.json"},
        "task_definition": "task:1",
        "max_concurrency": 4,
        "items": {"bucket": "state", "key": f"runs/nightly/{RUN}/items.json"},
        "destinations": ["disk"],
        "starts": [],
    }
    plan = stack.state.plan("nightly", RUN)
    assert plan is not None and plan.hostname == "web1" and [item.source for item in plan.items] == ["etc"]
    items = boto3.client("s3").get_object(Bucket="state", Key=given["items"]["key"])["Body"].read()
    assert json.loads(items) == [
        {"source": "etc", "timeout_seconds": 86_400 + STORING_SECONDS, "cleanup": False},
    ]


def test_the_same_scheduled_time_makes_one_run(stack: Deployment) -> None:
    first = stack.cloud.start(NIGHTLY, now=NOW)
    boto3.client("s3").put_object(Bucket="state", Key=f"runs/nightly/{RUN}/plan.json", Body=b"as it was")
    again = stack.cloud.start(NIGHTLY, now=NOW + dt.timedelta(hours=1))
    assert (again.execution, again.verdict) == (first.execution, "started before")
    assert stack.executions() == [f"nightly-{RUN}"]
    untouched = boto3.client("s3").get_object(Bucket="state", Key=f"runs/nightly/{RUN}/plan.json")["Body"].read()
    assert untouched == b"as it was"


def test_the_same_time_is_one_run_after_it_has_ended_too(stack: Deployment) -> None:
    first = stack.cloud.start(NIGHTLY, now=NOW)
    boto3.client("stepfunctions").stop_execution(executionArn=first.execution)
    assert stack.cloud.start(NIGHTLY, now=NOW).verdict == "started before"


def test_two_orchestrators_at_once_start_one_run(stack: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both found no execution; the name decides."""
    first = stack.cloud.start(NIGHTLY, now=NOW)
    looked: list[str] = []

    def blind(_: object, arn: str) -> None:
        looked.append(arn)

    monkeypatch.setattr(type(stack.cloud), "_describe", blind)
    second = stack.cloud.start(NIGHTLY, now=NOW + dt.timedelta(seconds=5))
    assert second.execution == first.execution and looked
    assert stack.executions() == [f"nightly-{RUN}"]


def test_a_run_that_is_still_going_makes_a_visible_skip(stack: Deployment) -> None:
    stack.cloud.start(NIGHTLY, now=NOW)
    later = Request(job="nightly", scheduled_time=NOW + dt.timedelta(days=1))
    second = stack.cloud.start(later, now=NOW)
    assert second.verdict == "skipped"
    given = stack.input_of(second.execution)
    assert given["error"] == f"an earlier run of the job is still going: nightly-{RUN}"
    assert f"'backups cancel nightly-{RUN}' stops it" in given["hint"]
    assert given["job_file"]["bucket"] == "state"  # so that its channels can be told
    assert stack.state.plan("nightly", second.run) is None


def test_a_run_that_a_person_started_counts_as_going(stack: Deployment) -> None:
    stack.begin("6f9619ff-8b86-d011-b42d-00cf4fc964ff", {"job": "nightly"})
    assert stack.cloud.start(NIGHTLY, now=NOW).verdict == "skipped"


@pytest.mark.parametrize(
    "other",
    [
        {"job": "weekly"},
        {"job": "nightly", "verdict": "skipped"},
        {"job": "nightly", "verdict": "failed"},
        ["nightly"],
    ],
)
def test_others_do_not_count_as_going(stack: Deployment, other: object) -> None:
    stack.begin("other", other)
    assert stack.cloud.start(NIGHTLY, now=NOW).verdict == "run"


def test_a_job_whose_name_begins_like_another_s_is_another(stack: Deployment) -> None:
    stack.deploy(job_data(hostname="web1"), "nightly-2")
    stack.cloud.start(Request(job="nightly-2", scheduled_time=NOW), now=NOW)
    assert stack.cloud.start(NIGHTLY, now=NOW).verdict == "run"


def test_a_person_s_own_execution_does_not_block_itself(stack: Deployment) -> None:
    own = stack.begin("by-hand", {"job": "nightly"})
    decided = stack.cloud.prepare(Request(job="nightly"), run=RUN, moment=NOW, own=own)
    assert decided.verdict == "run"


def test_of_two_started_by_hand_the_first_runs(stack: Deployment) -> None:
    arns = [stack.begin(name, {"job": "nightly"}) for name in ("a", "b")]
    verdicts = [stack.cloud.prepare(Request(job="nightly"), run=RUN, moment=NOW, own=arn).verdict for arn in arns]
    assert verdicts == ["run", "skipped"]


def test_chosen_sources(stack: Deployment) -> None:
    folders = [{"id": id_, "type": "folder", "path": f"/{id_}"} for id_ in ("a", "b", "c")]
    boto3.client("ssm").delete_parameter(Name="/Backups/jobs/nightly")
    stack.deploy({**job_with("sources", *folders), "hostname": "web1"})
    started = stack.cloud.start(Request(job="nightly", sources=("c", "a")), now=NOW)
    plan = stack.state.plan("nightly", started.run)
    assert plan is not None and [item.source for item in plan.items] == ["c", "a"]


def test_an_unknown_source_fails_and_is_seen(stack: Deployment) -> None:
    started = stack.cloud.start(Request(job="nightly", sources=("nope",)), now=NOW)
    given = stack.input_of(started.execution)
    assert (started.verdict, given["error"]) == ("failed", "the job has no source 'nope'")
    assert given["hint"] == "it has: etc" and given["job_file"]


def test_a_job_that_is_not_deployed_fails_and_is_seen(stack: Deployment) -> None:
    started = stack.cloud.start(Request(job="gone"), now=NOW)
    assert started.verdict == "failed"
    assert stack.input_of(started.execution)["error"] == "no job 'gone' is deployed"


def test_a_job_file_that_is_wrong_fails_and_says_all_of_it(stack: Deployment) -> None:
    stack.deploy({"sources": [{"type": "foldr"}], "destinations": []}, "broken")
    error = stack.input_of(stack.cloud.start(Request(job="broken"), now=NOW).execution)["error"]
    assert "job 'broken': sources[0].type: unknown type 'foldr'" in error and "destinations" in error


def test_a_service_that_does_not_answer_starts_nothing(stack: Deployment) -> None:
    boto3.client("s3").delete_object(Bucket=ASSETS, Key="nightly-hash.json")
    with pytest.raises(BackupsError, match="could not read the file of job 'nightly'") as caught:
        stack.cloud.start(NIGHTLY, now=NOW)
    assert not isinstance(caught.value, UsageError)
    assert stack.executions() == []


def test_a_parameter_that_makes_no_sense_is_an_error(stack: Deployment) -> None:
    boto3.client("ssm").put_parameter(Name="/Backups/jobs/odd", Value='{"job_file": 1}', Type="String")
    with pytest.raises(BackupsError, match="/Backups/jobs/odd"):
        stack.cloud.deployment("odd")


@pytest.mark.parametrize("name", ["", "a/b", "../x", "-a", "a" * 64, "a b", "a\nb", "a\n"])
def test_names_that_would_not_do_in_keys_and_executions_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        Request(job=name)


def test_the_longest_name_makes_an_execution_s_name(stack: Deployment) -> None:
    stack.deploy(job_data(hostname="web1"), "a" * 63)
    started = stack.cloud.start(Request(job="a" * 63, scheduled_time=NOW), now=NOW)
    assert started.verdict == "run" and len(started.execution.rpartition(":")[2]) == 80


def test_a_deployment_in_between_does_not_change_a_run(stack: Deployment) -> None:
    started = stack.cloud.start(NIGHTLY, now=NOW)
    boto3.client("s3").put_object(Bucket=ASSETS, Key="nightly-hash.json", Body=b"{}")
    pointer = Deployed.model_validate(
        {"job_file": stack.input_of(started.execution)["job_file"], "task_definition": ""}
    )
    assert load_deployed(pointer.job_file, "nightly").hostname == "web1"


def test_a_deployed_file_is_checked_again(stack: Deployment) -> None:
    pointer = stack.deploy({"sources": []}, "empty")
    with pytest.raises(JobError, match="job 'empty'"):
        load_deployed(pointer, "empty")
