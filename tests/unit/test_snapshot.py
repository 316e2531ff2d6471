"""Snapshots without an AWS account: the model, the tags and names, and which of them stay."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.context import Task
from backups.retention import KeepRules, Policy
from backups.snapshots.base import Shot
from backups.snapshots.retention import outdated
from backups.snapshots.status import SnapshotStatus, Status
from backups.snapshots.tags import COMPLETE, UNFINISHED, name_prefix, owner_tags, snapshot_name, tag_value, task_tags
from backups.sources.snapshot import Snapshot
from tests.jobs import example, job_with, parsed, problems
from tests.unit.copies import NOW, TODAY

TASK = Task(job="nightly", run="20261123T020000Z", hostname="web1", source="data", key="web1/2026-11-23/data.json.gpg")

KEY = "arn:aws:kms:eu-west-3:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"


def snapshot(**fields: Any) -> Snapshot:
    (source,) = parsed(job_with("sources", {"type": "snapshot", "id": "data", **fields})).sources
    assert isinstance(source, Snapshot)
    return source


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"volume_id": "vol-1", "instancename": "shop"}, "give one of 'volume_id', 'instance_id', 'instancename'"),
        ({"volume_id": "i-1"}, "sources[0].volume_id"),
        ({"instance_id": "vol-1"}, "sources[0].instance_id"),
        ({"volume_id": "vol-1", "exclude_boot_volume": True}, "'exclude_boot_volume' is about the volumes"),
        ({"volume_id": "vol-1", "region": "Frankfurt"}, "sources[0].region"),
        ({"volume_id": "vol-1", "copy_kms_key_id": KEY}, "is for the copies in 'copy_to_region'"),
        ({"volume_id": "vol-1", "copy_to_region": "eu-west-3", "copy_kms_key_id": "*"}, "sources[0].copy_kms_key_id"),
        ({"instancename": "shop*"}, "sources[0].instancename"),
        ({"clustername": "{{resolve:ssm:name}}"}, "sources[0].clustername"),
        ({"volume_id": "vol-1", "region": "eu-west-1", "copy_to_region": "eu-west-1"}, "of the snapshots themselves"),
        ({"volume_id": "vol-1", "wait_limit": 0}, "sources[0].wait_limit"),
        ({"volume_id": "vol-1", "aws_access_key_id": "AKIA"}, "give both 'aws_access_key_id' and"),
    ],
)
def test_what_can_not_be_meant_is_refused(fields: dict[str, Any], problem: str) -> None:
    (line,) = problems(job_with("sources", {"type": "snapshot", "id": "data", **fields}))
    assert problem in line


@pytest.mark.parametrize(
    ("fields", "region"),
    [
        ({"availability_zone": "eu-west-1a"}, "eu-west-1"),
        ({"availability_zone": "us-west-2-lax-1a"}, "us-west-2"),
        ({"availability_zone": "eu-west-1a", "region": "us-east-1"}, "us-east-1"),
        ({}, ""),
    ],
)
def test_the_region_is_named_or_that_of_the_zone(fields: dict[str, Any], region: str) -> None:
    assert snapshot(volume_id="vol-1", **fields).home_region == region


def test_the_documented_example_can_run_and_makes_json() -> None:
    job = parsed(job_with("sources", example("sources", "snapshot")))
    assert job.unavailable() == [] and job.sources[0].extension == "json"
    assert snapshot(volume_id="vol-1", wait_limit=60).opening_limit == 60


def test_tags_say_whose_a_snapshot_is_and_that_it_is_unfinished() -> None:
    tags = task_tags(TASK)
    assert owner_tags("nightly", "web1", "data").items() <= tags.items()
    assert (tags["backups:state"], tags["backups:run"], tags["backups:copy"]) == (UNFINISHED, TASK.run, TASK.key)


@given(st.text(), st.text())
def test_every_text_fits_into_a_tag_and_two_never_become_one(one: str, other: str) -> None:
    for text in (one, one * 200):
        assert len(tag_value(text)) <= 256
        assert re.fullmatch(r"[\w\s.:/=+@-]*", tag_value(text))
    assert (tag_value(one) == tag_value(other)) == (one == other)


@given(st.text(min_size=1), st.text(min_size=1))
def test_names_are_those_that_rds_takes_and_tell_jobs_apart(job: str, source: str) -> None:
    name = snapshot_name(Task(job=job, source=source, run=TASK.run, hostname="web1"))
    assert re.fullmatch(r"[a-z](-?[a-z0-9])*", name) and len(name) <= 255
    assert name.startswith(name_prefix(job))
    assert name != snapshot_name(Task(job=job, source=source, run="20261124T020000Z", hostname="web1"))
    assert not name.startswith(name_prefix(f"{job}x"))


def shot(age: int, *, run: str = "", state: str = COMPLETE, id_: str = "", hours: float = 0) -> Shot:
    """A snapshot of so many days ago, begun at two o'clock and so many hours."""
    day = TODAY - dt.timedelta(days=age)
    started = dt.datetime.combine(day, dt.time(2), dt.UTC) + dt.timedelta(hours=hours)
    tags = {"backups:copy": f"web1/{day}/data.json.gpg", "backups:run": run or f"run-{age}", "backups:state": state}
    return Shot(id=id_ or f"snap-{age}", of="vol-1", region="eu-west-1", state="complete", started=started, tags=tags)


