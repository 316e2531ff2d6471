"""What only S3 destinations do: faults on the way, versions, locks, rights, and servers that know less."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import hashlib
import json
import resource
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backups.context import Cancel, Context
from backups.destinations import Destination
from backups.destinations.s3.destination import S3
from backups.destinations.s3.upload import S3Upload
from backups.errors import DeniedError, DestinationError, MissingError, StoppedError, VerificationError
from tests.contract.objects import KEY, MIB, content, fetch, keys, store
from tests.servers.faulty_proxy import FOREVER, Fault, FaultyProxy, faulty_proxy
from tests.servers.rclone_s3 import ACCESS_KEY as RCLONE_KEY
from tests.servers.rclone_s3 import SECRET_KEY as RCLONE_SECRET
from tests.servers.rclone_s3 import rclone_s3
from tests.servers.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, WRITER_KEY, WRITER_SECRET, Seaweed

PART = 5 * MIB
BIG = 3 * PART + 4321
PART_3 = r"^PUT .*partNumber=3"
COMPLETE = r"^POST .*uploadId="
CREATE = r"^POST .*uploads"
GET = r"^GET "


@pytest.fixture(autouse=True)
def small_and_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest parts that S3 takes, and short pauses between attempts."""
    monkeypatch.setattr("backups.destinations.s3.parts.SMALLEST", PART)
    monkeypatch.setattr("backups.destinations.retrying.PAUSES", (0.01, 0.01))


@pytest.fixture
def prefix() -> str:
    return f"{uuid.uuid4().hex}/"


@pytest.fixture
def proxy(s3_server: Seaweed) -> Iterator[FaultyProxy]:
    with faulty_proxy(s3_server.port) as running:
        yield running


def settings(url: str, **changes: Any) -> S3:
    given = {"bucket": BUCKET, "endpoint_url": url}
    credentials = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
    return S3.model_validate({**given, **credentials, **changes})


@pytest.fixture
def destination(proxy: FaultyProxy, prefix: str, context: Context) -> Iterator[Destination]:
    """Reached through the proxy."""
    with settings(proxy.url, prefix=prefix).connect(context) as opened:
        yield opened


@pytest.fixture
def direct(s3_server: Seaweed, prefix: str, context: Context) -> Iterator[Destination]:
    """The same place past the proxy: the truth."""
    with settings(s3_server.url, prefix=prefix).connect(context) as opened:
        yield opened


# ---------------------------------------------------------------------- faults that pass


