"""What only rclone destinations do: children that die, secrets of theirs, and remotes that can do less."""

from __future__ import annotations

import hashlib
import os
import signal
import stat
import uuid
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest

from backups.context import Cancel, Context
from backups.destinations import Destination
from backups.destinations.rclone import remote as rclone_remote
from backups.destinations.rclone.destination import Rclone
from backups.destinations.rclone.upload import RcloneUpload
from backups.errors import DestinationError, MissingError, StoppedError, VerificationError
from tests.contract.apart import run_apart
from tests.contract.objects import KEY, MIB, content, fetch, keys, push, store
from tests.contract.streams import children
from tests.servers.rclone_serve import PASSWORD, PROGRAM, REMOTE, RcloneServe
from tests.servers.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed

BIG = 3 * MIB + 4321


def settings(server: RcloneServe, folder: str, **changes: Any) -> Rclone:
    (server.root / folder).mkdir(parents=True, exist_ok=True)
    given = {"remote": REMOTE, "path": folder, "config": server.config()}
    return Rclone.model_validate({**given, **changes})


@pytest.fixture
def folder() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def destination(sftp_server: RcloneServe, folder: str, context: Context) -> Iterator[Destination]:
    with settings(sftp_server, folder).connect(context) as opened:
        yield opened


def hidden(server: RcloneServe, folder: str) -> list[str]:
    return [path.name for path in (server.root / folder).rglob(".backups-*")]


def sending() -> list[int]:
    """Our children that store a file."""
    return [pid for pid in children() if b"rcat" in Path(f"/proc/{pid}/cmdline").read_bytes()]


# ---------------------------------------------------------------------- how it is stored


@pytest.mark.parametrize("protocol", ["sftp", "webdav"])
def test_a_copy_of_the_same_size_replaces_the_older_one(
    protocol: str, folder: str, context: Context, request: pytest.FixtureRequest
) -> None:
    """rclone would take both for the same where it knows no times and no hashes."""
    server: RcloneServe = request.getfixturevalue(f"{protocol}_server")
    with settings(server, folder).connect(context) as destination:
        store(destination, content(BIG, 1))
        store(destination, content(BIG, 2))
        assert fetch(destination) == content(BIG, 2)
        assert keys(destination) == [KEY]
    assert hidden(server, folder) == []


def test_a_remote_with_hashes_is_asked_for_one_and_another_is_read_back(
    destination: Destination, webdav_server: RcloneServe, folder: str, context: Context
) -> None:
    assert store(destination, content(BIG)) == "size, sha1 compared with the remote's"
    with settings(webdav_server, folder).connect(context) as other:
        assert store(other, content(BIG)) == "size and sha256, read back"


def test_a_remote_with_sha256_is_compared_with_the_sum_of_the_pass(tmp_path: Path, context: Context) -> None:
    (tmp_path / "disk").mkdir()
    text = f"[disk]\ntype = alias\nremote = {tmp_path}/disk\n"
    config = Rclone.model_validate({"remote": "disk", "config": text})
    with config.connect(context) as destination:
        assert store(destination, content(BIG)) == "size, sha256 compared with the remote's"
        upload = destination.create(KEY)
        push(upload, content(BIG, 2))
        with pytest.raises(VerificationError, match="another sha256"):
            upload.commit(BIG, hashlib.sha256(content(BIG)).hexdigest())
        upload.abort()
        assert fetch(destination) == content(BIG)
        assert keys(destination) == [KEY]


