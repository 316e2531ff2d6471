"""Snapshots of volumes, instances, databases and clusters, taken from an AWS account in moto."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from moto.ec2.exceptions import EC2ClientError

from backups.aws_calls import ATTEMPTS
from backups.context import Context, Task
from backups.errors import SourceError, StoppedError
from backups.snapshots import taking
from backups.sources.snapshot import Snapshot
from tests.contract.aws_snapshots import AWAY, HOME, Account, account
from tests.contract.streams import read_whole

KEY = "web1/2026-11-23/data.json.gpg"


@pytest.fixture
def aws() -> Iterator[Account]:
    with account() as made:
        yield made


@pytest.fixture
def told() -> list[str]:
    """What the progress showed."""
    return []


@pytest.fixture
def context(context: Context, told: list[str]) -> Context:
    task = Task(job="nightly", run="20261123T020000Z", hostname="web1", source="data", key=KEY, tell=told.append)
    return replace(context, task=task)


def source(**fields: Any) -> Snapshot:
    return Snapshot.model_validate({"id": "data", "type": "snapshot", "region": HOME, **fields})


def taken(source: Snapshot, context: Context, *, stored: bool = True) -> dict[str, Any]:
    """The status of what was taken; read as the pipeline does."""
    with source.open(context) as stream:
        data, warnings = read_whole(stream)
    stream.settle(stored)
    assert warnings == []
    found: dict[str, Any] = json.loads(data)
    return found


def test_a_volume_is_snapshotted_and_the_copy_says_how(aws: Account, context: Context) -> None:
    volume = aws.volume(20)
    status = taken(source(volume_id=volume), context)
    (shot,) = aws.snapshots()
    assert (shot["VolumeId"], shot["State"]) == (volume, "completed")
    assert shot["Tags"] == {
        "Name": "web1 data 20261123T020000Z",
        "backups:job": "nightly",
        "backups:host": "web1",
        "backups:source": "data",
        "backups:run": "20261123T020000Z",
        "backups:copy": KEY,
        "backups:state": "complete",
    }
    assert {key: status[key] for key in ("job", "run", "hostname", "source", "kind", "target")} == {
        "job": "nightly", "run": "20261123T020000Z", "hostname": "web1", "source": "data", "kind": "ebs",
        "target": volume,
    }  # fmt: skip
    (one,) = status["snapshots"]
    assert (one["id"], one["of"], one["region"], one["size_gib"]) == (shot["SnapshotId"], volume, HOME, 20)
    assert status["started"] <= status["finished"] and one["started"]


@pytest.mark.parametrize("exclude", [False, True])
def test_all_volumes_of_an_instance_are_begun_by_one_call(aws: Account, context: Context, exclude: bool) -> None:
    instance = aws.instance(5, 7)
    aws.breaks("create_snapshots", None, EC2ClientError("Unavailable", "a second call is not of the same moment"))
    status = taken(source(instance_id=instance, exclude_boot_volume=exclude), context)
    assert sorted(one["size_gib"] for one in status["snapshots"]) == ([5, 7] if exclude else [5, 7, 8])
    assert {shot["SnapshotId"] for shot in aws.snapshots()} == {one["id"] for one in status["snapshots"]}
    assert {shot["Tags"]["backups:state"] for shot in aws.snapshots()} == {"complete"}


@pytest.mark.parametrize("kind", ["instancename", "clustername"])
def test_a_database_is_snapshotted_under_a_name_that_tells_whose_it_is(
    aws: Account, context: Context, kind: str
) -> None:
    name = aws.database() if kind == "instancename" else aws.cluster()
    status = taken(source(**{kind: name}), context)
    (shot,) = aws.database_snapshots()
    (one,) = status["snapshots"]
    id_ = shot.get("DBSnapshotIdentifier") or shot["DBClusterSnapshotIdentifier"]
    assert one["id"] == id_ and id_.startswith("backups-nightly-")
    assert (status["kind"], one["of"]) == ("rds" if kind == "instancename" else "rds-cluster", name)
    assert one["arn"].startswith(f"arn:aws:rds:{HOME}:") and "mysql" in one["engine"]
    assert (shot["Tags"]["backups:state"], shot["Tags"]["backups:copy"]) == ("complete", KEY)


@pytest.mark.parametrize("kind", ["volume_id", "instancename", "clustername"])
def test_snapshots_are_copied_to_another_region(aws: Account, context: Context, kind: str) -> None:
    makers: dict[str, Callable[[], str]] = {
        "volume_id": aws.volume, "instancename": aws.database, "clustername": aws.cluster,
    }  # fmt: skip
    target = makers[kind]()
    status = taken(source(**{kind: target}, copy_to_region=AWAY), context)
    here, there = status["snapshots"]
    assert (here["region"], there["region"], there["copy_of"]) == (HOME, AWAY, here["id"])
    for region, one in ((HOME, here), (AWAY, there)):
        (shot,) = aws.snapshots(region) if kind == "volume_id" else aws.database_snapshots(region)
        assert one["id"] in (value for name, value in shot.items() if name.endswith(("SnapshotId", "Identifier")))
        assert shot["Tags"]["backups:state"] == "complete"


def test_it_waits_until_all_are_complete_and_shows_how_far_they_are(
    aws: Account, context: Context, told: list[str]
) -> None:
    aws.looks = 4
    taken(source(instance_id=aws.instance(5), copy_to_region=AWAY), context)
    here = [int(line.removeprefix("snapshot ").rstrip("%")) for line in told if line.startswith("snapshot ")]
    assert here == sorted(here) and (here[0], here[-1]) == (0, 100) and len(set(here)) > 2
    assert told[-1] == f"copy to {AWAY} 100%"


def test_nothing_counts_before_a_copy_is_stored(aws: Account, context: Context) -> None:
    with source(volume_id=aws.volume()).open(context) as stream:
        assert [shot["Tags"]["backups:state"] for shot in aws.snapshots()] == ["unfinished"]
    assert [shot["Tags"]["backups:state"] for shot in aws.snapshots()] == ["unfinished"]
    stream.settle(True)
    assert [shot["Tags"]["backups:state"] for shot in aws.snapshots()] == ["complete"]


def test_without_a_stored_copy_snapshots_and_their_copies_are_deleted(aws: Account, context: Context) -> None:
    other = aws.ec2().create_snapshot(VolumeId=aws.volume())["SnapshotId"]
    taken(source(volume_id=aws.volume(), copy_to_region=AWAY), context, stored=False)
    taken(source(instancename=aws.database()), context, stored=False)
    assert aws.snapshots() == aws.snapshots(AWAY) == aws.database_snapshots() == []
    assert aws.ec2().describe_snapshots(SnapshotIds=[other])["Snapshots"]


def test_a_run_never_touches_the_snapshots_of_another(aws: Account, context: Context) -> None:
    volume = aws.volume()
    task = context.task
    others = [replace(task, job="weekly"), replace(task, hostname="web2"), replace(task, source="other")]
    for other in (*others, replace(task, run="20261122T020000Z")):
        source(volume_id=volume).open(replace(context, task=other)).close()
    before = aws.snapshots()
    taken(source(volume_id=volume), context, stored=False)
    assert aws.snapshots() == before and len(before) == 4


def test_a_stop_deletes_what_was_begun(aws: Account, context: Context, told: list[str]) -> None:
    aws.looks = 1_000_000

    def stop_at_the_third(line: str) -> None:
        told.append(line)
        if len(told) == 3:
            assert len(aws.snapshots()) == 2
            context.cancel.set(signal.SIGTERM)

    with pytest.raises(StoppedError):
        source(instance_id=aws.instance(5)).open(replace(context, task=replace(context.task, tell=stop_at_the_third)))
    assert aws.snapshots() == []


def test_a_stop_before_the_beginning_begins_nothing(aws: Account, context: Context) -> None:
    context.cancel.set(signal.SIGTERM)
    with pytest.raises(StoppedError):
        source(volume_id=aws.volume()).open(context)
    assert aws.snapshots() == []


def test_a_snapshot_that_fails_is_an_error_and_is_deleted(aws: Account, context: Context) -> None:
    aws.looks, aws.ends_as = 2, "error"
    with pytest.raises(SourceError, match=rf"snapshot snap-\w+ of vol-\w+ in {HOME} failed: error") as caught:
        source(volume_id=aws.volume()).open(context)
    assert "events" in caught.value.hint
    assert aws.snapshots() == []


def test_a_copy_that_fails_takes_the_snapshot_with_it(aws: Account, context: Context) -> None:
    aws.breaks("copy_snapshot", EC2ClientError("ResourceLimitExceeded", "too many copies"))
    with pytest.raises(SourceError, match=rf"could not be copied to {AWAY}: ResourceLimitExceeded: too many copies"):
        source(volume_id=aws.volume(), copy_to_region=AWAY).open(context)
    assert aws.snapshots() == aws.snapshots(AWAY) == []


def test_waiting_has_a_limit(aws: Account, context: Context) -> None:
    aws.looks = 1_000_000
    with pytest.raises(SourceError, match=r"of vol-\w+ was not complete within 1 s: snap-") as caught:
        source(volume_id=aws.volume(), wait_limit=1).open(context)
    assert "'wait_limit'" in caught.value.hint
    assert aws.snapshots() == []


def test_a_snapshot_that_someone_deletes_meanwhile_is_an_error(aws: Account, context: Context) -> None:
    aws.looks = 1_000_000
    aws.patch.setattr(taking, "UNSEEN_SECONDS", 0.0)

    def tell(_: str) -> None:
        for shot in aws.snapshots():
            aws.ec2().delete_snapshot(SnapshotId=shot["SnapshotId"])

    with pytest.raises(SourceError, match=r"snapshot snap-\w+ of vol-\w+ is gone: someone deleted it"):
        source(volume_id=aws.volume()).open(replace(context, task=replace(context.task, tell=tell)))


REFUSALS = [
    ("SnapshotLimitExceeded", "quota"),
    ("SnapshotCreationPerVolumeRateExceeded", "seconds ago"),
    ("UnauthorizedOperation", "docs/operations.md"),
    ("IncorrectState", "again later"),
]


@pytest.mark.parametrize(("code", "hint"), REFUSALS)
def test_a_refusal_is_told_with_what_to_do(aws: Account, context: Context, code: str, hint: str) -> None:
    aws.breaks("create_snapshot", EC2ClientError(code, "no, not now"))
    volume = aws.volume()
    with pytest.raises(
        SourceError, match=rf"a snapshot of {volume} could not be begun in {HOME}: {code}: no"
    ) as caught:
        source(volume_id=volume).open(context)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("fields", "hint"),
    [
        ({"volume_id": "vol-0123456789abcdef0"}, "was the volume deleted"),
        ({"instance_id": "i-0123456789abcdef0"}, "was the instance terminated"),
        ({"instancename": "nowhere"}, "'clustername'"),
        ({"clustername": "nowhere"}, "'instancename'"),
    ],
)
def test_what_is_not_there_is_named(aws: Account, context: Context, fields: dict[str, str], hint: str) -> None:
    (target,) = fields.values()
    with pytest.raises(SourceError, match=f"a snapshot of '?{target}'? could not be begun in {HOME}") as caught:
        source(**fields).open(context)
    assert hint in caught.value.hint


def test_throttling_is_waited_out(aws: Account, context: Context) -> None:
    aws.patch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0)
    busy = EC2ClientError("RequestLimitExceeded", "slow down")
    aws.breaks("create_snapshot", busy, busy, None)
    aws.breaks("describe_snapshots", *[busy] * (3 * ATTEMPTS), None)
    status = taken(source(volume_id=aws.volume()), context)
    assert [shot["SnapshotId"] for shot in aws.snapshots()] == [status["snapshots"][0]["id"]]


def test_throttling_that_never_ends_is_told(aws: Account, context: Context) -> None:
    aws.patch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0)
    aws.patch.setattr(taking, "PATIENCE", 2)
    aws.breaks("describe_snapshots", EC2ClientError("RequestLimitExceeded", "slow down"))
    with pytest.raises(SourceError, match=f"snapshots could not be listed in {HOME}: RequestLimitExceeded") as caught:
        source(volume_id=aws.volume()).open(context)
    assert "too many calls" in caught.value.hint


def test_one_whose_answer_was_lost_does_not_count(aws: Account, context: Context) -> None:
    """The client asks again, and so two are begun: only the one that is known becomes complete."""
    aws.patch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0)
    aws.breaks("create_snapshots", EC2ClientError("RequestTimeout", "lost"), None, after=True)
    status = taken(source(instance_id=aws.instance()), context)
    states = {shot["SnapshotId"]: shot["Tags"]["backups:state"] for shot in aws.snapshots()}
    assert sorted(states.values()) == ["complete", "unfinished"]
    assert [states[one["id"]] for one in status["snapshots"]] == ["complete"]


def test_a_database_snapshot_of_this_run_that_is_there_already_is_taken(aws: Account, context: Context) -> None:
    one = source(instancename=aws.database())
    first = one.open(context)
    assert taken(one, context)["snapshots"][0]["id"] == aws.database_snapshots()[0]["DBSnapshotIdentifier"]
    first.close()


def test_snapshots_that_can_not_be_marked_do_not_count_and_the_source_has_failed(
    aws: Account, context: Context
) -> None:
    stream = source(volume_id=aws.volume()).open(context)
    stream.close()
    aws.breaks("create_tags", EC2ClientError("UnauthorizedOperation", "no"))
    with pytest.raises(SourceError, match="do not count, since they could not be marked as complete"):
        stream.settle(True)
    assert aws.snapshots() == []


def test_what_can_not_be_deleted_stays_unfinished_and_nothing_is_raised(aws: Account, context: Context) -> None:
    aws.breaks("delete_snapshot", EC2ClientError("UnauthorizedOperation", "no"))
    taken(source(volume_id=aws.volume()), context, stored=False)
    assert [shot["Tags"]["backups:state"] for shot in aws.snapshots()] == ["unfinished"]


def test_the_environment_s_own_region_is_no_place_for_copies(aws: Account, context: Context) -> None:
    with pytest.raises(SourceError, match=f"the snapshots are taken in {HOME} and would be copied there too"):
        Snapshot(id="data", volume_id=aws.volume(), copy_to_region=HOME).open(context)
    assert aws.snapshots() == []


def test_keys_of_the_job_are_used_and_wrong_ones_named_but_not_shown(aws: Account, context: Context) -> None:
    secret = "plantéd-secret-key"
    aws.breaks("create_snapshot", EC2ClientError("AuthFailure", "the key is wrong"))
    keyed = source(volume_id=aws.volume(), aws_access_key_id="AKIAOWN", aws_secret_access_key=secret)
    with pytest.raises(SourceError) as caught:
        keyed.open(context)
    assert "check aws_access_key_id" in caught.value.hint
    assert secret not in str(caught.value) and secret not in repr(keyed)
    client: Any = vars(keyed.places()[0])["_ec2"]
    assert client._request_signer._credentials.access_key == "AKIAOWN"


def test_an_unknown_region_is_an_error_of_the_source(
    aws: Account, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    with pytest.raises(SourceError, match="region") as caught:
        Snapshot(id="data", volume_id="vol-1").open(context)
    assert "'region'" in caught.value.hint
