"""A folder on a host: the document's script, tar and curl really run, and every part goes through the staging area."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from backups import staging
from backups.context import Context
from backups.errors import BackupsError, CommandError, SourceError, StoppedError
from backups.sources import host_stream
from backups.sources.folder import Folder
from backups.ssm import HostError
from infra.host_documents import folder_document
from tests.contract.streams import read_whole
from tests.servers.faulty_proxy import FOREVER, Fault
from tests.servers.hosts import PART, QUICK, WINDOW, Hosts, Job, hosts_of
from tests.servers.local_cloud import Sample, wait_for, written

NASTY = [
    *("with space", 'it\'s "quoted"', "two\nlines", "-leading", "--exclude=a", "g*l[o]b?", "back\\slash&", "ünï☃"),
    *("$(touch pwned)", "`touch pwned`", "'; touch pwned; '", "ends with a newline\n", "{{ folder }}", "%s %d"),
]


@pytest.fixture(scope="module")
def hosts(sample: Sample) -> Iterator[Hosts]:
    with hosts_of(sample.cloud) as running:
        yield running


@pytest.fixture
def job(hosts: Hosts, context: Context) -> Iterator[Job]:
    hosts.proxy.heal()
    yield Job(hosts, context)
    hosts.proxy.heal()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of a few parts, with whatever folders hold."""
    top = tmp_path / "it's a $(touch pwned) folder"
    (top / "tmp").mkdir(parents=True)
    (top / "tmp" / "scratch").write_text("scratch")
    for name in NASTY:
        (top / name).write_text(name)
    (top / "link").symlink_to("./tmp")
    (top / "again").hardlink_to(top / "-leading")
    (top / "random").write_bytes(os.urandom(12 * PART))
    return top


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A folder that fills the window with much left over."""
    top = tmp_path / "big"
    top.mkdir()
    (top / "random").write_bytes(os.urandom(9 * WINDOW * PART))
    return top


def directly(path: Path, context: Context, **settings: object) -> tuple[bytes, list[str]]:
    with Folder.model_validate({"type": "folder", "path": str(path), **settings}).open(context) as stream:
        return read_whole(stream)


def fails(job: Job, path: Path, **settings: object) -> BackupsError:
    """The error of reading it, after which nothing may be left anywhere."""
    with pytest.raises(BackupsError) as error, job.open(path, **settings) as stream:  # type: ignore[arg-type]
        read_whole(stream)
    job.is_over()
    return error.value


@pytest.mark.parametrize(
    "excludes", [(), ("tmp", "*~", "ends with a newline\n", 'it\'s "quoted"', "/elsewhere"), ("/elsewhere", *NASTY)]
)
def test_it_is_the_archive_that_the_folder_source_makes_there(
    tree: Path, job: Job, context: Context, excludes: tuple[str, ...]
) -> None:
    with job.open(tree, excludes=[*excludes, *([f"{tree}/link"] if excludes else [])]) as stream:
        arrived = read_whole(stream)
    local = directly(tree, context, excludes=[*excludes, *([f"{tree}/link"] if excludes else [])])
    assert arrived == local
    assert len(arrived[0]) > WINDOW * PART  # more than may wait at once
    assert [warning.count("/elsewhere") for warning in arrived[1]] == [1] * bool(excludes)
    job.is_over()
    assert not list(tree.parent.rglob("pwned"))
    assert not list(job.host.directory.rglob("pwned"))


@pytest.mark.parametrize("name", ["-leading", "'; touch pwned; '$(touch pwned)`touch pwned`{{ folder }}\n"])
def test_any_file_can_be_the_path(name: str, tmp_path: Path, job: Job, context: Context) -> None:
    (tmp_path / name).write_text("alone")
    with job.open(tmp_path / name) as stream:
        assert read_whole(stream) == directly(tmp_path / name, context)
    assert not list(job.host.directory.rglob("pwned"))


def test_the_host_waits_until_something_was_read_and_shows_nothing_secret(big: Path, job: Job) -> None:
    with job.open(big) as stream:
        job.window_is_full()
        assert 0 < len(job.staged("part-")) <= WINDOW
        shown = job.shown("cmdline") + job.shown("environ")
        data, _ = read_whole(stream)
    assert len(data) > 9 * WINDOW * PART
    assert b"tar\0--create" in shown
    assert b"X-Amz" not in shown
    assert b"AWS_" not in shown
    job.is_over()


def test_a_file_that_changed_is_a_warning(big: Path, job: Job) -> None:
    with job.open(big) as stream:
        job.window_is_full()
        with (big / "random").open("ab") as file:
            file.write(b"more")
        _, warnings = read_whole(stream)
    assert len(warnings) == 1
    assert "file changed as we read it" in warnings[0]
    job.is_over()


def test_a_tar_that_dies_is_an_error(big: Path, job: Job) -> None:
    with pytest.raises(BackupsError) as error, job.open(big) as stream:
        job.window_is_full()
        job.kill("tar")
        read_whole(stream)
    assert f"{big} on {job.host.id}: tar was killed" in str(error.value)
    job.is_over()


def test_what_tar_can_not_read_is_an_error_with_its_name(job: Job) -> None:
    """Status 2 of the real tar: nobody, not even root, may read this one."""
    error = fails(job, Path("/sys/bus/platform/drivers_probe"))
    assert isinstance(error, CommandError) and error.status == 2
    assert f"drivers_probe on {job.host.id}: tar ended with exit status 2: tar: ./drivers_probe: " in error.message


def test_a_path_that_is_not_there(tmp_path: Path, job: Job) -> None:
    error = fails(job, tmp_path / "two\nlines; none")
    assert isinstance(error, SourceError)
    assert error.message == f"{tmp_path}/two\\nlines; none on {job.host.id} does not exist"
    assert "mount" in error.hint


def test_a_path_that_is_neither_folder_nor_file(tmp_path: Path, job: Job) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "is neither a folder nor a file" in fails(job, tmp_path / "pipe").message


@pytest.mark.parametrize("ping", ["ConnectionLost", "Inactive"])
def test_an_agent_that_is_not_there_is_asked_for_nothing(ping: str, tmp_path: Path, job: Job) -> None:
    job.says(ping)
    with pytest.raises(HostError, match=f"the SSM agent on {job.host.id} does not answer") as error:
        job.open(tmp_path)
    assert "Hosts" in error.value.hint
    assert job.left() == []


def test_a_host_that_nobody_manages(tmp_path: Path, job: Job) -> None:
    with pytest.raises(HostError, match="is no host that Systems Manager manages"):
        job.open(tmp_path, host="i-00000000000000000")
    assert job.staged() == []


def test_a_tag_finds_the_one_host_that_is_online(tree: Path, job: Job, hosts: Hosts) -> None:
    role = {"Role": job.host.id}
    hosts.cloud.host(job.host.id, tags=role)
    hosts.host(tags=role, ping="ConnectionLost")  # the one that it replaces
    with job.open(tree, host=f"tag:Role={job.host.id}") as stream:
        read_whole(stream)
    other = hosts.host(tags=role)
    with pytest.raises(HostError, match="names several hosts") as error:
        job.open(tree, host=f"tag:Role={job.host.id}")
    assert other.id in error.value.message
    job.is_over()


def test_a_host_that_is_lost_midway(big: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "CANCEL_SECONDS", 1)  # nobody carries the cancelling out
    pace = replace(QUICK, ping=0.2)
    with pytest.raises(SourceError, match="the SSM agent no longer answers") as error, job.open(big, pace) as stream:
        job.window_is_full()
        job.says("ConnectionLost")
        job.kill()
        read_whole(stream)
    assert "is the host up" in error.value.hint
    assert job.staged() == []


def test_a_script_that_is_killed_is_an_error_and_the_next_one_tidies_up_after_it(big: Path, job: Job) -> None:
    with pytest.raises(SourceError, match="ended with exit status 137"), job.open(big) as stream:
        job.window_is_full()
        job.kill()
        read_whole(stream)
    assert job.staged() == []
    assert job.left() != []
    with job.open(big) as stream:
        read_whole(stream)
    job.is_over()


@pytest.mark.parametrize(
    "fault",
    [
        Fault("PUT .*/part-00000002", status=503),
        Fault("PUT .*/part-00000003", cut_request=1000),
        Fault("PUT .*/part-00000003", cut_answer=0),
        Fault("PUT .*/part-end", status=500),
        Fault("GET .*/part-00000002", cut_answer=2000),
        Fault("GET .*/lease", status=500),
    ],
    ids=lambda fault: f"{fault.pattern.replace('.*/', '')} {fault.status or 'cut'}",
)
def test_what_fails_once_is_tried_again(fault: Fault, tree: Path, job: Job, context: Context) -> None:
    job.hosts.proxy.add(fault)
    with job.open(tree) as stream:
        assert read_whole(stream) == directly(tree, context)
    assert fault.hits >= 1
    job.is_over()


def test_a_part_is_read_in_pieces_and_one_that_breaks_off_is_read_again(
    tree: Path, job: Job, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_stream, "FETCH_BYTES", PART // 3 + 1)  # so that the last piece is a shorter one
    fault = job.hosts.proxy.add(Fault("GET .*/part-00000002", times=2, cut_answer=20_000))
    with job.open(tree) as stream:
        assert read_whole(stream) == directly(tree, context)
    assert fault.hits == 2
    read = [
        line for line in job.hosts.proxy.seen if job.place.prefix in line and "GET" in line and "part-00000002" in line
    ]
    assert len(read) == 3 + fault.hits
    job.is_over()


def test_a_part_that_can_t_be_sent_at_all(tree: Path, job: Job) -> None:
    job.hosts.proxy.add(Fault("PUT .*/part-00000003", times=FOREVER, status=503))
    error = fails(job, tree)
    assert "a part could not be sent to the staging area: curl: (22) The requested URL returned error: 503" in str(
        error
    )
    assert "proxy and firewall" in error.hint


def test_a_last_word_that_can_t_be_sent(tree: Path, job: Job) -> None:
    job.hosts.proxy.add(Fault("PUT .*/part-end", times=FOREVER, status=403))
    assert "a part could not be sent" in fails(job, tree).message


def test_a_part_that_was_changed_on_its_way_is_noticed(tree: Path, job: Job) -> None:
    job.hosts.proxy.add(Fault("PUT .*/part-00000002", corrupt=1234))
    assert "are not the" in fails(job, tree).message
    assert job.outcome() == "Success"  # a host that has said everything is left to tidy up


def test_a_part_that_is_lost_is_noticed(big: Path, job: Job) -> None:
    """Somebody removes one that the host has sent: everything after it must not be taken for the rest."""
    with pytest.raises(SourceError, match="was lost in the staging area"), job.open(big) as stream:
        job.window_is_full()
        s3 = job.hosts.cloud.client("s3")
        found = s3.list_objects_v2(Bucket=job.place.bucket, Prefix=job.place.prefix)["Contents"]
        parts = sorted(item["Key"] for item in found if "/part-" in item["Key"])
        s3.delete_object(Bucket=job.place.bucket, Key=parts[3])  # those before are being fetched
        read_whole(stream)
    job.is_over(killed=True)


def test_longer_than_allowed(big: Path, job: Job) -> None:
    with pytest.raises(SourceError, match="took longer than 2 s") as error, job.open(big, time_limit=2) as stream:
        wait_for(job.processes, "the host did not begin")
        wait_for(lambda: not job.processes(), "the agent did not end it")
        read_whole(stream)
    assert "time_limit" in error.value.hint
    assert job.staged() == []


def test_stopping_ends_it_everywhere(big: Path, job: Job) -> None:
    with pytest.raises(StoppedError), job.open(big) as stream:
        job.window_is_full()
        assert job.processes()
        stream.kill()
        read_whole(stream)
    job.is_over(killed=True)


_DIES = """
import os, signal, sys
from pathlib import Path
from backups.context import Context
from backups.staging import Place
from tests.servers.hosts import QUICK
from backups.sources.folder import Folder
from backups.sources.host_folder import open_on_host
from dataclasses import replace
path, host, bucket, prefix, document, report, silence = sys.argv[1:]
context = Context(tmpdir=Path(report).parent, staging=Place(bucket, prefix, document))
folder = Folder.model_validate({"id": "data", "type": "folder", "path": path, "host": host})
with open_on_host(folder, context, pace=replace(QUICK, silence=int(silence))) as stream:
    Path(report).write_text("open")
    signal.pause()