@pytest.mark.parametrize(
    "fault",
    [
        Fault(CREATE, times=2, status=500),
        Fault(PART_3, times=4, status=500),
        Fault(PART_3, times=2, status=503),
        Fault(COMPLETE, times=4, status=500),
        Fault(PART_3, cut_request=PART // 2),
        Fault(PART_3, times=4, cut_request=0),
        Fault(PART_3, cut_answer=0),
        Fault(PART_3, corrupt=PART - 1),
        Fault(r"^PUT .*partNumber=2", corrupt=17),
        Fault(r"^PUT ", times=FOREVER, pace=0.001),
        Fault(COMPLETE, cut_answer=0),
        Fault(COMPLETE, times=4, cut_answer=0),
        Fault(COMPLETE, status=200, body="<?xml version='1.0'?><Error><Code>InternalError</Code></Error>"),
        Fault(r"^HEAD ", times=2, cut_answer=0),
    ],
    ids=lambda fault: f"{fault.pattern}-{fault.status or ''}-{fault.times}",
)
def test_a_fault_that_passes_does_no_harm(
    destination: Destination, direct: Destination, proxy: FaultyProxy, s3_server: Seaweed, prefix: str, fault: Fault
) -> None:
    proxy.add(fault)
    data = content(BIG)
    assert store(destination, data) == "size, crc32 of the whole compared by the server"
    assert fault.hits
    assert fetch(direct) == data
    assert s3_server.unfinished(BUCKET, prefix) == []


@pytest.mark.parametrize(
    "fault", [Fault("^PUT ", times=4, status=503), Fault("^PUT ", cut_request=100), Fault("^PUT ", cut_answer=0)]
)
def test_a_fault_that_passes_does_a_small_object_no_harm(
    destination: Destination, direct: Destination, proxy: FaultyProxy, fault: Fault
) -> None:
    proxy.add(fault)
    assert store(destination, b"x" * 5000) == "size, sha256 compared by the server"
    assert fault.hits
    assert fetch(direct) == b"x" * 5000


def test_reading_goes_on_where_the_connection_broke(
    destination: Destination, direct: Destination, proxy: FaultyProxy
) -> None:
    data = content(BIG)
    store(direct, data)
    proxy.add(Fault(GET, cut_answer=4 * MIB))
    proxy.add(Fault(GET, status=503))
    proxy.add(Fault(GET, cut_answer=2 * MIB))
    assert fetch(destination) == data
    assert sum(line.startswith("GET") for line in proxy.seen) == 4


def test_reading_never_mixes_two_objects(destination: Destination, direct: Destination, proxy: FaultyProxy) -> None:
    store(direct, content(BIG, 1))
    proxy.add(Fault(GET, cut_answer=4 * MIB))
    blocks = destination.read(KEY)
    got = next(blocks)
    store(direct, content(BIG, 2))
    with pytest.raises(DestinationError, match="replaced while it was read"):
        for block in blocks:
            got += block
    assert content(BIG, 1).startswith(got)


# ---------------------------------------------------------------------- faults that stay


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Fault(PART_3, times=FOREVER, cut_request=1000), DestinationError),
        (Fault(PART_3, times=FOREVER, status=500), DestinationError),
        (Fault(PART_3, times=FOREVER, corrupt=5), DestinationError),
        (Fault(COMPLETE, times=FOREVER, status=500), DestinationError),
        (Fault(COMPLETE, times=FOREVER, corrupt=200), DestinationError),
        (Fault(CREATE, times=FOREVER, cut_answer=0), DestinationError),
    ],
    ids=lambda value: value.pattern if isinstance(value, Fault) else "",
)
def test_a_fault_that_stays_is_an_error_and_leaves_what_was_there(
    destination: Destination, direct: Destination, proxy: FaultyProxy, fault: Fault, kind: type[DestinationError]
) -> None:
    store(direct, b"the old one")
    proxy.add(fault)
    with pytest.raises(kind, match=r"host/2026-11-23/db\.sql\.gpg can't be"):
        store(destination, content(BIG))
    assert fault.hits
    assert fetch(direct) == b"the old one"


def test_a_cut_for_ever_is_aborted(
    destination: Destination, direct: Destination, proxy: FaultyProxy, s3_server: Seaweed, prefix: str
) -> None:
    proxy.add(Fault(PART_3, times=FOREVER, cut_request=1000))
    with pytest.raises(DestinationError):
        store(destination, content(BIG))
    assert keys(direct) == []
    assert s3_server.unfinished(BUCKET, prefix) == []


def test_a_refusal_is_not_tried_again(destination: Destination, proxy: FaultyProxy) -> None:
    denied = "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>no kms:GenerateDataKey</Message></Error>"
    fault = proxy.add(Fault(PART_3, times=FOREVER, status=403, body=denied))
    with pytest.raises(DeniedError, match="kms:GenerateDataKey"):
        store(destination, content(BIG))
    assert fault.hits == 1


def test_what_can_not_be_aborted_is_told_of(
    destination: Destination, proxy: FaultyProxy, caplog: pytest.LogCaptureFixture
) -> None:
    upload = destination.create(KEY)
    for start in range(0, BIG, MIB):
        upload.write(content(MIB, start))
    proxy.stop()
    upload.abort()
    assert "AbortIncompleteMultipartUpload" in caplog.text
    with pytest.raises(DestinationError) as caught:
        keys(destination)
    assert "endpoint_url" in caught.value.hint
    assert not caught.value.permanent