def going(shots: list[Shot], *policies: Policy, wait_limit: float = 3600) -> list[str]:
    return [one.id for one in outdated(shots, policies, today=TODAY, now=NOW, wait_limit=wait_limit)]


def test_snapshots_go_by_the_same_rules_as_copies() -> None:
    shots = [shot(age) for age in range(6)]
    assert going(shots, Policy(copies=3)) == ["snap-5", "snap-4", "snap-3"]
    assert going(shots, Policy(days=4)) == ["snap-5"]
    assert going(shots, Policy(rules=KeepRules(keep_last=1))) == ["snap-5", "snap-4", "snap-3", "snap-2", "snap-1"]
    assert going(shots, Policy()) == []


def test_they_stay_as_long_as_any_destination_keeps_a_copy_of_their_day() -> None:
    shots = [shot(age) for age in range(6)]
    assert going(shots, Policy(copies=2), Policy(copies=4)) == ["snap-5", "snap-4"]
    assert going(shots, Policy(copies=2), Policy()) == []


def test_the_newest_stays_however_old_it_is() -> None:
    assert going([shot(90), shot(91)], Policy(days=30)) == ["snap-91"]


def test_all_volumes_of_a_run_stay_or_go_together_and_count_once() -> None:
    shots = [shot(age, id_=f"snap-{age}{volume}") for age in range(3) for volume in "ab"]
    assert going(shots, Policy(copies=2)) == ["snap-2a", "snap-2b"]


def test_of_two_runs_of_one_day_the_newer_one_stays() -> None:
    shots = [shot(0, run="early", id_="snap-early"), shot(0, run="late", id_="snap-late", hours=0.5), shot(1)]
    assert going(shots, Policy()) == ["snap-early"]


def test_an_unfinished_one_takes_no_place_and_goes_when_no_run_can_work_on_it() -> None:
    young = shot(1, state=UNFINISHED, id_="young")
    old = shot(4, state=UNFINISHED, id_="old")
    assert going([young, old, shot(2), shot(3)], Policy(copies=2)) == ["old"]
    assert going([old], Policy()) == ["old"]
    assert going([old], Policy(), wait_limit=4 * 86_400) == []


def test_what_has_no_such_tags_is_let_be() -> None:
    stranger = shot(90)
    unknown_key = Shot(**{**vars(stranger), "tags": {**stranger.tags, "backups:copy": "else"}})
    other_state = Shot(**{**vars(stranger), "tags": {**stranger.tags, "backups:state": "mine"}})
    untagged = Shot(**{**vars(stranger), "tags": {}})
    assert going([unknown_key, other_state, untagged, shot(0)], Policy(copies=1)) == []


def test_the_status_reads_back_and_leaves_out_what_is_empty() -> None:
    one = SnapshotStatus(id="snap-1", of="vol-1", region="eu-west-1", started=NOW, size_gib=8, encrypted=False)
    status = Status(
        job="nightly", run="r", hostname="web1", source="data", kind="ebs", target="vol-1",
        started=NOW, finished=NOW, snapshots=(one,),
    )  # fmt: skip
    assert Status.model_validate_json(status.text()) == status
    assert "kms_key" not in status.text() and status.text().endswith("}\n")
