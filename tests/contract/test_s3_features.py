"""What a bucket may ask for or offer beyond storing: locks, tags, roles, payment, and few parts."""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import random
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from backups.context import Context
from backups.destinations import Destination
from backups.destinations.s3.destination import S3
from backups.errors import DeniedError, DestinationError
from backups.pruning import prune
from tests.jobs import example, job_with, parsed
from tests.servers.faulty_proxy import Fault, FaultyProxy, faulty_proxy
from tests.servers.local_cloud import Sample
from tests.servers.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed

MIB = 1 << 20
PART = 5 * MIB
BIG = 2 * PART + 4321
DAY = dt.timedelta(days=1)


@pytest.fixture(autouse=True)
def small_and_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest parts that S3 takes, and short pauses between attempts."""
    monkeypatch.setattr("backups.destinations.s3.parts.SMALLEST", PART)
    monkeypatch.setattr("backups.destinations.retrying.PAUSES", (0.01, 0.01))


def settings(url: str, **changes: Any) -> S3:
    credentials = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    return S3.model_validate({"bucket": BUCKET, "endpoint_url": url, **credentials, **changes})


def store(destination: Destination, key: str, size: int) -> str:
    data, upload = random.Random(size).randbytes(size), destination.create(key)
    try:
        for start in range(0, size, MIB):
            upload.write(data[start : start + MIB])
        return upload.commit(size, hashlib.sha256(data).hexdigest())
    finally:
        upload.abort()


# ---------------------------------------------------------------------- Object Lock


@pytest.fixture
def lockable(s3_server: Seaweed) -> str:
    """A bucket with Object Lock."""
    bucket = f"lock-{uuid.uuid4().hex[:12]}"
    s3_server.client().create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    return bucket


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
@pytest.mark.parametrize("checksums", [True, False])
def test_every_object_is_locked_and_tells_until_when(
    s3_server: Seaweed, lockable: str, context: Context, mode: str, checksums: bool
) -> None:
    lock = {"object_lock": mode, "object_lock_days": 3, "checksums": checksums}
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=5)
    with settings(s3_server.url, bucket=lockable, **lock).connect(context) as destination:
        for key, size in (("big", BIG), ("small", 10)):
            store(destination, key, size)
        found = {stored.key: stored.locked_until for stored in destination.with_locks(destination.list(""))}
        assert sorted(found) == ["big", "small"]
        for until in found.values():
            assert until is not None
            assert before + 3 * DAY < until < dt.datetime.now(dt.UTC) + 3 * DAY + dt.timedelta(seconds=5)
        for key in found:
            version = s3_server.client().head_object(Bucket=lockable, Key=key)["VersionId"]
            with pytest.raises(ClientError, match="AccessDenied"):
                s3_server.client().delete_object(Bucket=lockable, Key=key, VersionId=version)
        assert sorted(destination.remove(["big", "small"])) == ["big", "small"]
        assert sorted(stored.key for stored in destination.list("")) == ["big", "small"]


def test_without_the_option_the_locks_of_the_bucket_are_known(
    s3_server: Seaweed, lockable: str, context: Context
) -> None:
    client, until = s3_server.client(), dt.datetime.now(dt.UTC).replace(microsecond=0) + DAY
    with settings(s3_server.url, bucket=lockable).connect(context) as destination:
        for key in ("free", "held", "locked"):
            store(destination, key, 10)
        client.put_object_retention(
            Bucket=lockable, Key="locked", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": until}
        )
        client.put_object_legal_hold(Bucket=lockable, Key="held", LegalHold={"Status": "ON"})
        found = {stored.key: stored.locked_until for stored in destination.with_locks(destination.list(""))}
    assert found == {"free": None, "held": dt.datetime(9999, 1, 1, tzinfo=dt.UTC), "locked": until}


def test_a_bucket_without_locks_is_asked_once_and_its_objects_never(s3_server: Seaweed, context: Context) -> None:
    prefix = f"{uuid.uuid4().hex}/"
    with faulty_proxy(s3_server.port) as proxy:
        destination = settings(proxy.url, prefix=prefix).connect(context)
        for key in "abc":
            store(destination, key, 10)
        proxy.seen.clear()
        assert [stored.locked_until for stored in destination.with_locks(destination.list(""))] == [None] * 3
    assert len(proxy.seen) == 2
    assert "object-lock" in proxy.seen[1]


def test_retention_keeps_what_is_locked_and_asks_for_no_other_lock(
    s3_server: Seaweed, lockable: str, context: Context
) -> None:
    source = example("sources", "folder", id="data")
    job = parsed({**job_with("sources", source), "hostname": "host"})
    now = dt.datetime.now(dt.UTC)
    with faulty_proxy(s3_server.port) as proxy:
        config = settings(
            proxy.url, id="s3", bucket=lockable, object_lock="COMPLIANCE", object_lock_days=3, retention_copies=1
        )
        with config.connect(context) as destination:
            for day in (20, 21, 22):
                store(destination, f"host/2026-11-{day}/data.tar.gpg", 10)
            _, (record,) = prune(job, config, destination, ["data"], today=now.date(), now=now + 4 * DAY)
            assert list(record.refused), "the server's clock is behind: it must refuse, and the record must tell"
            proxy.seen.clear()
            later = now + 2.5 * DAY  # when unverified copies stay for their locks alone
            decisions, (record,) = prune(job, config, destination, ["data"], today=now.date(), now=later)
    assert (record.kept, record.removed, record.refused, record.error) == (3, (), {}, "")
    assert [any("locked until" in reason for reason in decision.reasons) for decision in decisions] == [
        False,
        True,
        True,
    ]
    asked = sorted(line.split()[1].rpartition("/host/")[2] for line in proxy.seen if line.startswith("HEAD "))
    assert asked == ["2026-11-20/data.tar.gpg", "2026-11-21/data.tar.gpg"]


def test_what_a_bucket_is_it_is_asked_once_however_many_batches_go(
    s3_server: Seaweed, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.pruning.plan.BATCH", 2)
    job = parsed({**job_with("sources", example("sources", "folder", id="data")), "hostname": "host"})
    now = dt.datetime.now(dt.UTC)
    with faulty_proxy(s3_server.port) as proxy:
        config = settings(proxy.url, id="s3", prefix=f"{uuid.uuid4().hex}/", retention_copies=1)
        with config.connect(context) as destination:
            for day in range(10, 18):
                store(destination, f"host/2026-11-{day}/data.tar.gpg", 10)
            _, (record,) = prune(job, config, destination, ["data"], today=now.date(), now=now + 3 * DAY)
    assert (record.removed_count, record.error) == (7, "")
    assert sum("?object-lock" in line for line in proxy.seen) == 1
    assert sum("?versioning" in line for line in proxy.seen) == 1
    assert sum("?delete" in line for line in proxy.seen) == 4


_BUSY = "<DeleteResult><Error><Key>{0}a</Key><Code>SlowDown</Code><Message>Slow down.</Message></Error></DeleteResult>"


@pytest.mark.parametrize("times", [1, 9])
def test_what_a_busy_server_did_not_remove_is_asked_for_again_and_told_of_in_the_end(
    s3_server: Seaweed, context: Context, times: int
) -> None:
    prefix = f"{uuid.uuid4().hex}/"
    with faulty_proxy(s3_server.port) as proxy:
        destination = settings(proxy.url, prefix=prefix).connect(context)
        for key in "ab":
            store(destination, key, 10)
        proxy.add(Fault(r"^POST .*delete", times=times, status=200, body=_BUSY.format(prefix)))
        refused = destination.remove(["a", "b"])
        asked = sum("?delete" in line for line in proxy.seen)
        proxy.heal()
        left = [stored.key for stored in destination.list("")]
    if times == 1:  # the proxy answered for b, too, and the server was never asked to remove that
        assert (refused, asked, left) == ({}, 2, ["b"])
    else:
        assert (refused, asked, left) == ({"a": "SlowDown: Slow down."}, 3, ["a", "b"])


# ---------------------------------------------------------------------- tags, payment, parts


@pytest.mark.parametrize("size", [10, BIG])
def test_objects_are_tagged(s3_server: Seaweed, context: Context, size: int) -> None:
    prefix, tags = f"{uuid.uuid4().hex}/", {"team a": "x+y=z@home/1", "empty": "", "ünï": "日本"}
    with settings(s3_server.url, prefix=prefix, tags=tags).connect(context) as destination:
        store(destination, "a", size)
    found = s3_server.client().get_object_tagging(Bucket=BUCKET, Key=f"{prefix}a")["TagSet"]
    assert {tag["Key"]: tag["Value"] for tag in found} == tags


class Payers:
    """A client's requests, each with the header that says who pays."""

    def __init__(self, destination: Any) -> None:
        self.seen: dict[str, str | None] = {}
        destination._bucket.client.meta.events.register("before-send.s3", self._look)

    def _look(self, request: Any, event_name: str, **_: Any) -> None:
        payer = request.headers.get("x-amz-request-payer")
        self.seen[event_name.rpartition(".")[2]] = payer.decode() if isinstance(payer, bytes) else payer


