"""What the template says: who may do what, when jobs run, what is watched."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from infra.constructs.checks import schedule_name
from infra.constructs.functions import NAMES

pytestmark = pytest.mark.xdist_group("assembly")

Template = dict[str, Any]


def of_type(template: Template, kind: str) -> dict[str, Any]:
    """Properties of every resource of a type, by logical id."""
    return {
        name: resource.get("Properties", {})
        for name, resource in template["Resources"].items()
        if resource["Type"] == kind
    }


def text(value: Any) -> str:
    """A value with its references written in angle brackets."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Fn::Join":
        return str(argument[0]).join(map(text, argument[1]))
    if function == "Fn::Sub":
        return str(argument)
    return f"<{argument if function == 'Ref' else '.'.join(argument)}>"


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def grants(template: Template, role: str) -> dict[str, set[str]]:
    """What a role may do: every action with its resources. ``role`` is the beginning of its logical id."""
    found: dict[str, set[str]] = {}
    for policy in of_type(template, "AWS::IAM::Policy").values():
        if not any(text(name).startswith(f"<{role}") for name in policy["Roles"]):
            continue
        for statement in policy["PolicyDocument"]["Statement"]:
            assert statement["Effect"] == "Allow"
            for action in listed(statement["Action"]):
                found.setdefault(action, set()).update(text(arn) for arn in listed(statement["Resource"]))
    assert found, f"{role} has no policy"
    return found


STATE = "<FoundationState64173B97.Arn>"
COPIES = "arn:<AWS::Partition>:s3:::example-backups/team-a/db1.example.org/*"
ARCHIVE = "arn:<AWS::Partition>:s3:::example-archive/files.example.org/*"
ACCOUNT = "eu-central-1:123456789012"


def secret(name: str) -> str:
    return f"arn:<AWS::Partition>:secretsmanager:{ACCOUNT}:secret:{name}-??????"


def test_a_worker_may_write_and_abort_but_never_delete_or_list(template: Template) -> None:
    rights = grants(template, "JobnightlyRole")
    of_databases = {action for action in rights if action.startswith(("rds:", "ec2:"))}  # test_database_grants.py
    assert {action: arns for action, arns in rights.items() if action not in of_databases} == {
        "s3:GetObject": {f"{STATE}/runs/nightly/*/job.json", f"{STATE}/runs/nightly/*/plan.json", COPIES},
        "s3:PutObject": {f"{STATE}/runs/nightly/*/results/*.json", f"{STATE}/runs/nightly/*/progress/*.json", COPIES},
        "s3:GetObjectVersion": {COPIES},
        "s3:AbortMultipartUpload": {COPIES},
        "secretsmanager:GetSecretValue": {secret("backups/nightly"), secret("backups/elsewhere")},
        "ssm:GetParameter": {f"arn:<AWS::Partition>:ssm:{ACCOUNT}:parameter/backups/nightly/dbpass"},
        "kms:Decrypt": {
            "<FoundationKeyCE5FC256.Arn>",
            f"arn:<AWS::Partition>:kms:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555",
        },
        "kms:GenerateDataKey": {
            "<FoundationKeyCE5FC256.Arn>",
            f"arn:<AWS::Partition>:kms:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555",
        },
    }


def test_a_worker_reaches_nothing_of_another_job(template: Template) -> None:
    reached = {arn for arns in grants(template, "JobweeklyRole").values() for arn in arns}
    assert ARCHIVE in reached
    assert not [arn for arn in reached if "nightly" in arn or "example-backups" in arn or "elsewhere" in arn]


def test_retention_may_list_and_delete_but_never_write_a_copy(template: Template) -> None:
    rights = grants(template, "Functionsretentionrole")
    assert rights["s3:DeleteObject"] == rights["s3:DeleteObjectVersion"] == {COPIES, ARCHIVE}
    assert rights["s3:PutObject"] == {f"{STATE}/runs/*/pruned/*.json", f"{STATE}/runs/*/retention/*.json"}
    assert rights["s3:ListBucketVersions"] == {
        "arn:<AWS::Partition>:s3:::example-backups",
        "arn:<AWS::Partition>:s3:::example-archive",
    }
    # Of the secrets those of destinations: not the passphrase, not the database's password, not the channel's.
    assert rights["secretsmanager:GetSecretValue"] == {secret("backups/elsewhere")}
    assert "ssm:GetParameter" not in rights


