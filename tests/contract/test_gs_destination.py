"""What only Google Cloud Storage does: sessions that are resumed, sums, generations, holds, and all kinds of keys."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import json
import urllib.parse
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from backups.context import Cancel, Context
from backups.destinations import Destination
from backups.destinations.gs.destination import GoogleStorage
from backups.destinations.gs.upload import GsUpload
from backups.errors import BackupsError, DeniedError, DestinationError, StoppedError, VerificationError
from tests.contract.objects import KEY, MIB, content, fetch, keys, push, store
from tests.servers.faulty_proxy import FOREVER, Fault, FaultyProxy, faulty_proxy
from tests.servers.gcs import BUCKET, Gcs, another_key, gcs, p12, pem
from tests.servers.google_identity import CLIENT, TASK_ROLE, TOKEN

CHUNK = 2 * MIB
BIG = 3 * CHUNK + 4321
STORED = "size, crc32c compared by the server"
BEGIN = r"^POST .*uploadType=resumable"
PUT = r"^PUT .*upload_id="
GET = r"^GET .*alt=media"


@pytest.fixture(autouse=True)
def small_and_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small chunks, and short pauses between attempts."""
    monkeypatch.setattr("backups.destinations.gs.upload.CHUNK", CHUNK)
    monkeypatch.setattr("backups.destinations.retrying.PAUSES", (0.01, 0.01, 0.01))


@pytest.fixture
def prefix() -> str:
    return f"{uuid.uuid4().hex}/"


@pytest.fixture
def proxy(gcs_server: Gcs) -> Iterator[FaultyProxy]:
    with faulty_proxy(gcs_server.front.port) as running:
        yield running


def settings(server: Gcs, url: str = "", **changes: Any) -> GoogleStorage:
    given = {"bucket": BUCKET, "endpoint_url": url or server.url}
    if not {"gs_service_key", "gs_service_key_file"} & set(changes):
        given["gs_service_key"] = server.key()
    return GoogleStorage.model_validate({**given, **changes})


@pytest.fixture
def destination(gcs_server: Gcs, proxy: FaultyProxy, prefix: str, context: Context) -> Iterator[Destination]:
    """Reached through the proxy."""
    with settings(gcs_server, proxy.url, prefix=prefix).connect(context) as opened:
        yield opened


@pytest.fixture
def direct(gcs_server: Gcs, prefix: str, context: Context) -> Iterator[Destination]:
    """The same place past the proxy: the truth."""
    with settings(gcs_server, prefix=prefix).connect(context) as opened:
        yield opened


def test_an_upload_names_the_key_that_encrypts_it(
    gcs_server: Gcs, proxy: FaultyProxy, prefix: str, context: Context
) -> None:
    key = "projects/example/locations/eu/keyRings/backups/cryptoKeys/nightly"
    with settings(gcs_server, proxy.url, prefix=prefix, kms_key_name=key).connect(context) as destination:
        store(destination, b"x")
        assert fetch(destination) == b"x"
    (begun,) = [line for line in proxy.seen if line.startswith("POST") and "uploadType=resumable" in line]
    assert f"kmsKeyName={urllib.parse.quote(key, safe='')}" in begun


# ---------------------------------------------------------------------- faults