def test_stopping_the_run_ends_an_upload_that_waits_for_the_server(
    proxy: FaultyProxy, direct: Destination, s3_server: Seaweed, prefix: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("backups.destinations.s3.multipart._ABORT_WAIT", 0.1)
    context = Context(tmpdir=tmp_path, cancel=Cancel())
    fault = proxy.add(Fault(r"^PUT .*partNumber", times=FOREVER, stall=True))
    upload = settings(proxy.url, prefix=prefix).connect(context).create(KEY)

    def write_for_ever() -> None:
        block = content(MIB)
        while True:
            upload.write(block)

    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        writing = thread.submit(write_for_ever)
        assert fault.stalled.wait(60)
        context.cancel.set(15)
        with pytest.raises(StoppedError):
            writing.result(60)
    proxy.heal()
    upload.abort()
    assert keys(direct) == []
    assert s3_server.unfinished(BUCKET, prefix) == []
    proxy.stop()


# ---------------------------------------------------------------------- verification


@pytest.mark.parametrize("checksums", [True, False])
def test_the_server_compares_the_sum_of_each_part(
    s3_server: Seaweed, direct: Destination, prefix: str, context: Context, checksums: bool
) -> None:
    """A byte that changes after its sum was taken, in memory or in a spooled part."""
    store(direct, b"the old one")
    upload = settings(s3_server.url, prefix=prefix, checksums=checksums).connect(context).create(KEY)
    assert isinstance(upload, S3Upload)
    for start in range(0, PART - MIB, MIB):
        upload.write(content(MIB, start))
    assert upload._part
    if checksums:
        upload._part._blocks[0] = content(MIB, 99)
    else:
        upload._part.md5 = lambda check: b"0" * 16  # type: ignore[method-assign]
    with pytest.raises(VerificationError, match="BadDigest"):
        for start in range(0, 3 * PART, MIB):
            upload.write(content(MIB, start))
        upload.commit(4 * PART - MIB, "0" * 64)
    upload.abort()
    assert fetch(direct) == b"the old one"
    assert s3_server.unfinished(BUCKET, prefix) == []


def test_the_server_compares_the_sum_of_the_whole_before_the_object_appears(
    direct: Destination, s3_server: Seaweed, prefix: str
) -> None:
    store(direct, b"the old one")
    upload = direct.create(KEY)
    assert isinstance(upload, S3Upload)
    upload.write(content(BIG))
    upload._crc32 ^= 1
    with pytest.raises(VerificationError, match="BadDigest"):
        upload.commit(BIG, "0" * 64)
    upload.abort()
    assert fetch(direct) == b"the old one"
    assert s3_server.unfinished(BUCKET, prefix) == []


def test_the_server_compares_the_sha256_of_a_small_object(direct: Destination) -> None:
    store(direct, b"the old one")
    upload = direct.create(KEY)
    upload.write(b"the new one")
    with pytest.raises(VerificationError, match="BadDigest"):
        upload.commit(11, hashlib.sha256(b"another").hexdigest())
    upload.abort()
    assert fetch(direct) == b"the old one"


def test_an_object_that_reads_back_wrong_is_taken_away(
    proxy: FaultyProxy, direct: Destination, prefix: str, context: Context
) -> None:
    """The answer to the reading back is spoiled on its way: to us the stored object looks corrupt."""
    destination = settings(proxy.url, prefix=prefix, verify="full").connect(context)
    proxy.add(Fault(GET, times=FOREVER, status=200, body="something else"))
    with pytest.raises(VerificationError, match="it was removed"):
        store(destination, content(BIG))
    proxy.heal()
    assert keys(direct) == []


# ---------------------------------------------------------------------- rights, versions and locks


@pytest.mark.parametrize("size", [10, BIG])
def test_the_right_to_put_suffices(
    s3_server: Seaweed, direct: Destination, prefix: str, context: Context, size: int
) -> None:
    writer = settings(
        s3_server.url, prefix=prefix, aws_access_key_id=WRITER_KEY, aws_secret_access_key=WRITER_SECRET
    ).connect(context)
    data = content(size)
    assert "compared by the server" in store(writer, data)
    assert fetch(direct) == data
    with pytest.raises(DeniedError):
        keys(writer)


@pytest.fixture
def versioned(s3_server: Seaweed) -> str:
    bucket = f"versioned-{uuid.uuid4().hex[:12]}"
    client = s3_server.client()
    client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=True)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    return bucket


def test_removing_from_a_versioned_bucket_leaves_no_version_and_respects_locks(
    s3_server: Seaweed, versioned: str, context: Context
) -> None:
    client = s3_server.client()
    destination = settings(s3_server.url, bucket=versioned).connect(context)
    for key in ("a", "a.manifest.json", "b"):
        for seed in range(2):
            store(destination, content(10, seed), key)
    client.delete_object(Bucket=versioned, Key="b")
    until = dt.datetime.now(dt.UTC).replace(microsecond=0) + dt.timedelta(days=1)
    retention: Any = {"Mode": "COMPLIANCE", "RetainUntilDate": until}
    client.put_object_retention(Bucket=versioned, Key="a", Retention=retention)

    refused = destination.remove(["a", "b", "never"])

    assert list(refused) == ["a"]
    assert f"locked until {until.isoformat()}" in refused["a"]
    assert fetch(destination, "a") == content(10, 1)
    left = client.list_object_versions(Bucket=versioned)
    assert {entry["Key"] for entry in left["Versions"]} == {"a", "a.manifest.json"}
    assert "DeleteMarkers" not in left