"""


def dies(job: Job, path: Path, tmp_path: Path, silence: int) -> None:
    """A worker that is killed in the middle."""
    report = tmp_path / "report"
    place = job.place
    argv = [str(path), job.host.id, place.bucket, place.prefix, place.document, str(report), str(silence)]
    with subprocess.Popen([sys.executable, "-c", _DIES, *argv]) as worker:
        wait_for(lambda: written(report), "the worker did not open it")
        job.window_is_full()
        worker.kill()


def test_of_a_worker_that_died_nothing_is_left_once_it_is_settled(big: Path, job: Job, tmp_path: Path) -> None:
    dies(job, big, tmp_path, silence=600)
    assert job.processes()
    assert staging.abandon(job.place.bucket, job.place.prefix) > 2
    job.is_over(killed=True)
    assert staging.abandon(job.place.bucket, job.place.prefix) == 0


def test_a_host_gives_up_when_nobody_asks_any_more(big: Path, job: Job, tmp_path: Path) -> None:
    dies(job, big, tmp_path, silence=2)
    wait_for(lambda: not job.processes(), "the host did not give up")
    assert list((job.host.directory / "tmp").iterdir()) == []
    [command] = [path for path in job.host.commands.iterdir() if path.is_dir()]
    assert "whoever asked for the folder has said nothing for 2 seconds" in (command / "stderr").read_text()
    staging.abandon(job.place.bucket, job.place.prefix)


def test_a_program_that_is_missing_is_named(tree: Path, job: Job, tmp_path: Path) -> None:
    """The script itself, on a host that has a shell and nothing else."""
    [body] = [step["inputs"]["runCommand"] for step in folder_document()["mainSteps"]]
    script = tmp_path / "script.sh"
    script.write_text("\n".join(line for line in body if not line.startswith("PATH=")))
    done = subprocess.run(["/bin/sh", str(script)], env={"PATH": str(tmp_path)}, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (5, b"tar is not installed\n")