@pytest.mark.parametrize(
    "fault",
    [
        Fault(BEGIN, times=2, status=503),
        Fault(BEGIN, cut_answer=0),
        Fault(PUT, times=2, status=503),
        Fault(PUT, times=2, status=429),
        Fault(PUT, cut_request=CHUNK // 2 + 1000),
        Fault(PUT, times=2, cut_request=0),
        Fault(PUT, times=2, cut_answer=0),
        Fault(PUT, times=FOREVER, pace=0.0005),
    ],
    ids=lambda fault: f"{fault.pattern[1:4]}-{fault.status}-{fault.cut_request}-{fault.cut_answer}-{fault.pace}",
)
def test_a_fault_that_passes_does_no_harm(
    destination: Destination, direct: Destination, proxy: FaultyProxy, fault: Fault
) -> None:
    proxy.add(fault)
    data = content(BIG)
    assert store(destination, data) == STORED
    assert fault.hits
    assert fetch(direct) == data


@pytest.mark.parametrize("size", [10, BIG])
@pytest.mark.parametrize("times", [1, 2])
def test_a_completion_whose_answer_is_lost_is_found_done(
    destination: Destination,
    direct: Destination,
    proxy: FaultyProxy,
    size: int,
    times: int,
) -> None:
    data, upload = content(size), destination.create(KEY)
    assert isinstance(upload, GsUpload)
    push(upload, data)
    upload._settle()
    fault = proxy.add(Fault(PUT, times=times, cut_answer=0))
    assert upload.commit(size, hashlib.sha256(data).hexdigest()) == STORED
    assert fault.hits
    assert fetch(direct) == data


def test_a_session_that_is_gone_after_the_completion_is_looked_up(
    destination: Destination, direct: Destination, proxy: FaultyProxy
) -> None:
    data, upload = content(BIG), destination.create(KEY)
    assert isinstance(upload, GsUpload)
    push(upload, data)
    upload._settle()
    proxy.add(Fault(PUT, cut_answer=0))
    proxy.add(Fault(PUT, status=410))
    assert upload.commit(BIG, hashlib.sha256(data).hexdigest()) == STORED
    assert fetch(direct) == data


@pytest.mark.parametrize(
    "fault",
    [
        Fault(PUT, times=FOREVER, status=500),
        Fault(PUT, times=FOREVER, cut_request=1000),
        Fault(PUT, corrupt=17),
        Fault(BEGIN, times=FOREVER, cut_answer=0),
    ],
    ids=["refused", "cut", "corrupt", "never begun"],
)
def test_a_fault_that_stays_is_an_error_and_leaves_what_was_there(
    destination: Destination, direct: Destination, proxy: FaultyProxy, fault: Fault
) -> None:
    store(direct, b"the old one")
    proxy.add(fault)
    with pytest.raises(DestinationError, match=r"host/2026-11-23/db\.sql\.gpg can't be stored") as caught:
        store(destination, content(BIG))
    assert isinstance(caught.value, VerificationError) is (fault.corrupt is not None)
    assert fault.hits
    assert fetch(direct) == b"the old one"


def test_a_refusal_is_not_tried_again(destination: Destination, proxy: FaultyProxy) -> None:
    body = json.dumps({"error": {"code": 403, "message": f"{CLIENT} does not have storage.objects.create access"}})
    fault = proxy.add(Fault(BEGIN, times=FOREVER, status=403, body=body))
    with pytest.raises(DeniedError, match=r"storage\.objects\.create") as caught:
        store(destination, content(BIG))
    assert "roles" in caught.value.hint
    assert fault.hits == 1


def test_reading_goes_on_where_the_connection_broke(
    destination: Destination, direct: Destination, proxy: FaultyProxy
) -> None:
    data = content(BIG)
    store(direct, data)
    proxy.add(Fault(GET, cut_answer=4 * MIB))
    proxy.add(Fault(GET, status=503))
    proxy.add(Fault(GET, cut_answer=MIB))
    assert fetch(destination) == data
    assert sum("alt=media" in line for line in proxy.seen) == 4


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


def test_what_can_not_be_aborted_is_told_of(
    destination: Destination, proxy: FaultyProxy, caplog: pytest.LogCaptureFixture
) -> None:
    upload = destination.create(KEY)
    push(upload, content(BIG))
    proxy.stop()
    upload.abort()
    assert "after a week" in caplog.text
    with pytest.raises(DestinationError) as caught:
        fetch(destination)
    assert "endpoint_url" in caught.value.hint
    assert not caught.value.permanent


def test_a_stop_ends_an_upload_that_stalls(
    gcs_server: Gcs, proxy: FaultyProxy, prefix: str, direct: Destination, tmp_path: Path
) -> None:
    context = Context(tmpdir=tmp_path, cancel=Cancel())
    fault = proxy.add(Fault(PUT, times=FOREVER, stall=True))
    upload = settings(gcs_server, proxy.url, prefix=prefix).connect(context).create(KEY)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        writing = thread.submit(push, upload, content(BIG))
        assert fault.stalled.wait(60)
        context.cancel.set(15)
        with pytest.raises(StoppedError):
            writing.result(60)
    upload.abort()
    proxy.stop()
    assert keys(direct) == []
    assert gcs_server.front.unfinished(prefix) == []


# ---------------------------------------------------------------------- verification


def test_the_server_compares_the_sum_before_the_object_appears(direct: Destination) -> None:
    store(direct, b"the old one")
    upload = direct.create(KEY)
    assert isinstance(upload, GsUpload)
    upload.write(b"the new one")
    upload._crc32c.update(b"more")
    with pytest.raises(VerificationError, match="other bytes than were sent"):
        upload.commit(11, "0" * 64)
    upload.abort()
    assert fetch(direct) == b"the old one"


def test_an_object_with_another_sum_is_taken_away_but_never_one_that_came_later(
    destination: Destination, direct: Destination, proxy: FaultyProxy
) -> None:
    store(direct, b"came later")
    body = json.dumps({"size": "11", "crc32c": "AAAAAA==", "generation": "1"})
    proxy.add(Fault(PUT, status=200, body=body))
    with pytest.raises(VerificationError, match="another crc32c"):
        store(destination, b"the new one")
    assert fetch(direct) == b"came later"


def test_an_object_that_reads_back_wrong_is_taken_away(
    gcs_server: Gcs, proxy: FaultyProxy, direct: Destination, prefix: str, context: Context
) -> None:
    destination = settings(gcs_server, proxy.url, prefix=prefix, verify="full").connect(context)
    proxy.add(Fault(GET, times=FOREVER, status=200, body="something else"))
    with pytest.raises(VerificationError, match="it was removed"):
        store(destination, content(BIG))
    proxy.heal()
    assert keys(direct) == []


# ---------------------------------------------------------------------- listing and removing


def test_more_than_a_page_is_listed_and_removed(direct: Destination, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backups.destinations.gs.destination.PAGE", 4)
    monkeypatch.setattr("backups.destinations.gs.remove.BATCH", 4)
    names = [f"host/{number:04}.tar.gpg" for number in range(11)]
    for name in reversed(names):
        store(direct, b"", name)
    assert keys(direct) == names
    assert direct.remove(names[1:]) == {}
    assert keys(direct) == names[:1]


def test_each_object_that_is_held_is_told_of_and_the_others_go(
    gcs_server: Gcs, direct: Destination, prefix: str
) -> None:
    for key in ("a", "b held", "c"):
        store(direct, b"x", key)
    gcs_server.front.refused[f"{prefix}b held"] = 403
    refused = direct.remove(["a", "b held", "c", "never"])
    del gcs_server.front.refused[f"{prefix}b held"]
    assert list(refused) == ["b held"]
    assert "hold" in refused["b held"]
    assert keys(direct) == ["b held"]


def test_removing_from_a_bucket_that_keeps_versions_leaves_none(tmp_path: Path, context: Context) -> None:
    with gcs(tmp_path, versions=True) as server, settings(server).connect(context) as destination:
        names = [f"host/2026-11-23/{number:02}.tar.gpg" for number in range(12)]
        for name in (*names, *names[3:6], names[4], "alone", "alone"):
            store(destination, b"x", name)
        assert len(versions(server)) == 18
        assert destination.remove([*names[:10], "alone", "never"]) == {}
        assert keys(destination) == names[10:]
        assert versions(server) == names[10:]


def versions(server: Gcs) -> list[str]:
    """Names of everything that the bucket keeps, one for each generation."""
    login = {"Authorization": f"Bearer {TOKEN}"}
    where = f"{server.url}/storage/v1/b/{BUCKET}/o"
    answer = requests.get(where, params={"versions": "true"}, headers=login, timeout=60)
    return sorted(found["name"] for found in answer.json()["items"])


# ---------------------------------------------------------------------- keys


def works(config: GoogleStorage, context: Context) -> None:
    with config.connect(context) as destination:
        store(destination, b"x")
        assert fetch(destination) == b"x"


def test_a_json_key_in_a_file(gcs_server: Gcs, prefix: str, tmp_path: Path, context: Context) -> None:
    path = tmp_path / "key.json"
    path.write_text(gcs_server.key())
    works(settings(gcs_server, prefix=prefix, gs_service_key_file=str(path)), context)


def test_the_old_tools_p12_key(
    gcs_server: Gcs, prefix: str, tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.destinations.gs.credentials.TOKEN_URL", gcs_server.identity.token_url)
    path = tmp_path / "key.p12"
    path.write_bytes(p12("asecretpassword"))
    given = {"prefix": prefix, "gs_service_key_file": str(path), "gs_service_client_id": CLIENT}
    asked = len(gcs_server.identity.grants)
    works(settings(gcs_server, **given, gs_service_key_file_password="asecretpassword"), context)
    assert len(gcs_server.identity.grants) > asked
    path.write_bytes(p12("notasecret"))
    works(settings(gcs_server, **given), context)
    with pytest.raises(DeniedError, match="not its password") as caught:
        settings(gcs_server, **given, gs_service_key_file_password="wr0ngpassw0rd").connect(context)
    assert "wr0ngpassw0rd" not in str(caught.value)
    with pytest.raises(DeniedError, match="whose it is"):
        settings(gcs_server, prefix=prefix, gs_service_key_file=str(path)).connect(context)


def test_a_p12_key_as_a_secret(gcs_server: Gcs, prefix: str, context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no file: in a worker of a deployed job."""
    monkeypatch.setattr("backups.destinations.gs.credentials.TOKEN_URL", gcs_server.identity.token_url)
    text = base64.encodebytes(p12("asecretpassword")).decode()
    given = {"prefix": prefix, "gs_service_key": text, "gs_service_client_id": CLIENT}
    works(settings(gcs_server, **given, gs_service_key_file_password="asecretpassword"), context)
    with pytest.raises(DeniedError, match="not its password"):
        settings(gcs_server, **given).connect(context)


@pytest.fixture
def task(gcs_server: Gcs, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is a Fargate task: its role's credentials come from an endpoint, and nothing else is there."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", gcs_server.identity.task_role_url)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")


@pytest.mark.usefixtures("task")
@pytest.mark.parametrize("impersonate", [False, True], ids=["direct", "as a service account"])
def test_a_task_role_is_exchanged_without_any_key(
    gcs_server: Gcs, prefix: str, context: Context, impersonate: bool
) -> None:
    """The endpoint checks the signature of the task's session as AWS would."""
    federation = gcs_server.identity.federation(impersonate=impersonate)
    works(settings(gcs_server, prefix=prefix, gs_service_key=json.dumps(federation)), context)
    grant = gcs_server.identity.grants[-1]
    assert "sts.eu-west-1.amazonaws.com" in urllib.parse.unquote(grant["subject_token"])
    assert TASK_ROLE.secret_key not in json.dumps(grant)
    assert gcs_server.identity.seen[-1].endswith(":generateAccessToken") is impersonate


@pytest.mark.usefixtures("task")
def test_a_role_that_the_federation_does_not_take_is_denied(
    gcs_server: Gcs, prefix: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CONTAINER_CREDENTIALS_FULL_URI")
    federation = json.dumps(gcs_server.identity.federation())
    with settings(gcs_server, prefix=prefix, gs_service_key=federation).connect(context) as destination:
        with pytest.raises(DeniedError, match="no AWS credentials"):
            store(destination, b"x")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", TASK_ROLE.access_key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "an0ther-secret")
        monkeypatch.setenv("AWS_SESSION_TOKEN", str(TASK_ROLE.token))
        with pytest.raises(DeniedError, match="refused the credentials") as caught:
            store(destination, b"x")
    assert "an0ther-secret" not in str(caught.value)


def test_the_account_of_a_machine_at_google(
    gcs_server: Gcs, prefix: str, tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("GCE_METADATA_IP", gcs_server.identity.address)
    monkeypatch.setattr("google.auth.compute_engine._metadata._GCE_METADATA_HOST", gcs_server.identity.address)
    asked = len(gcs_server.identity.seen)
    works(GoogleStorage(bucket=BUCKET, prefix=prefix, endpoint_url=gcs_server.url), context)
    assert any("service-accounts/default/token" in path for path in gcs_server.identity.seen[asked:])


def test_the_machines_own_account(
    gcs_server: Gcs, prefix: str, tmp_path: Path, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "key.json"
    path.write_text(gcs_server.key())
    plain = GoogleStorage(bucket=BUCKET, prefix=prefix, endpoint_url=gcs_server.url)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(path))
    works(plain, context)
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    monkeypatch.setenv("CLOUDSDK_CONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("NO_GCE_CHECK", "true")
    with pytest.raises(DeniedError, match="no Google credentials") as caught:
        plain.connect(context)
    assert "gs_service_key" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["s3cr3t", "{}", "[]", '{"type": "service_account", "private_key": "s3cr3t"}', "{s3cr3t"]
)
def test_what_is_no_key_is_told_of_without_showing_it(
    gcs_server: Gcs, tmp_path: Path, context: Context, text: str
) -> None:
    with pytest.raises(DeniedError, match="gs_service_key is neither") as caught:
        settings(gcs_server, gs_service_key=text).connect(context)
    assert "s3cr3t" not in str(caught.value) + repr(caught.value.__cause__)
    path = tmp_path / "key"
    path.write_text(text)
    with pytest.raises(BackupsError) as in_file:
        settings(gcs_server, gs_service_key_file=str(path)).connect(context)
    assert "s3cr3t" not in str(in_file.value) + repr(in_file.value.__cause__)


def test_a_key_file_that_is_missing(gcs_server: Gcs, tmp_path: Path, context: Context) -> None:
    with pytest.raises(DestinationError, match="No such file") as caught:
        settings(gcs_server, gs_service_key_file=str(tmp_path / "key.json")).connect(context)
    assert caught.value.permanent


def test_no_part_of_a_key_shows_anywhere(
    gcs_server: Gcs, proxy: FaultyProxy, context: Context, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    key = pem(another_key())
    shown = []
    with settings(gcs_server, proxy.url, gs_service_key=gcs_server.key(private_key=key)).connect(
        context
    ) as destination:
        with pytest.raises(DeniedError, match=r"Google refused the credentials: .*invalid_grant") as caught:
            store(destination, b"x")
        shown += [str(caught.value), repr(caught.value.__cause__), repr(settings(gcs_server))]
    lines = [line for line in key.splitlines() if not line.startswith("--")]
    assert not any(line in text for line in lines for text in [*shown, caplog.text])