@pytest.mark.parametrize("pays", [True, False])
def test_every_request_says_who_pays(s3_server: Seaweed, context: Context, pays: bool) -> None:
    with settings(s3_server.url, prefix=f"{uuid.uuid4().hex}/", requester_pays=pays).connect(context) as destination:
        payers = Payers(destination)
        store(destination, "small", 10)
        store(destination, "big", BIG)
        upload = destination.create("aborted")
        upload.write(bytes(PART))
        upload.abort()
        list(destination.list(""))
        assert len(b"".join(destination.read("big"))) == BIG
        assert destination.remove(["small", "big"]) == {}
    # S3 documents no such header for these: a bucket's settings are its owner's, and a version's list too is free.
    settings_of_it = {"GetObjectLockConfiguration", "GetBucketVersioning"}
    asked = {name: payer for name, payer in payers.seen.items() if name not in settings_of_it}
    assert set(asked.values()) == ({"requester"} if pays else {None})
    assert {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"} <= set(asked)
    assert {"AbortMultipartUpload", "HeadObject", "GetObject", "ListObjectsV2", "DeleteObjects"} <= set(asked)


@pytest.fixture
def proxy(s3_server: Seaweed) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server.port) as running:
        yield running


def test_no_more_parts_are_sent_than_the_server_takes(
    proxy: FaultyProxy, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many as are allowed, of a size bound that needs them to grow; then one byte more is told of."""
    monkeypatch.setattr("backups.destinations.s3.parts.SMALLEST", 64 << 10)
    size = 100 * (80 << 10)
    config = settings(proxy.url, prefix=f"{uuid.uuid4().hex}/", max_parts=100)
    with config.connect(context) as destination:
        upload = destination.create("a", size_bound=size)
        with pytest.raises(DestinationError, match="does not fit into 100 parts") as caught:
            for _ in range(3 * size >> 16):
                upload.write(bytes(64 << 10))
        upload.abort()
    assert "max_parts" in caught.value.hint
    numbers = {line.partition("partNumber=")[2].partition("&")[0] for line in proxy.seen if "partNumber" in line}
    assert len(numbers - {""}) <= 100


# ---------------------------------------------------------------------- a role of the bucket's owner


class Owner:
    """An account that lets one user take on one role, with an external id; the cloud enforces its policies."""

    def __init__(self, sample: Sample) -> None:
        self.cloud = sample.cloud
        name = f"s3-{uuid.uuid4().hex[:12]}"
        self.bucket, self.external_id = name, f"id/{name}"
        self.cloud.client("s3").create_bucket(Bucket=name)
        iam = self.cloud.client("iam")
        user = iam.create_user(UserName=name)["User"]["Arn"]
        keys = iam.create_access_key(UserName=name)["AccessKey"]
        self.key, self.secret = keys["AccessKeyId"], keys["SecretAccessKey"]
        trusts = {
            "Effect": "Allow",
            "Principal": {"AWS": user},
            "Action": "sts:AssumeRole",
            "Condition": {"StringEquals": {"sts:ExternalId": self.external_id}},
        }
        self.role: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy(trusts))["Role"]["Arn"]
        may = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": self.role}
        iam.put_user_policy(UserName=name, PolicyName="may", PolicyDocument=policy(may))
        writes = {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": f"arn:aws:s3:::{name}/team/*"}
        iam.put_role_policy(RoleName=name, PolicyName="writes", PolicyDocument=policy(writes))

    def config(self, **changes: Any) -> S3:
        """The bucket by that role."""
        given = {"bucket": self.bucket, "prefix": "team/", "role_arn": self.role, "external_id": self.external_id}
        keys = {"aws_access_key_id": self.key, "aws_secret_access_key": self.secret}
        return settings(self.cloud.endpoint, **{**given, **keys, "region": self.cloud.region, **changes})


def policy(statement: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@pytest.fixture
def owner(sample: Sample, monkeypatch: pytest.MonkeyPatch) -> Owner:
    monkeypatch.setenv("AWS_ENDPOINT_URL_STS", sample.cloud.endpoint)
    return Owner(sample)


@pytest.mark.parametrize("size", [10, BIG])
def test_a_role_with_an_external_id_writes_without_the_right_to_list(owner: Owner, context: Context, size: int) -> None:
    with owner.config().connect(context) as destination:
        assert "compared by the server" in store(destination, "a", size)
        with pytest.raises(DeniedError):
            list(destination.list(""))
    head = owner.cloud.client("s3").head_object(Bucket=owner.bucket, Key="team/a")
    assert head["ContentLength"] == size


@pytest.mark.parametrize("change", [{"external_id": "another"}, {"external_id": ""}, {"role_arn": ""}])
def test_without_the_role_or_its_external_id_everything_is_denied(
    owner: Owner, context: Context, change: dict[str, str]
) -> None:
    changes = {**change, **({"external_id": ""} if "role_arn" in change else {})}
    with owner.config(**changes).connect(context) as destination:
        for size in (10, BIG):
            with pytest.raises(DeniedError) as caught:
                store(destination, "a", size)
            assert caught.value.permanent
            assert ("role_arn" in caught.value.hint) == ("role_arn" not in change)
    assert "Contents" not in owner.cloud.client("s3").list_objects_v2(Bucket=owner.bucket)


def test_another_place_than_the_role_s_is_denied(owner: Owner, context: Context) -> None:
    with owner.config(prefix="elsewhere/").connect(context) as destination, pytest.raises(DeniedError):
        store(destination, "a", 10)
