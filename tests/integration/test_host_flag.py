"""Flag files on hosts and in buckets: the document's script really runs, the bucket is the embedded cloud's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backups.context import Context
from backups.errors import NotificationError
from backups.notifications.flagfile import FlagFile
from tests.servers.hosts import Hosts, hosts_of
from tests.servers.local_cloud import Sample
from tests.unit.reports import FAILURE, SUCCESS


@pytest.fixture(scope="module")
def hosts(sample: Sample) -> Iterator[Hosts]:
    with hosts_of(sample.cloud) as running:
        yield running


@pytest.fixture
def stack(hosts: Hosts, context: Context) -> Context:
    """What a function of the stack knows."""
    return replace(context, flag_document=hosts.flag_document)


def written(hosts: Hosts, stack: Context, name: str, **changes: Any) -> Path:
    """Has a host write a flag file of this name into a directory of its own."""
    host = hosts.host()
    directory = host.directory / "flags"
    directory.mkdir()
    channel = FlagFile.model_validate({"host": host.id, "filename": str(directory / name), **changes})
    channel.send(SUCCESS, stack)
    return directory / name


@pytest.mark.parametrize("name", ["data.ok", 'it\'s $(touch pwned) `x` "y" é\nz .ok', "-rf", ".hidden"])
def test_a_host_writes_the_flag_file_whatever_its_name(hosts: Hosts, stack: Context, name: str) -> None:
    path = written(hosts, stack, name)
    assert path.read_bytes() == b"OK"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [entry.name for entry in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("before", [b"", b"OK", b"OK\n"])
def test_an_old_flag_file_gets_a_new_age_also_behind_a_link(hosts: Hosts, stack: Context, before: bytes) -> None:
    path = written(hosts, stack, "data.ok")
    link = path.with_name("link.ok")
    link.symlink_to("data.ok")
    for target in (path, link):
        path.write_bytes(before)
        os.utime(path, (1, 1))
        host = path.parent.parent.name
        FlagFile.model_validate({"host": host, "filename": str(target)}).send(SUCCESS, stack)
        assert (path.read_bytes(), link.is_symlink()) == (b"OK", True)
        assert path.stat().st_mtime > 1
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["data.ok", "link.ok"]


def test_a_failed_run_asks_nothing_of_a_host(hosts: Hosts, stack: Context) -> None:
    host = hosts.host()
    FlagFile.model_validate({"host": host.id, "filename": str(host.directory / "x")}).send(FAILURE, stack)
    assert list(host.commands.iterdir()) == []


@pytest.mark.parametrize(
    ("there", "said"),
    [
        (b"root:x:0:0:root:/root:/bin/sh\n", "is no flag file: it holds more than the word OK"),
        (b"NO", "is no flag file: it holds something else"),
        ("directory", "is no file"),
        ("missing", "the directory of .* does not exist"),
    ],
)
def test_nothing_but_a_flag_file_is_replaced(hosts: Hosts, stack: Context, there: bytes | str, said: str) -> None:
    host = hosts.host()
    path = host.directory / "passwd"
    if isinstance(there, bytes):
        path.write_bytes(there)
    elif there == "directory":
        path.mkdir()
    else:
        path = host.directory / "nowhere" / "passwd"
    with pytest.raises(NotificationError, match=said) as caught:
        FlagFile.model_validate({"host": host.id, "filename": str(path)}).send(SUCCESS, stack)
    assert caught.value.message.startswith(f"flag file {path} on {host.id}: ")
    assert caught.value.permanent and caught.value.hint
    if isinstance(there, bytes):
        assert path.read_bytes() == there


def test_a_host_that_is_not_there_is_named_with_what_it_needs(hosts: Hosts, stack: Context) -> None:
    gone = hosts.host(ping="ConnectionLost")
    for host, said in ((gone.id, "does not answer"), ("tag:Role=nobody", "is no host")):
        with pytest.raises(NotificationError, match=said) as caught:
            FlagFile.model_validate({"host": host, "filename": "/x"}).send(SUCCESS, stack)
        assert not caught.value.permanent  # it may come back
        assert "docs/operations.md, Hosts" in caught.value.hint


def test_one_machine_reaches_no_host_and_says_so(context: Context) -> None:
    with pytest.raises(NotificationError, match="only a deployed stack reaches hosts") as caught:
        FlagFile.model_validate({"host": "tag:Role=web", "filename": "/x"}).send(SUCCESS, context)
    assert caught.value.permanent


def test_a_bucket_gets_the_flag_file_under_its_key(hosts: Hosts, context: Context) -> None:
    s3 = hosts.cloud.client("s3")
    channel = FlagFile.model_validate({"bucket": hosts.bucket, "flagfile": "/backups/gitdata.ok"})
    channel.send(SUCCESS, context)
    assert s3.get_object(Bucket=hosts.bucket, Key="backups/gitdata.ok")["Body"].read() == b"OK"
    with pytest.raises(NotificationError, match="flag file s3://no-such-bucket-here/x: S3 refused it: NoSuchBucket"):
        FlagFile.model_validate({"bucket": "no-such-bucket-here", "filename": "x"}).send(SUCCESS, context)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"filename": "/x", "host": "tag:a=b", "bucket": "flags"}, "either 'host' or 'bucket'"),
        ({"filename": "x", "host": "tag:a=b"}, "absolute path"),
        ({"filename": "/a/../x", "host": "tag:a=b"}, "absolute path"),
        ({"filename": "/", "bucket": "flags"}, "must be a key"),
        ({"filename": "/x", "region": "eu-west-1"}, "'region' is that of a 'bucket'"),
        ({"filename": "/x", "host": "web1"}, "host"),
    ],
)
def test_what_can_t_be_meant_is_refused(given: dict[str, str], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        FlagFile.model_validate(given)


def test_places_tell_two_flag_files_apart_and_old_ids_stay() -> None:
    places: list[dict[str, str]] = [{}, {"host": "tag:Role=web"}, {"bucket": "flags"}]
    ids = [FlagFile.model_validate({"filename": "/backups/x.ok", **place}).id for place in places]
    assert len(set(ids)) == 3
    assert ids[0].startswith("flagfile-backups-x.ok")
