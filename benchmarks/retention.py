"""Retention among a million objects, in the deployed stack: ``python -m benchmarks.retention``.

The stack is the real template in the embedded cloud; what is measured is the process of its Retention function, which
lists, decides and removes by its own role. It is held against listing the same prefix with boto3's paginator, in turn
with it. Then nearly everything goes, in many turns through the state machine; that is held against listing the same
objects in another bucket and deleting them with boto3, in the same batches. Takes about half an hour and 4 GiB.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import platform
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from backups.cloud.orchestration import ObjectPointer, RunInput
from backups.cloud.run_retention import Place, Turn
from backups.cloud.state import State
from backups.job import Job, parse_job
from backups.planning import plan
from backups.records import Outcome, Plan, Result, StoredAt
from benchmarks.cases import machine, workplace
from benchmarks.table import write_table
from infra.app import build
from local_cloud.client import LocalCloud
from local_cloud.sandbox import descendants

MOST_MIB = 250
MOST_TIMES = 2.0
_JOB, _HOST, _BUCKET, _PREFIX = "nightly", "web1", "copies", "team-a/"
_PLAIN = "plain"
"""A bucket with the same objects."""
_BATCH = 1000
_NIGHT_TURNS = 5
"""The second kind of night lists everything in so many turns."""

Keep = dict[str, int]
"""What a destination says of retention."""
_COPY_BYTES, _MANIFEST_BYTES = 1000, 700
_ACCOUNT, _REGION = "123456789012", "us-east-1"


@dataclass(frozen=True)
class Size:
    """What the bucket holds: a copy with its manifest of each source on each of so many days."""

    days: int
    sources: int

    @property
    def objects(self) -> int:
        """Copies and manifests."""
        return 2 * self.days * self.sources


@dataclass
class Stack:
    """The deployed stack, and what the next run is called by."""

    cloud: LocalCloud
    outputs: dict[str, str]
    size: Size
    now: dt.datetime
    runs: int = field(default=0)

    def client(self, service: str, **login: str) -> Any:
        """One that waits for as long as a function may work; the cloud's owner's, unless another login is given."""
        names = ("aws_access_key_id", "aws_secret_access_key")
        login = login or {name: self.cloud.environment()[name.upper()] for name in names}
        patient = Config(s3={"addressing_style": "path"}, read_timeout=1000, retries={"max_attempts": 0})
        return boto3.Session(region_name=_REGION).client(  # type: ignore[call-overload]
            service, endpoint_url=self.cloud.endpoint, config=patient, **login
        )

    @property
    def state(self) -> State:
        """Its records."""
        return State(self.outputs["StateBucket"], self.client("s3"))

    def user(self) -> Any:
        """A client whose every deletion the server judges by a policy, as it judges the function's."""
        iam = self.client("iam")
        iam.create_user(UserName="plain")
        statements = [
            {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{_PLAIN}"},
            {"Effect": "Allow", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{_PLAIN}/{_PREFIX}{_HOST}/*"},
        ]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_user_policy(UserName="plain", PolicyName="may", PolicyDocument=document)
        key = iam.create_access_key(UserName="plain")["AccessKey"]
        return self.client("s3", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"])

    def stored(self, keep: Keep) -> tuple[Plan, RunInput]:
        """The records of a run that has stored a copy of every source, as its workers would have left them."""
        self.runs += 1
        run = f"{self.now:%Y%m%dT%H%M}{self.runs:02}Z"
        content = json.dumps(job_file(self.size, keep)).encode()
        job = parse_job(content, name=_JOB, where=_JOB)
        planned = plan(job, run=run, now=self.now)
        pointer = ObjectPointer(bucket=self.state.bucket, key=self.state.put_job_file(_JOB, run, content))
        items = ObjectPointer(bucket=self.state.bucket, key=self.state.put_plan(planned, []))
        state = self.state
        for item in planned.items:
            state.put_result(_result(job, planned, item.source, item.key))
        return planned, RunInput(
            verdict="run", job=_JOB, run=run, job_file=pointer, items=items, destinations=("main",)
        )

    def memory(self) -> float:
        """MiB that the processes of the Retention function had at their peak."""
        return max(_high_water(pid) for pid in descendants(self.cloud.pid) if _is_retention(pid))


@contextmanager
def stack(work: Path, size: Size, now: dt.datetime) -> Iterator[Stack]:
    """The real template, deployed, with a bucket that holds so much."""
    (work / "jobs").mkdir()
    (work / "jobs" / f"{_JOB}.json").write_text(json.dumps(job_file(size, {"retention_days": size.days})))
    context = {
        **{"jobs": str(work / "jobs"), "account": _ACCOUNT, "region": _REGION, "architecture": "x86_64"},
        "bundle_python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "bundle_platform": f"{platform.machine()}-manylinux_2_28",
    }
    build(context, outdir=str(work / "assembly")).synth()
    objects = work / "objects.tsv"
    with objects.open("w") as lines:
        lines.writelines(_lines(size, now.date()))
    program = {"argv": ["false"]}  # no worker runs
    with LocalCloud(
        programs={"container-assets": program}, state_dir=work / "cloud", region=_REGION, objects=objects
    ) as cloud:
        made = Stack(cloud, cloud.deploy(work / "assembly", "Backups"), size, now)
        made.client("s3").create_bucket(Bucket=_BUCKET)
        yield made


def job_file(size: Size, keep: Keep) -> dict[str, Any]:
    """A job with so many sources."""
    sources = [{"id": f"db{n:04}", "type": "folder", "path": f"/srv/{n:04}"} for n in range(size.sources)]
    place = {"id": "main", "type": "s3", "bucket": _BUCKET, "prefix": _PREFIX, **keep}
    passphrase = "{{resolve:secretsmanager:nightly:SecretString:passphrase}}"
    job = {"hostname": _HOST, "schedule": "30 2 * * *", "compression": "zstd", "encryption": {"passphrase": passphrase}}
    return {**job, "sources": sources, "destinations": [place]}


def _lines(size: Size, today: dt.date) -> Iterator[str]:
    for age in reversed(range(size.days)):
        for number in range(size.sources):
            key = f"{_PREFIX}{_HOST}/{today - dt.timedelta(days=age)}/db{number:04}.tar.zst.gpg"
            for bucket in (_BUCKET, _PLAIN):
                yield f"{bucket}\t{key}\t{_COPY_BYTES}\n{bucket}\t{key}.manifest.json\t{_MANIFEST_BYTES}\n"


def _result(job: Job, planned: Plan, source: str, key: str) -> Result:
    at = StoredAt(destination="main", type="s3", status="stored", size=_COPY_BYTES, verified="size and crc32", key=key)
    return Result(
        job=_JOB,
        run=planned.run,
        hostname=job.hostname,
        source=source,
        name=source,
        type="folder",
        label="Folder",
        outcome=Outcome.STORED,
        started=planned.planned,
        finished=planned.planned,
        size=_COPY_BYTES,
        key=key,
        destinations=(at,),
    )


def list_alone(made: Stack) -> tuple[int, float]:
    """Objects under the prefix, and the seconds to list them with boto3's paginator."""
    client, found = made.client("s3"), 0
    began = time.perf_counter()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=_BUCKET, Prefix=f"{_PREFIX}{_HOST}/"):
        found += len(page.get("Contents", []))
    return found, time.perf_counter() - began


def delete_alone(made: Stack) -> tuple[int, int, float, float]:
    """Objects, copies that went, and the seconds of listing and of deleting all but two days' with boto3.

    In the same batches as ours: a thousand copies, then their manifests.
    """
    made.client("s3").create_bucket(Bucket=_PLAIN)
    client, began = made.user(), time.perf_counter()
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=_PLAIN, Prefix=f"{_PREFIX}{_HOST}/")
    keys = [found["Key"] for page in pages for found in page["Contents"]]
    listed = time.perf_counter() - began
    going = [key for key in keys if not key.endswith(".json")][: -2 * made.size.sources]
    began = time.perf_counter()
    for start in range(0, len(going), _BATCH):
        copies = going[start : start + _BATCH]
        for names in (copies, [f"{name}.manifest.json" for name in copies]):
            objects = [{"Key": name} for name in names]
            answer = client.delete_objects(Bucket=_PLAIN, Delete={"Objects": objects, "Quiet": True})
            assert not answer.get("Errors"), answer["Errors"][0]
    return len(keys), len(going), listed, time.perf_counter() - began


def limit_turns(made: Stack, objects: int) -> None:
    """Let the function leave the rest to another turn after so many objects."""
    functions = made.client("lambda")
    variables = functions.get_function_configuration(FunctionName=_function(made))["Environment"]["Variables"]
    changed = {**variables, "BACKUPS_RETENTION_OBJECTS": str(objects)}
    functions.update_function_configuration(FunctionName=_function(made), Environment={"Variables": changed})


def night(made: Stack, keep: Keep) -> tuple[int, int, float]:
    """Copies that went, turns, and the seconds of the function: one night's retention."""
    _, given = made.stored(keep)
    assert given.job_file is not None
    place = Place(job=_JOB, run=given.run, destination="main", job_file=given.job_file)
    functions, began, turn = made.client("lambda"), time.perf_counter(), Turn()
    while not turn.done:
        event = place.model_copy(update={"turn": turn}).model_dump_json()
        answer = functions.invoke(FunctionName=_function(made), Payload=event.encode())
        said = json.loads(answer["Payload"].read())
        turn = Turn.model_validate(said)
    assert not turn.failed
    return turn.removed, turn.number + 1, time.perf_counter() - began


def in_turns(made: Stack, keep: Keep, objects: int) -> tuple[int, int, float]:
    """Copies that went, turns, and the seconds of an execution of the state machine, so many objects in each turn."""
    machine_ = made.client("stepfunctions")
    limit_turns(made, objects)
    planned, given = made.stored(keep)
    began = time.perf_counter()
    execution = machine_.start_execution(
        stateMachineArn=made.outputs["StateMachineArn"], input=given.model_dump_json()
    )["executionArn"]
    while (ended := machine_.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(1)
    seconds = time.perf_counter() - began
    assert ended["status"] == "SUCCEEDED", ended
    turns = 1
    while made.state.retention(_JOB, planned.run, "main", turns):
        turns += 1
    records = made.state.pruned(_JOB, planned.run)
    assert not [record for record in records if record.error or record.refused]
    return sum(record.removed_count for record in records), turns, seconds


def _function(made: Stack) -> str:
    names = [each["FunctionName"] for each in made.client("lambda").list_functions()["Functions"]]
    (name,) = [name for name in names if "retention" in name.lower()]
    return str(name)


def _is_retention(pid: int) -> bool:
    try:
        return b"functions.retention.handler" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _high_water(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def nights(made: Stack, rounds: int) -> tuple[list[str], bool]:
    """Rows of the table for ordinary nights, and whether they are within the limits."""
    alone, ours, gone, listed = [], [], [], []
    for number in range(rounds):
        found, seconds = list_alone(made)
        alone.append(seconds)
        listed.append(found)
        removed, _, seconds = night(made, {"retention_days": made.size.days - 2 - number})
        ours.append(seconds)
        gone.append(removed)
        print(f"{found} objects: listed in {alone[-1]:.1f} s, retention in {ours[-1]:.1f} s", flush=True)
    assert gone == [made.size.sources] * rounds, gone
    peak, times = made.memory(), statistics.median(ours) / statistics.median(alone)
    limit_turns(made, made.size.objects // _NIGHT_TURNS)
    removed, turns, counted = night(made, {"retention_copies": made.size.days - rounds - 1})
    assert removed == made.size.sources, removed
    peak_counted, times_counted = made.memory(), counted / statistics.median(alone)
    rows = [
        _row("listing alone, boto3", listed[0], "", "", statistics.median(alone), "", ""),
        _row("a night: one day goes", listed[0], gone[0], 1, statistics.median(ours), f"{times:.2f}", f"{peak:.0f}"),
        _row(
            *("a night by number: one day goes, all others count", listed[-1] - 2 * gone[-1], removed, turns),
            *(counted, f"{times_counted:.2f}", f"{peak_counted:.0f}"),
        ),
    ]
    return rows, max(times, times_counted) <= MOST_TIMES and peak_counted <= MOST_MIB


def nearly_all(made: Stack, before: int, turn_objects: int) -> tuple[list[str], bool]:
    """Rows of the table for many turns through the state machine, and whether they are within the limits.

    ``before`` is how many objects the nights have left.
    """
    listed, going, listing, deleting = delete_alone(made)
    rows = [
        _row("listing alone, boto3", listed, "", "", listing, "", ""),
        _row("listing and deleting alone, boto3", listed, going, "", listing + deleting, "", ""),
    ]
    removed, turns, seconds = in_turns(made, {"retention_days": 1}, turn_objects)
    left, _ = list_alone(made)
    assert left == before - 2 * removed == 4 * made.size.sources, (before, removed, left)
    peak, times = made.memory(), seconds / (listing * before / listed + deleting * removed / going)
    rows.append(_row("all but two days go", before, removed, turns, seconds, f"{times:.2f}", f"{peak:.0f}"))
    return rows, times <= MOST_TIMES and peak <= MOST_MIB


def _row(*cells: object) -> str:
    text = " | ".join(f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells)
    print(text, flush=True)
    return f"| {text} |"


def main() -> int:
    """1 when a limit is exceeded; the table is written all the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=1_000_000, help="copies and manifests (default: 1,000,000)")
    parser.add_argument("--sources", type=int, default=1000, help="of the job (default: 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="times that a night is measured (default: 3)")
    parser.add_argument("--turn", type=int, default=250_000, help="objects of a turn in the last case; 0: leave it out")
    parser.add_argument("--no-write", action="store_true", help="leave benchmarks/README.md as it is")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="where to work (default: /var/tmp)")
    arguments = parser.parse_args()
    size = Size(days=arguments.objects // 2 // arguments.sources, sources=arguments.sources)
    with workplace(arguments.directory) as work, stack(work, size, dt.datetime.now(dt.UTC)) as made:
        rows, good = nights(made, arguments.rounds)
        if not arguments.no_write:  # now, since what follows takes longer
            write(rows, arguments, size)
        if arguments.turn:
            more, bounded = nearly_all(made, size.objects - 2 * size.sources * (arguments.rounds + 1), arguments.turn)
            rows, good = rows + more, good and bounded
            if not arguments.no_write:
                write(rows, arguments, size)
    return 0 if good else 1


def write(rows: list[str], arguments: argparse.Namespace, size: Size) -> None:
    """Put the table into the README."""
    head = "| case | objects | copies that go | turns | s | against boto3 alone | peak MiB of the function |"
    about = f"Measured {machine()}; rounds of a night: {arguments.rounds}; {size.sources} sources."
    write_table("retention", [about, "", head, "|---|---|---|---|---|---|---|", *rows])


if __name__ == "__main__":
    sys.exit(main())