def test_a_file_that_the_remote_changed_never_gets_its_name(
    destination: Destination, sftp_server: RcloneServe, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(destination, b"the old one")
    upload = destination.create(KEY)
    assert isinstance(upload, RcloneUpload)
    push(upload, content(BIG))
    assert upload._digest
    upload._digest.update(b"a byte that the remote did not get")
    with pytest.raises(VerificationError, match="another sha1"):
        upload.commit(BIG, hashlib.sha256(content(BIG)).hexdigest())
    upload.abort()
    assert fetch(destination) == b"the old one"
    assert hidden(sftp_server, folder) == []


class Rigged:
    """rclone, but a call that matches fails, once ``number`` such calls went well."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        monkeypatch.setattr("backups.destinations.rclone.remote._program", lambda: str(path))

    def fail(self, command: str, number: int) -> None:
        count = self.path.with_suffix(".count")
        count.write_text("")
        self.path.write_text(
            "#!/bin/sh\n"
            f'if [ "$1" = {command} ]; then echo >> "{count}"\n'
            f'[ $(wc -l < "{count}") -eq {number} ] && {{ echo "Failed to {command}: connection lost" >&2; exit 1; }}\n'
            f'fi\nexec {PROGRAM} "$@"\n'
        )
        self.path.chmod(0o755)


def test_a_rename_that_fails_puts_the_old_copy_back(
    destination: Destination, sftp_server: RcloneServe, folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(destination, b"the old one")
    rigged = Rigged(tmp_path / "rigged", monkeypatch)
    for number in (1, 2):  # the old one aside, the new one in its place
        rigged.fail("moveto", number)
        with pytest.raises(DestinationError, match="connection lost"):
            store(destination, content(BIG))
        assert fetch(destination) == b"the old one"
        assert hidden(sftp_server, folder) == []


# ---------------------------------------------------------------------- an object store, which copies


@pytest.fixture
def bucket(s3_server: Seaweed, folder: str) -> Rclone:
    text = (
        f"[store]\ntype = s3\nprovider = Other\nendpoint = {s3_server.url}\nregion = us-east-1\n"
        f"access_key_id = {ACCESS_KEY}\nsecret_access_key = {SECRET_KEY}\nforce_path_style = true\n"
    )
    return Rclone.model_validate({"remote": "store", "path": f"{BUCKET}/{folder}", "config": text})


def test_where_a_rename_is_a_copy_nothing_half_shows_either(
    bucket: Rclone, s3_server: Seaweed, folder: str, context: Context
) -> None:
    def objects() -> list[str]:
        found = s3_server.client().list_objects_v2(Bucket=BUCKET, Prefix=folder).get("Contents", [])
        return [one["Key"].removeprefix(f"{folder}/") for one in found]

    with bucket.connect(context) as destination:
        assert keys(destination) == []
        store(destination, b"the old one")
        upload = destination.create(KEY)
        push(upload, content(12 * MIB))
        assert fetch(destination) == b"the old one"
        upload.abort()
        assert objects() == [KEY]
        store(destination, content(12 * MIB))
        assert fetch(destination) == content(12 * MIB)
        assert objects() == [KEY]
        assert destination.remove([KEY, "never"]) == {}
        assert objects() == []
        with pytest.raises(MissingError):
            fetch(destination)
    assert s3_server.unfinished(BUCKET, folder) == []


def test_a_bucket_is_never_made(bucket: Rclone, s3_server: Seaweed, context: Context) -> None:
    config = bucket.model_copy(update={"path": "no-such-bucket/a"})
    with config.connect(context) as destination, pytest.raises(MissingError):
        store(destination, b"x")
    assert "no-such-bucket" not in [one["Name"] for one in s3_server.client().list_buckets()["Buckets"]]


# ---------------------------------------------------------------------- what dies, stops or is left


def test_an_rclone_that_is_killed_is_an_error_and_leaves_nothing(
    destination: Destination, sftp_server: RcloneServe, folder: str
) -> None:
    upload = destination.create(KEY)
    push(upload, content(BIG))
    for pid in sending():
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(DestinationError, match="SIGKILL"):
        push(upload, content(64 * MIB))
    upload.abort()
    assert keys(destination) == []
    assert [*(sftp_server.root / folder).iterdir()] == []


_KILLED_WHILE_REPLACING = """
from backups.destinations.rclone.upload import RcloneUpload
real = RcloneUpload._ask
def ask(self, *given):
    real(self, *given)
    os.kill(os.getpid(), 9)  # the old one is put aside, the new one not yet in its place
RcloneUpload._ask = ask
upload = connect().create(sys.argv[2])
upload.write(b"the new one")
upload.commit(11, hashlib.sha256(b"the new one").hexdigest())
"""


def test_a_file_that_the_server_still_locks_is_removed_a_moment_later(
    webdav_server: RcloneServe, folder: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may not know yet that the transfer was broken off."""
    name = "host/.backups-0123456789abcdef.partial"
    monkeypatch.setattr("backups.destinations.rclone.upload.waiting_name", lambda _: name)
    monkeypatch.setitem(rclone_remote._ENVIRONMENT, "RCLONE_LOW_LEVEL_RETRIES", "1")  # it would wait itself
    with settings(webdav_server, folder).connect(context) as destination:
        upload = destination.create("host/a.gpg")
        upload.write(b"x")  # so little that rclone has not begun to send it
        (webdav_server.root / folder / "host").mkdir()
        assert webdav_server.lock(f"{folder}/{name}", seconds=1) == HTTPStatus.CREATED
        upload.abort()
    assert hidden(webdav_server, folder) == []


@pytest.mark.parametrize("key", [KEY, "at the top.tar.gpg"])
def test_a_copy_that_a_dead_run_only_put_aside_is_put_back(
    key: str, destination: Destination, sftp_server: RcloneServe, folder: str, tmp_path: Path
) -> None:
    def store_another() -> None:
        with settings(sftp_server, folder).connect(Context(tmpdir=tmp_path)) as later:
            store(later, b"x", key.replace("23", "24") + ".x")

    store(destination, b"the old one", key)
    done = run_apart(settings(sftp_server, folder), _KILLED_WHILE_REPLACING, tmp_path, key)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert keys(destination) == []
    [aside] = (sftp_server.root / folder).rglob("*.replaced.*")
    store_another()
    assert aside.exists(), "its writer may be about to put the new one there"
    since = int(aside.name.split(".")[3])
    aside.rename(aside.with_name(aside.name.replace(str(since), str(since - 90_000))))
    store_another()
    assert fetch(destination, key) == b"the old one"
    for path in (sftp_server.root / folder).rglob(".backups-*"):
        os.utime(path, (0, 0))
    store_another()
    assert hidden(sftp_server, folder) == []
    assert fetch(destination, key) == b"the old one"


def test_stopping_the_run_ends_what_rclone_does(sftp_server: RcloneServe, folder: str, tmp_path: Path) -> None:
    context = Context(tmpdir=tmp_path, cancel=Cancel())
    with settings(sftp_server, folder).connect(context) as destination:
        upload = destination.create(KEY)
        push(upload, content(BIG))
        context.cancel.set(15)
        with pytest.raises(StoppedError):
            push(upload, content(64 * MIB))
        upload.abort()
    assert hidden(sftp_server, folder) == []
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- secrets


def test_no_secret_is_seen_by_others_or_left(sftp_server: RcloneServe, folder: str, context: Context) -> None:
    config = sftp_server.config()
    obscured = config.partition("pass = ")[2].strip()
    with settings(sftp_server, folder, config=config).connect(context) as destination:
        upload = destination.create(KEY)
        push(upload, content(BIG))
        [file] = context.tmpdir.rglob("rclone.conf")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        [seen] = [
            (Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()).decode()
            for pid in sending()
        ]
        assert str(file) in seen
        assert obscured not in seen
        assert PASSWORD not in seen
        assert obscured not in context.secrets.scrub(f"Failed to parse {obscured}")
        upload.abort()
    assert list(context.tmpdir.iterdir()) == []


# ---------------------------------------------------------------------- what can't be used


def test_a_remote_that_takes_no_stream_is_refused(webdav_server: RcloneServe, folder: str, context: Context) -> None:
    text = webdav_server.config().replace("vendor = rclone", "vendor = other")
    refused = pytest.raises(DestinationError, match="no stream of unknown length")
    with settings(webdav_server, folder, config=text).connect(context) as destination, refused as caught:
        store(destination, b"x")
    assert caught.value.permanent
    assert "StreamUpload" in caught.value.hint
    assert [*(webdav_server.root / folder).iterdir()] == []
    assert sending() == []


def test_without_the_program_the_error_says_how_to_get_it(
    sftp_server: RcloneServe, folder: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.destinations.rclone.remote._program", lambda: "no-rclone-here")
    refused = pytest.raises(DestinationError, match="not installed")
    with settings(sftp_server, folder).connect(context) as destination, refused as caught:
        store(destination, b"x")
    assert caught.value.permanent
    assert "backups[rclone]" in caught.value.hint


def test_a_file_of_the_user_s_own_is_used_where_it_is(
    sftp_server: RcloneServe, folder: str, context: Context, tmp_path: Path
) -> None:
    own = tmp_path / "own.conf"
    own.write_text(sftp_server.config())
    with settings(sftp_server, folder, config=None, config_file=str(own)).connect(context) as destination:
        store(destination, b"x")
        assert fetch(destination) == b"x"
    assert own.exists()
