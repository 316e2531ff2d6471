"""What is asked of a host, and how its last word is judged."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from backups.context import Context
from backups.errors import BackupsError, CommandError, SourceError
from backups.sources.folder import Folder
from backups.sources.host_stream import Pace, Request
from backups.sources.host_words import LastWord
from backups.ssm import HostError, Invocation, find_host, is_online
from backups.staging import Cksum
from tests.jobs import example, job_with, problems

HOST = "i-0123456789abcdef0"
REQUEST = Request(PurePosixPath("/srv/data"), HOST, 60, Pace())
SUMS = ["111 20", "222 10"]
GOOD = "tar 0\nparts 2\nbytes 30\n111 20\n222 10\nTotal bytes written: 30 (30B, 1MiB/s)\n"


def folder(**settings: Any) -> dict[str, Any]:
    return example("sources", "folder", **settings)


@pytest.mark.parametrize(
    "host", [HOST, "i-01234567", "mi-0123456789abcdef0", "tag:Name=web 1", "tag:team/role=a=b", "", "tag:a:b=c@d.e"]
)
def test_these_are_hosts(host: str) -> None:
    assert problems(job_with("sources", folder(host=host))) == []


@pytest.mark.parametrize(
    "host",
    [
        *("web1", "i-xyz", "i-0123456789abcdef0\n", "mi-1", "tag:Name", "tag:=x", "tag:Name=", "tag:Name=*"),
        *("tag:Name=a;b", "tag:Name=$(x)", "tag:Name='", "tag:Name={{resolve:env:X}}", "i-01234567,i-76543210"),
    ],
)
def test_these_are_none(host: str) -> None:
    (problem,) = problems(job_with("sources", folder(host=host)))
    assert problem.startswith("sources[0].host")


@pytest.mark.parametrize(
    "id_",
    ["a;touch x", "$(touch x)", "`touch x`", "a\ntouch x", "it's", 'a"', "../up", "a/b", "{{x}}", "-rf", "a|b", "é"],
)
def test_no_id_can_hold_what_a_shell_would_act_on(id_: str) -> None:
    """It is part of the staging area's addresses, and of the command's description."""
    (problem,) = problems(job_with("sources", folder(host=HOST, id=id_)))
    assert problem.startswith("sources[0].id: may hold letters, digits")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"host": HOST, "sudo": True}, "leave 'sudo' out"),
        ({"host": HOST, "path": "relative"}, "absolute and without '..'"),
        ({"host": HOST, "path": "/srv/../etc"}, "absolute and without '..'"),
        ({"stack": "Backups"}, "'stack' belongs to 'host'"),
    ],
)
def test_what_does_not_go_together_is_said(settings: dict[str, Any], says: str) -> None:
    (problem,) = problems(job_with("sources", folder(**settings)))
    assert says in problem


def test_on_one_machine_a_host_needs_a_stack(context: Context) -> None:
    source = Folder.model_validate({"id": "a", "type": "folder", "path": "/etc", "host": HOST})
    with pytest.raises(SourceError, match="through a deployed stack") as error:
        source.open(context)
    assert "'stack'" in error.value.hint


def test_a_good_last_word() -> None:
    word = LastWord.parse(GOOD, REQUEST)
    assert word.sums == SUMS
    assert word.judge(REQUEST, 30, SUMS) == []


def test_a_warning_of_tar_is_reported() -> None:
    word = LastWord.parse(GOOD.replace("tar 0", "tar 1").replace("Total", "tar: ./a: file changed\nTotal"), REQUEST)
    assert word.judge(REQUEST, 30, SUMS) == ["/srv/data: tar: ./a: file changed"]


@pytest.mark.parametrize("status", [2, 64, 143])
def test_any_other_status_of_tar_is_an_error(status: int) -> None:
    with pytest.raises(CommandError, match=f"/srv/data on {HOST}: tar ") as error:
        LastWord.parse(GOOD.replace("tar 0", f"tar {status}"), REQUEST).judge(REQUEST, 30, SUMS)
    assert error.value.status == status


@pytest.mark.parametrize(
    "text",
    [
        *("", "tar 0", "tar 0\nparts 2\nbytes 30\n", "tar 0\nparts 2\nbytes 30\n111 20\n", "tar x\nparts 0\nbytes 0\n"),
        *(GOOD.replace("bytes 30", "bytes 31"), GOOD.replace("parts 2", "parts 9"), GOOD.replace("111 20", "111")),
        *(GOOD.replace("parts 2", "parts 1"), GOOD.replace("parts 2", "parts -1"), "tar 0\nparts 0\nbytes 0\n"),
    ],
)
def test_a_last_word_that_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(SourceError, match="last word can't be read"):
        LastWord.parse(text, REQUEST)


@pytest.mark.parametrize("size", [0, 29, 31])
def test_other_bytes_than_tar_wrote_are_an_error(size: int) -> None:
    with pytest.raises(SourceError):
        LastWord.parse(GOOD, REQUEST).judge(REQUEST, size, SUMS)


@pytest.mark.parametrize(
    "sums", [[], SUMS[:1], SUMS[::-1], ["112 20", "222 10"], ["111 20", "222 11"], [*SUMS, "333 0"]]
)
def test_other_parts_than_the_host_sent_are_an_error(sums: list[str]) -> None:
    with pytest.raises(SourceError, match=f"{len(sums)} parts arrived, and they are not the 2"):
        LastWord.parse(GOOD, REQUEST).judge(REQUEST, 30, sums)


def test_a_tar_that_did_not_come_to_its_end_is_an_error() -> None:
    with pytest.raises(SourceError, match="did not finish"):
        LastWord.parse(re.sub("Total.*\n", "", GOOD), REQUEST).judge(REQUEST, 30, SUMS)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65_537, 600_000])
def test_the_sum_is_that_of_cksum(size: int, tmp_path: Path) -> None:
    data = os.urandom(size)
    done = subprocess.run(["cksum"], input=data, capture_output=True, check=True)
    sum_ = Cksum()
    for start in range(0, size, 1000):
        sum_.add(data[start : start + 1000])
    assert f"{sum_.value} {sum_.size}\n" == done.stdout.decode()


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ("DeliveryTimedOut", "the agent did not take the command"),
        ("Undeliverable", "could not be delivered"),
        ("ExecutionTimedOut", "took longer than allowed"),
        ("Cancelled", "was cancelled"),
        ("Failed", "ended with exit status 9: no; way"),
    ],
)
def test_how_a_command_ended_is_said_in_words(status: str, says: str) -> None:
    assert says in Invocation(status, 9, "no\nway\n", ended=True).complaint
    assert Invocation("Success", 0, "noise", ended=True).complaint == ""


def answering(*nodes: dict[str, str], **error: Any) -> tuple[Any, Stubber]:
    """Systems Manager as boto3's own model of it has it."""
    client = boto3.client("ssm", region_name="eu-central-1", aws_access_key_id="a", aws_secret_access_key="b")
    stubber = Stubber(client)
    if error:
        stubber.add_client_error("describe_instance_information", **error)
    else:
        stubber.add_response("describe_instance_information", {"InstanceInformationList": list(nodes)})
    stubber.activate()
    return client, stubber


def test_an_agent_that_is_not_online_is_not_asked() -> None:
    client, _ = answering({"InstanceId": HOST, "PingStatus": "ConnectionLost"})
    with pytest.raises(HostError, match="ping status ConnectionLost"):
        find_host(client, HOST)
    client, _ = answering({"InstanceId": HOST, "PingStatus": "Inactive"})
    assert not is_online(client, HOST)


def test_a_refusal_of_aws_names_the_right_page() -> None:
    client, _ = answering(service_error_code="AccessDeniedException", service_message="not authorized")
    with pytest.raises(BackupsError, match="not authorized") as error:
        find_host(client, HOST)
    assert "Hosts" in error.value.hint
