"""The same pass to a real S3 server and a directory at once."""

from __future__ import annotations

import hashlib
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.context import Context
from backups.destinations.base import DestinationConfig
from backups.destinations.s3.destination import S3
from backups.records import Outcome
from tests.integration.scripted import (
    ENDLESS,
    KEY,
    MANIFEST,
    Faults,
    Faulty,
    Setup,
    child_named,
    fail,
    nothing_left,
    shell,
    until,
)
from tests.servers.seaweed import ACCESS_KEY, BUCKET, SECRET_KEY, Seaweed

DATA = "head -c 30000000 /dev/urandom"


class Bucket:
    """A prefix of the server's bucket for one test."""

    def __init__(self, server: Seaweed) -> None:
        self.server = server
        self.prefix = f"{uuid.uuid4().hex}/"

    def config(self) -> S3:
        """It as a destination."""
        return S3(
            id="s3",
            bucket=BUCKET,
            prefix=self.prefix,
            endpoint_url=self.server.url,
            aws_access_key_id=ACCESS_KEY,
            aws_secret_access_key=SECRET_KEY,
        )

    def objects(self) -> list[str]:
        """Keys of what is there."""
        found = self.server.client().list_objects_v2(Bucket=BUCKET, Prefix=self.prefix).get("Contents", [])
        return [stored["Key"].removeprefix(self.prefix) for stored in found]

    def unfinished(self) -> list[str]:
        """Keys of uploads that were neither completed nor aborted."""
        return self.server.unfinished(BUCKET, self.prefix)

    def sha256(self, key: str) -> str:
        """Of the bytes that are there."""
        body = self.server.client().get_object(Bucket=BUCKET, Key=self.prefix + key)["Body"]
        return hashlib.sha256(body.read()).hexdigest()


@pytest.fixture
def bucket(s3_server: Seaweed) -> Bucket:
    return Bucket(s3_server)


@pytest.fixture
def setup(tmp_path: Path, context: Context, bucket: Bucket) -> Iterator[Setup]:
    with nothing_left(context):
        yield Setup(tmp_path, context)
    assert bucket.unfinished() == []


def test_both_hold_the_same_bytes(setup: Setup, bucket: Bucket) -> None:
    result = setup.run(shell(DATA), bucket.config(), setup.local("a"))
    assert (result.outcome, result.error) == (Outcome.STORED, "")
    assert bucket.objects() == setup.files("a") == [KEY, MANIFEST]
    assert bucket.sha256(KEY) == hashlib.sha256((setup.path("a") / KEY).read_bytes()).hexdigest() == result.sha256
    assert all("size" in place.verified for place in result.destinations)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        (f"{DATA}; exit 1", "sh ended with exit status 1"),
        (f"{DATA}; kill -9 $$", "sh was killed by SIGKILL"),
        ("exit 0", "the source gave no data at all"),
    ],
)
def test_a_source_that_was_not_whole_leaves_no_object_and_no_upload(
    setup: Setup, bucket: Bucket, script: str, says: str
) -> None:
    result = setup.run(shell(script), bucket.config(), setup.local("a"))
    assert (result.outcome, result.error) == (Outcome.FAILED, says)
    assert bucket.objects() == setup.files("a") == []


def test_gpg_killed_after_many_parts_leaves_no_object_and_no_upload(setup: Setup, bucket: Bucket) -> None:
    run = setup.start(shell(ENDLESS), bucket.config(), setup.local("a"))
    until(bucket.unfinished)
    os.kill(child_named("gpg"), signal.SIGKILL)
    assert run.result().error == "gpg was killed by SIGKILL"
    assert bucket.objects() == setup.files("a") == []


def test_a_stop_after_many_parts_leaves_no_object_and_no_upload(setup: Setup, bucket: Bucket) -> None:
    run = setup.start(shell(ENDLESS), bucket.config(), setup.local("a"))
    until(bucket.unfinished)
    setup.context.cancel.set(signal.SIGTERM)
    assert run.result().error == "stopped"
    assert bucket.objects() == setup.files("a") == []


@pytest.mark.parametrize("broken", ["s3", "a"])
def test_each_gives_the_other_a_second_chance(setup: Setup, bucket: Bucket, broken: str) -> None:
    places: dict[str, DestinationConfig] = {"s3": bucket.config(), "a": setup.local("a")}
    places[broken] = Faulty(id=broken, inner=places[broken], faults=Faults(write=[None, fail("the cable is out")]))
    result = setup.run(shell(DATA), *places.values())
    assert result.outcome is Outcome.STORED
    copied = {place.destination: place.copied_from for place in result.destinations}
    assert copied == {"s3": "a" if broken == "s3" else "", "a": "s3" if broken == "a" else ""}
    assert bucket.sha256(KEY) == hashlib.sha256((setup.path("a") / KEY).read_bytes()).hexdigest() == result.sha256