def test_neighbours_in_a_versioned_bucket_leave_no_version_either(
    s3_server: Seaweed, versioned: str, context: Context
) -> None:
    destination = settings(s3_server.url, bucket=versioned).connect(context)
    names = [f"host/2026-11-23/{number:02}.tar.gpg" for number in range(12)]
    for name in (*names, *names[3:6]):
        store(destination, b"x", name)
    assert destination.remove(names[:10]) == {}
    left = s3_server.client().list_object_versions(Bucket=versioned)
    assert [entry["Key"] for entry in left["Versions"]] == names[10:]
    assert "DeleteMarkers" not in left


def test_more_than_a_page_is_listed_and_removed(direct: Destination) -> None:
    names = [f"host/2026-11-23/{number:04}.tar.gpg" for number in range(1003)]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: store(direct, b"", name), names))
    assert keys(direct) == names
    assert direct.remove(names[1:]) == {}
    assert keys(direct) == names[:1]


# ---------------------------------------------------------------------- servers that know less


def test_a_server_that_ignores_checksums(tmp_path: Path, context: Context) -> None:
    root = tmp_path / "rclone"
    (root / "bucket").mkdir(parents=True)
    with rclone_s3(root) as server:
        config = settings(
            server.url, bucket="bucket", aws_access_key_id=RCLONE_KEY, aws_secret_access_key=RCLONE_SECRET
        )
        with config.connect(context) as destination:
            assert store(destination, b"old") == "size, md5 compared by the server"
            assert store(destination, content(BIG)) == "size, md5 of each part compared by the server"
            assert fetch(destination) == content(BIG)
            assert keys(destination) == [KEY]
            assert destination.remove([KEY, "never"]) == {}
            with pytest.raises(MissingError):
                fetch(destination)


# ---------------------------------------------------------------------- memory and temporary files

_PUSH = """
import hashlib, pathlib, sys
from backups.context import Context
from backups.destinations.s3.destination import S3
config, tmpdir, parts = sys.argv[1:]
context = Context(tmpdir=pathlib.Path(tmpdir))
uploads = [S3.model_validate_json(config).connect(context).create(f"{n}", size_bound=int(parts)) for n in range(2)]
size, digest = 0, hashlib.sha256()
for number in range(160):
    block = number.to_bytes(4, "big") * (1 << 18)
    size += len(block)
    digest.update(block)
    for upload in uploads:
        upload.write(block)
for upload in uploads:
    upload.commit(size, digest.hexdigest())
status = pathlib.Path("/proc/self/status").read_text().splitlines()
# Not getrusage: what it says begins with the memory of the process that forked this one.
print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def test_two_uploads_with_large_parts_need_little_memory_and_leave_no_file(
    s3_server: Seaweed, prefix: str, tmp_path: Path
) -> None:
    """In a process of its own, which has the real part sizes: 160 MiB to two buckets at once, parts in files."""
    config = {
        **settings(s3_server.url, prefix=prefix).model_dump(exclude_defaults=True),
        "aws_secret_access_key": SECRET_KEY,
    }
    done = subprocess.run(
        [sys.executable, "-c", _PUSH, json.dumps(config), str(tmp_path), str(1 << 50)],
        check=True,
        capture_output=True,
        text=True,
    )
    assert int(done.stdout) * 1024 < 160 * MIB
    assert list(tmp_path.iterdir()) == []


def test_a_full_tmpdir_is_told_of(
    direct: Destination, s3_server: Seaweed, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.destinations.s3.parts.Part.SPOOLED", 0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    upload = direct.create(KEY)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3 * MIB, limits[1]))
    try:
        with pytest.raises(DestinationError, match="File too large") as caught:
            for start in range(0, PART, MIB):
                upload.write(content(MIB, start))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "tmpdir" in caught.value.hint
    upload.abort()
    assert keys(direct) == []
    assert s3_server.unfinished(BUCKET, prefix) == []