def test_a_check_may_list_and_read_copies_and_write_what_it_finds(template: Template) -> None:
    rights = grants(template, "JobnightlyCheckRole")
    found = {f"{STATE}/verification/nightly.json", f"{STATE}/verification/nightly/*"}
    (asset,) = rights["s3:GetObject"] - found - {COPIES}
    assert "cdk-" in asset and asset.endswith(".json")
    assert rights == {
        "s3:GetObject": {asset, COPIES, *found},
        "s3:PutObject": found,
        "s3:GetObjectVersion": {COPIES},
        "s3:ListBucket": {STATE, "arn:<AWS::Partition>:s3:::example-backups"},
        # What reaches the copies and decrypts them: not the database's password, not the channel's.
        "secretsmanager:GetSecretValue": {secret("backups/nightly"), secret("backups/elsewhere")},
        "kms:Decrypt": {
            "<FoundationKeyCE5FC256.Arn>",
            f"arn:<AWS::Partition>:kms:{ACCOUNT}:key/11111111-2222-3333-4444-555555555555",
        },
        "kms:GenerateDataKey": {"<FoundationKeyCE5FC256.Arn>"},
    }
    listing = [
        statement["Condition"]["StringLike"]["s3:prefix"]
        for name, policy in of_type(template, "AWS::IAM::Policy").items()
        for statement in policy["PolicyDocument"]["Statement"]
        if name.startswith("JobnightlyCheckRole") and "s3:ListBucket" in listed(statement["Action"])
    ]
    assert listing == [
        ["verification/nightly.json", "verification/nightly/*"],
        ["team-a/db1.example.org/", "team-a/db1.example.org/*"],
    ]


def test_lists_are_limited_to_the_job_s_host(template: Template) -> None:
    conditions = [
        statement["Condition"]
        for policy in of_type(template, "AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if "s3:ListBucketVersions" in listed(statement["Action"])
    ]
    assert conditions == [
        {"StringLike": {"s3:prefix": ["team-a/db1.example.org/", "team-a/db1.example.org/*"]}},
        {"StringLike": {"s3:prefix": ["files.example.org/", "files.example.org/*"]}},
    ]


def test_only_retention_may_delete_and_only_the_state_machine_runs_tasks(template: Template) -> None:
    policies = of_type(template, "AWS::IAM::Policy")
    holders: dict[str, set[str]] = {}
    for name, policy in policies.items():
        for statement in policy["PolicyDocument"]["Statement"]:
            if all(text(arn).startswith(f"{STATE}/staging/") for arn in listed(statement["Resource"])):
                continue  # what is staged is removed as soon as it was read
            if "aws:ResourceTag/backups:run" in str(statement.get("Condition")):
                continue  # temporary instances, by their tags: test_the_janitor_… and test_database_grants.py
            for action in listed(statement["Action"]):
                holders.setdefault(action, set()).add(re.sub(r"DefaultPolicy\w+$", "", name))
    deleting = {
        name for action, names in holders.items() if "Delete" in action and "Log" not in action for name in names
    }
    assert deleting == {"Functionsretentionrole"}
    assert holders["ecs:RunTask"] == holders["iam:PassRole"] == {"RunStateMachineRole", "ChecksStateMachineRole"}
    assert holders["states:StartExecution"] == {
        "Functionsorchestratorrole",
        "Functionsendedrole",
        "Functionswatchrole",
        "ChecksRole",  # of the schedules: checks only
        "RunStateMachineRole",
    }
    assert not [action for action in holders if "*" in action]


def test_the_janitor_deletes_only_what_is_tagged_staged_or_unfinished(template: Template) -> None:
    rights = grants(template, "Functionsjanitorrole")
    temporary = {f"arn:<AWS::Partition>:rds:eu-west-1:123456789012:{kind}:backups-tmp-*" for kind in ("db", "cluster")}
    assert rights["rds:DeleteDBInstance"] == rights["rds:DeleteDBCluster"] == temporary
    assert rights["s3:DeleteObject"] == {f"{STATE}/staging/*"}
    assert rights["s3:AbortMultipartUpload"] == {COPIES, ARCHIVE, f"{STATE}/*"}
    assert rights["s3:PutObject"] == {f"{STATE}/runs/*/results/*.json"}
    assert {action for action in rights if "Delete" in action} == {
        "rds:DeleteDBInstance", "rds:DeleteDBCluster", "s3:DeleteObject",
    }  # fmt: skip
    (condition,) = [
        statement["Condition"]
        for policy in of_type(template, "AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if "rds:DeleteDBCluster" in listed(statement["Action"])
    ]
    assert condition == {"StringLike": {"aws:ResourceTag/backups:run": "*", "aws:ResourceTag/backups:expires": "*"}}


def test_a_schedule_is_made_after_its_group(template: Template) -> None:
    (group,) = of_type(template, "AWS::Scheduler::ScheduleGroup")
    schedules = [one for one in template["Resources"].values() if one["Type"] == "AWS::Scheduler::Schedule"]
    assert len(schedules) == 4
    assert all(group in schedule["DependsOn"] for schedule in schedules)


def test_the_janitor_comes_every_hour_and_knows_where(template: Template) -> None:
    (schedule,) = [s for s in of_type(template, "AWS::Scheduler::Schedule").values() if s["Name"] == "hourly.janitor"]
    assert schedule["ScheduleExpression"] == "rate(1 hour)"
    assert json.loads(schedule["Target"]["Input"]) == {
        "uploads": [
            {"bucket": "example-archive", "prefix": "files.example.org/"},
            {"bucket": "example-backups", "prefix": "team-a/db1.example.org/"},
        ]
    }
    (variables,) = [
        function["Environment"]["Variables"]
        for function in of_type(template, "AWS::Lambda::Function").values()
        if function["Handler"] == "functions.janitor.handler.handler"
    ]
    assert variables["BACKUPS_DATABASE_REGIONS"] == "eu-west-1"


def test_notify_reads_secrets_of_channels_only(template: Template) -> None:
    rights = grants(template, "Functionsnotifyrole")
    assert rights["secretsmanager:GetSecretValue"] == {secret("backups/slack")}
    assert rights["s3:PutObject"] == {
        f"{STATE}/runs/*/notified/*.json",
        f"{STATE}/notices/*/notified/*.json",
        f"{STATE}/outcomes/*.json",
    }
    assert not any("example-backups" in arn for arns in rights.values() for arn in arns)


def test_the_orchestrator_reads_jobs_and_starts_one_state_machine(template: Template) -> None:
    rights = grants(template, "Functionsorchestratorrole")
    machine = f"arn:<AWS::Partition>:states:{ACCOUNT}:stateMachine:Backups-run"
    assert rights["states:StartExecution"] == {machine}
    assert rights["ssm:GetParameter"] == {f"arn:<AWS::Partition>:ssm:{ACCOUNT}:parameter/Backups/jobs/*"}
    assert len(rights["s3:GetObject"]) == 2  # exactly the two job files
    assert all(re.search(r"/[0-9a-f]{64}\.json$", arn) for arn in rights["s3:GetObject"])
    assert "secretsmanager:GetSecretValue" not in rights


def test_what_tells_of_runs_cut_off_starts_messages_and_no_run(template: Template) -> None:
    rights = grants(template, "Functionsendedrole")
    messages = f"arn:<AWS::Partition>:states:{ACCOUNT}:stateMachine:Backups-messages"
    assert rights["states:StartExecution"] == {messages}
    (rule,) = of_type(template, "AWS::Events::Rule").values()
    assert rule["EventPattern"]["source"] == ["aws.states"]
    detail = rule["EventPattern"]["detail"]
    assert detail["status"] == ["ABORTED", "TIMED_OUT", "FAILED"]
    (watched,) = detail["stateMachineArn"]
    assert text(watched).startswith("<RunStateMachine")
    (target,) = rule["Targets"]
    assert text(target["Arn"]).startswith("<Functionsended")
    assert text(target["DeadLetterConfig"]["Arn"]).startswith("<FoundationDeadLetters")


def test_a_message_is_sent_the_same_way_whoever_sends_it(template: Template) -> None:
    channels = json.loads(machine(template, "Backups-messages")["DefinitionString"])["States"]["Channels"]
    of_run = state_machine(template)["States"]["Channels"]
    assert channels.pop("End") and of_run.pop("Next") == "How did it end?"
    assert channels == of_run
    (permanent, other) = channels["ItemProcessor"]["States"]["Notify"]["Retry"]
    assert (permanent["ErrorEquals"], permanent["MaxAttempts"]) == (["PermanentError"], 0)
    assert other["MaxAttempts"] == 2


def test_each_function_puts_on_the_bus_what_it_is_the_first_to_know(template: Template) -> None:
    bus = f"arn:<AWS::Partition>:events:{ACCOUNT}:event-bus/default"
    found = {}
    for policy in of_type(template, "AWS::IAM::Policy").values():
        for statement in policy["PolicyDocument"]["Statement"]:
            if "events:PutEvents" in listed(statement["Action"]):
                assert (statement["Action"], text(statement["Resource"])) == ("events:PutEvents", bus)
                assert statement["Condition"]["ForAllValues:StringEquals"] == {"events:source": "backups"}
                (role,) = policy["Roles"]
                kinds = listed(statement["Condition"]["StringEquals"]["events:detail-type"])
                found[re.sub(r"^<Functions(\w+)role\w+>$", r"\1", text(role))] = kinds
    ended = ["Backup Source Finished", "Backup Run Finished"]
    assert found == {
        "orchestrator": ["Backup Run Started"],
        "settle": ["Backup Source Finished"],
        "report": ended,
        "ended": ended,
    }


def test_settle_and_report_touch_records_only(template: Template) -> None:
    for name in ("settle", "report", "ended"):
        rights = grants(template, f"Functions{name}role")
        written = {arn.rpartition("/runs/")[0] for arn in rights["s3:PutObject"]}
        assert written == {STATE} and "secretsmanager:GetSecretValue" not in rights


def test_roles_are_handed_to_tasks_only(template: Template) -> None:
    statements = [
        statement
        for policy in of_type(template, "AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
        if "iam:PassRole" in listed(statement["Action"])
    ]
    assert len(statements) == 2  # of runs and of checks
    for statement in statements:
        assert statement["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}
    handed = [sorted(text(arn) for arn in statement["Resource"]) for statement in statements]
    assert ["<JobnightlyCheckRole" in "".join(arns) for arns in handed].count(True) == 1
    assert sorted(map(len, handed)) == [2, 3]  # the one that starts tasks; one job is checked, two are run


def test_a_job_with_a_schedule_is_scheduled_and_one_without_is_not(template: Template) -> None:
    (schedule,) = [s for s in of_type(template, "AWS::Scheduler::Schedule").values() if "." not in s["Name"]]
    assert schedule["Name"] == "nightly"
    assert schedule["ScheduleExpression"] == "cron(30 2 * * ? *)"
    assert schedule["ScheduleExpressionTimezone"] == "Europe/Berlin"
    assert schedule["FlexibleTimeWindow"] == {"Mode": "OFF"}
    target = schedule["Target"]
    assert json.loads(target["Input"]) == {"job": "nightly", "scheduled_time": "<aws.scheduler.scheduled-time>"}
    assert text(target["Arn"]).startswith("<Functionsorchestrator")
    assert text(target["DeadLetterConfig"]["Arn"]).startswith("<FoundationDeadLetters")
    assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0


def test_the_parameter_of_a_job_says_what_runs_it(template: Template) -> None:
    parameters = {p["Name"]: json.loads(text(p["Value"])) for p in of_type(template, "AWS::SSM::Parameter").values()}
    assert parameters.keys() == {"/Backups/jobs/nightly", "/Backups/jobs/weekly"}
    nightly, weekly = parameters["/Backups/jobs/nightly"], parameters["/Backups/jobs/weekly"]
    assert (nightly["concurrency"], weekly["concurrency"]) == (4, 10)
    assert nightly["task_definition"].startswith("<JobnightlyTask")
    assert nightly["job_file"]["key"] != weekly["job_file"]["key"]


def test_the_container_is_the_one_that_the_state_machine_addresses(template: Template) -> None:
    definition = state_machine(template)
    worker = definition["States"]["Sources"]["ItemProcessor"]["States"]["Worker"]
    (override,) = worker["Parameters"]["Overrides"]["ContainerOverrides"]
    tasks = of_type(template, "AWS::ECS::TaskDefinition")
    assert len(tasks) == 2
    for task in tasks.values():
        (container,) = task["ContainerDefinitions"]
        assert container["Name"] == override["Name"] == "worker"
        names = {entry["Name"] for entry in (*container["Environment"], *override["Environment"])}
        assert names == {
            "BACKUPS_JOB",
            "BACKUPS_RUN",
            "BACKUPS_SOURCE",
            "BACKUPS_JOB_BUCKET",
            "BACKUPS_JOB_KEY",
            "BACKUPS_STATE_BUCKET",
            "BACKUPS_HOST_DOCUMENT",
            "BACKUPS_PROGRESS_SECONDS",
        }
        assert task["TaskRoleArn"] != task["ExecutionRoleArn"]
        assert container["StopTimeout"] == 120


def test_every_function_shares_one_asset_and_has_a_role_and_log_of_its_own(template: Template) -> None:
    functions = of_type(template, "AWS::Lambda::Function")
    assert sorted(f["Handler"] for f in functions.values()) == sorted(f"functions.{n}.handler.handler" for n in NAMES)
    assert len({json.dumps(f["Code"]) for f in functions.values()}) == 1
    assert len({text(f["Role"]) for f in functions.values()}) == len(NAMES)
    assert len({text(f["LoggingConfig"]["LogGroup"]) for f in functions.values()}) == len(NAMES)
    assert {f["TracingConfig"]["Mode"] for f in functions.values()} == {"Active"}


def test_logs_end_and_are_encrypted(template: Template) -> None:
    groups = of_type(template, "AWS::Logs::LogGroup").values()
    assert len(groups) == len(NAMES) + 5
    assert {group["RetentionInDays"] for group in groups} == {90}
    assert all(text(group["KmsKeyId"]) == "<FoundationKeyCE5FC256.Arn>" for group in groups)
    assert all(group["LogGroupName"].startswith("/Backups/") for group in groups)


def test_the_state_bucket_is_closed_encrypted_and_forgets(template: Template) -> None:
    (bucket,) = of_type(template, "AWS::S3::Bucket").values()
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    rules = bucket["LifecycleConfiguration"]["Rules"]
    days = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules}
    assert (days["runs/"], days["notices/"]) == (90, 90)
    aborting = {rule["Prefix"] for rule in rules if "AbortIncompleteMultipartUpload" in rule}
    assert aborting >= {"runs/", "notices/"} and "VersioningConfiguration" not in bucket
    (key,) = of_type(template, "AWS::KMS::Key").values()
    assert key["EnableKeyRotation"] is True


def alarms(template: Template) -> Iterator[tuple[str, Any]]:
    for alarm in of_type(template, "AWS::CloudWatch::Alarm").values():
        yield alarm["MetricName"], alarm


def test_everything_that_a_person_must_hear_of_has_an_alarm(template: Template) -> None:
    names = [name for name, _ in alarms(template)]
    assert sorted(names) == sorted(
        [
            *("ExecutionsFailed", "ExecutionsTimedOut", "ExecutionsAborted"),
            *("Errors", "Throttles") * len(NAMES),
            *("ApproximateNumberOfMessagesVisible", "TemporaryInstancesRemoved", "Looks"),
            *("RunsFailed", "RunsPartlyFailed", "RemovalsRefused") * 2,
            *("ExecutionsFailed", "ExecutionsTimedOut"),  # of checks
            *("CopiesDamaged", "CopiesUnreadable", "HoursUnverified", "HoursWithoutGoodCopy"),
        ]
    )
    for name, alarm in alarms(template):
        if name not in ("Looks", "HoursWithoutGoodCopy", "CopiesDamaged", "CopiesUnreadable", "HoursUnverified"):
            assert (alarm["Threshold"], alarm["TreatMissingData"]) == (1, "notBreaching")
        for actions in (alarm["AlarmActions"], alarm["OKActions"]):
            assert [text(action) for action in actions] == ["<FoundationAlarmsC79D2C89>"]
    (subscription,) = of_type(template, "AWS::SNS::Subscription").values()
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "ops@example.org")


@pytest.mark.parametrize("metric", ["RunsFailed", "RunsPartlyFailed", "RemovalsRefused"])
def test_the_alarms_of_a_job_look_for_what_the_functions_count(template: Template, metric: str) -> None:
    found = [alarm for name, alarm in alarms(template) if name == metric]
    assert {alarm["Namespace"] for alarm in found} == {"Backups"}
    dimensions = [{d["Name"]: d["Value"] for d in alarm["Dimensions"]} for alarm in found]
    assert dimensions == [{"job": name, "service": "backups"} for name in ("nightly", "weekly")]


def test_a_nightly_job_is_late_after_26_hours_and_it_rings_when_nobody_looks(template: Template) -> None:
    (late,) = [alarm for name, alarm in alarms(template) if name == "HoursWithoutGoodCopy"]  # weekly has no schedule
    assert (late["Threshold"], late["ComparisonOperator"], late["Statistic"]) == (26, "GreaterThanThreshold", "Maximum")
    assert {d["Name"]: d["Value"] for d in late["Dimensions"]} == {"job": "nightly", "service": "backups"}
    (dead,) = [alarm for name, alarm in alarms(template) if name == "Looks"]
    assert (dead["Threshold"], dead["ComparisonOperator"]) == (1, "LessThanThreshold")
    assert late["Period"] == dead["Period"] == 7200
    # A job that is new must not ring before the first look, nor one that is late be called well when the watch dies.
    assert (late["TreatMissingData"], dead["TreatMissingData"]) == ("ignore", "breaching")


def test_the_watch_looks_every_hour_and_reads_records_alone(template: Template) -> None:
    schedules = {s["Name"]: s for s in of_type(template, "AWS::Scheduler::Schedule").values()}
    hourly = schedules["hourly.watch"]
    assert (hourly["ScheduleExpression"], hourly["State"]) == ("rate(1 hour)", "ENABLED")
    assert text(hourly["Target"]["Arn"]).startswith("<Functionswatch")
    assert json.loads(hourly["Target"]["Input"]) == {"jobs": ["nightly", "weekly"]}
    rights = grants(template, "Functionswatchrole")
    assert rights["scheduler:GetSchedule"] == {f"arn:<AWS::Partition>:scheduler:{ACCOUNT}:schedule/Backups/*"}
    assert rights["s3:PutObject"] == {
        f"{STATE}/{what}" for what in ("watch/*.json", "notices/*/notice.json", "notices/*/job.json")
    }
    assert "secretsmanager:GetSecretValue" not in rights
    assert not any("example-backups" in arn for arns in rights.values() for arn in arns)


def test_a_job_is_checked_every_day_unless_it_wants_none(template: Template) -> None:
    (schedule,) = [s for s in of_type(template, "AWS::Scheduler::Schedule").values() if s["Name"].startswith("check.")]
    assert schedule["Name"] == "check.nightly"
    assert (schedule["ScheduleExpression"], schedule["ScheduleExpressionTimezone"]) == (
        "cron(0 12 * * ? *)",
        "Europe/Berlin",
    )
    target = schedule["Target"]
    assert text(target["Arn"]).startswith("<ChecksStateMachine")
    given = json.loads(text(target["Input"]))
    assert given.keys() == {"job", "task_definition", "role", "job_file"}
    assert given["role"].startswith("<JobnightlyCheckRole") and given["task_definition"].startswith("<JobnightlyTask")


def test_a_check_runs_the_worker_under_its_own_role_and_the_watch_tells(template: Template) -> None:
    states_ = json.loads(machine(template, "Backups-checks")["DefinitionString"])["States"]
    overrides = states_["Check"]["Parameters"]["Overrides"]
    assert overrides["TaskRoleArn.$"] == "$.role"
    (container,) = overrides["ContainerOverrides"]
    assert (container["Name"], container["Command"]) == ("worker", ["check"])
    assert states_["Check"]["Catch"][0]["Next"] == states_["Check"]["Next"] == "Look"
    # By its name the watch knows that the check is over, even when its record says that it goes on.
    name = "$$.Execution.Name"
    assert {"Name": "BACKUPS_CHECK", "Value.$": name} in container["Environment"]
    payload = {"jobs.$": "States.Array($.job)", "after": "check", "check.$": name}
    assert states_["Look"]["Parameters"]["Payload"] == payload


@pytest.mark.parametrize(("metric", "limit"), [("CopiesDamaged", 0), ("CopiesUnreadable", 0), ("HoursUnverified", 720)])
def test_copies_that_are_not_good_or_wait_too_long_ring(template: Template, metric: str, limit: int) -> None:
    (alarm,) = [alarm for name, alarm in alarms(template) if name == metric]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (limit, "GreaterThanThreshold")
    assert (alarm["TreatMissingData"], alarm["Statistic"], alarm["Period"]) == ("notBreaching", "Maximum", 7200)


def test_a_long_name_of_a_job_still_has_a_schedule_for_its_check() -> None:
    names = {schedule_name("a" * length) for length in (57, 58, 59, 63)}
    assert len(names) == 4 and all(len(name) <= 64 and "." in name for name in names)


def test_the_dashboard_has_a_row_for_each_job(template: Template) -> None:
    (dashboard,) = of_type(template, "AWS::CloudWatch::Dashboard").values()
    assert dashboard["DashboardName"] == "Backups"
    widgets = json.loads(text(dashboard["DashboardBody"]).replace("<AWS::Region>", "eu-central-1"))["widgets"]
    rows = {w["properties"]["title"]: w["properties"]["metrics"] for w in widgets}
    for job in ("nightly", "weekly"):
        assert [metric[1] for metric in rows[job]] == ["HoursSinceSuccess", "RunSeconds", "RunBytes", "CopiesKept"]
        assert all(metric[0] == "Backups" and job in metric for metric in rows[job])
    ages = [w["properties"] for w in widgets if w["properties"]["title"].endswith("age of its copies")]
    assert [[a["value"] for a in age.get("annotations", {}).get("horizontal", [])] for age in ages] == [[26], []]


def test_alarms_may_publish_to_the_encrypted_topic(template: Template) -> None:
    (policy,) = of_type(template, "AWS::SNS::TopicPolicy").values()
    (key,) = of_type(template, "AWS::KMS::Key").values()
    for statements, action in (
        (policy["PolicyDocument"]["Statement"], "sns:Publish"),
        (key["KeyPolicy"]["Statement"], "kms:GenerateDataKey*"),
    ):
        allowed = [s for s in statements if s["Principal"] == {"Service": "cloudwatch.amazonaws.com"}]
        assert [action in listed(s["Action"]) and s["Effect"] for s in allowed] == ["Allow"]


def test_nothing_can_connect_to_a_worker(template: Template) -> None:
    (group,) = of_type(template, "AWS::EC2::SecurityGroup").values()
    assert "SecurityGroupIngress" not in group
    assert not of_type(template, "AWS::EC2::SecurityGroupIngress")


def test_the_new_vpc_costs_nothing_by_itself(template: Template) -> None:
    assert not of_type(template, "AWS::EC2::NatGateway")
    (endpoint,) = of_type(template, "AWS::EC2::VPCEndpoint").values()
    assert endpoint["VpcEndpointType"] == "Gateway" and text(endpoint["ServiceName"]).endswith(".s3")
    zones = {subnet["AvailabilityZone"] for subnet in of_type(template, "AWS::EC2::Subnet").values()}
    assert zones == {"eu-central-1a", "eu-central-1b"}


def test_outputs_name_what_others_look_for(template: Template) -> None:
    assert template["Outputs"].keys() == {
        "StateMachineArn",
        "OrchestratorName",
        "NotifyName",
        "EndedName",
        "WatchName",
        "ChecksArn",
        "HostFolderDocument",
        "HostFlagDocument",
        "StateBucket",
        "Cluster",
        "WorkerSecurityGroup",
        "WorkerLog",
        "DeadLetterQueue",
        "AlarmTopic",
    }


def state_machine(template: Template) -> dict[str, Any]:
    return dict(json.loads(machine(template, "Backups-run")["DefinitionString"]))


def machine(template: Template, name: str) -> dict[str, Any]:
    machines = of_type(template, "AWS::StepFunctions::StateMachine").values()
    (found,) = [machine for machine in machines if machine["StateMachineName"] == name]
    return dict(found)


def states(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every state, at any depth."""
    for name, state in definition["States"].items():
        yield name, state
        if "ItemProcessor" in state:
            yield from states(state["ItemProcessor"])


def test_every_substitution_is_given_and_none_is_left_over(template: Template) -> None:
    for found in of_type(template, "AWS::StepFunctions::StateMachine").values():
        used = set(re.findall(r"\$\{(\w+)\}", found["DefinitionString"]))
        assert used == set(found["DefinitionSubstitutions"])


def test_every_task_has_a_way_on_when_it_fails(template: Template) -> None:
    tasks = {name: state for name, state in states(state_machine(template)) if state["Type"] == "Task"}
    of_sources, of_messages = {"Worker", "Settle", "Clean up"}, {"Tell start", "Report", "Notify", "Undelivered"}
    assert tasks.keys() == {"Plan", "Retention"} | of_sources | of_messages
    assert all("Retry" in state for state in tasks.values())
    caught = {name: state["Catch"][0]["Next"] for name, state in tasks.items() if "Catch" in state}
    assert caught == {
        "Plan": "Report",
        "Tell start": "Start is not told",
        "Worker": "Settle",
        "Settle": "May something be left?",
        "Clean up": "Something is left",
        "Retention": "Retention is missing",
        "Notify": "Undelivered",
        "Undelivered": "Channel is lost",
    }


def test_a_worker_is_tried_again_only_when_it_could_not_be_started(template: Template) -> None:
    (worker,) = [state for name, state in states(state_machine(template)) if name == "Worker"]
    (retry,) = worker["Retry"]
    assert not {"States.ALL", "States.TaskFailed", "States.Timeout"} & set(retry["ErrorEquals"])
    assert all(re.fullmatch(r"(Amazon)?ECS\.\w+", error) for error in retry["ErrorEquals"])


def test_one_source_hurts_no_other_and_ten_thousand_fit(template: Template) -> None:
    sources = state_machine(template)["States"]["Sources"]
    assert sources["ItemProcessor"]["ProcessorConfig"]["Mode"] == "DISTRIBUTED"
    assert sources["ToleratedFailurePercentage"] == 100
    assert sources["ResultPath"] is None
    # What each of ten thousand leaves must fit into 256 KiB together.
    ends = [state for _, state in states(sources["ItemProcessor"]) if state.get("End")]
    assert [state.get("Result") for state in ends] == [{}]


@pytest.mark.parametrize("planted", ["{{resolve:", "passphrase", "dbpass"])
def test_no_secret_and_no_reference_travels_through_the_state_machine(template: Template, planted: str) -> None:
    assert planted not in json.dumps(of_type(template, "AWS::StepFunctions::StateMachine"))
    assert "{{resolve:" not in json.dumps(template)
