"""Each kind of destination against the quickest plain client of its kind, on the same server in the same run.

The servers need this machine's processors and disk. Both store the same random bytes, which are in the cache; ours also
compares what arrived with what was sent. The start of a Python interpreter is left out, but for ``aws``.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shutil
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.buckets import KEYS, NAMES, s3_server
from benchmarks.cases import Case, in_turn
from benchmarks.measure import Measured, run, shell
from tests.servers import gcs, samba
from tests.servers.rclone_serve import PROGRAM as RCLONE
from tests.servers.rclone_serve import REMOTE, rclone_serve

_BUCKET = "bench-files"
_HEAD = (
    "| kind | MiB | ours, MiB/s | best plain client, MiB/s | ours to the best | others, MiB/s | our peak MiB |",
    "|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True)
class Kind:
    """A destination of ours as a job file has it, and plain clients of its kind by name."""

    name: str
    ours: dict[str, Any]
    plain: dict[str, Case]


class Table:
    """One file, and what was measured, for the README."""

    def __init__(self, work: Path, mib: int, rounds: int) -> None:
        self.work = work
        self.mib = mib
        self.rounds = rounds
        self.data = work / "data"
        self.lines: list[str] = []
        with self.data.open("wb") as file:
            for _ in range(mib):
                file.write(secrets.token_bytes(1 << 20))

    def ours(self, destination: dict[str, Any]) -> Measured:
        """Store the file at it."""
        env = {"BENCH_PEAK_FILE": str(self.work / "peak.json")}
        return run(
            [sys.executable, "-m", "benchmarks.store", str(self.data)],
            env=env,
            stdin=json.dumps(destination),
            told=True,
        )

    def compare(self, kind: Kind) -> None:
        """Ours against each plain client, in turn; the quickest of them counts."""
        cases: dict[str, Case] = {**kind.plain, "backups": lambda: self.ours(kind.ours)}
        measured = in_turn(cases, self.rounds)
        seconds = {name: statistics.median(m.seconds for m in runs) for name, runs in measured.items()}
        best = min((name for name in cases if name != "backups"), key=lambda name: seconds[name])
        peak = max(m.peak_mib for m in measured["backups"])
        others = ", ".join(f"{name} {self.mib / seconds[name]:.0f}" for name in cases if name not in ("backups", best))
        ours, theirs = seconds["backups"], seconds[best]
        cells = [kind.name, f"{self.mib}", f"{self.mib / ours:.0f}", f"{best}: {self.mib / theirs:.0f}"]
        line = "| " + " | ".join([*cells, f"{theirs / ours:.2f}", others, f"{peak:.0f}"]) + " |"
        self.lines.append(line)
        print(line, flush=True)


def anew(case: Case, stored: Path) -> Case:
    """What it stored is removed afterwards, so that it never replaces a file, as a copy never does."""

    def measure() -> Measured:
        measured = case()
        stored.unlink()
        return measured

    return measure


Served = Callable[[Table], contextlib.AbstractContextManager[Kind]]


@contextlib.contextmanager
def local(table: Table) -> Iterator[Kind]:
    """A directory; cat and sync."""
    place, plain = table.work / "local", table.work / "plain"
    place.mkdir()
    copy = f"cat {table.data} > {plain} && sync {plain}"
    yield Kind("local", {"type": "local", "path": str(place)}, {"cat, sync": anew(lambda: shell(copy), plain)})
    shutil.rmtree(place)


def s3(server: str) -> Served:
    """One of the S3 servers; boto3's own upload, ``aws s3 cp``, ``rclone rcat``."""

    @contextlib.contextmanager
    def serve(table: Table) -> Iterator[Kind]:
        with s3_server(server, table.work, _BUCKET) as url:
            env = {name.upper(): value for name, value in KEYS.items()} | {"AWS_DEFAULT_REGION": "us-east-1"}
            put = f"{sys.executable} -m benchmarks.plain s3 {url} {_BUCKET} < {table.data}"
            copy = f"rcat s3:{_BUCKET}/plain < {table.data}"
            config = table.work / "rclone-s3.conf"
            config.write_text(
                f"[s3]\ntype = s3\nprovider = Other\nendpoint = {url}\n"
                f"access_key_id = {KEYS['aws_access_key_id']}\nsecret_access_key = {KEYS['aws_secret_access_key']}\n"
            )
            plain: dict[str, Case] = {
                "boto3 upload_fileobj": lambda: shell(put, env=env, told=True),
                "rclone rcat": lambda: shell(f"{RCLONE} --config {config} {copy}"),
            }
            if aws := shutil.which("aws"):
                stream = f"{aws} s3 cp - s3://{_BUCKET}/plain --endpoint-url {url} < {table.data}"
                plain["aws s3 cp"] = lambda: shell(stream, env=env)
            else:
                print("aws is not installed: left out (pip install awscli, in an environment of its own)", flush=True)
            yield Kind(f"s3, {NAMES[server]}", {"type": "s3", "bucket": _BUCKET, "endpoint_url": url, **KEYS}, plain)

    return serve


@contextlib.contextmanager
def smb(table: Table) -> Iterator[Kind]:
    """smbd that wants encryption; ``smbclient put``."""
    directory = table.work / "samba"
    directory.mkdir()
    with samba.samba(directory) as server:
        login = table.work / "login"
        login.write_text(f"username = {samba.USER}\npassword = {samba.PASSWORD}\n")
        put = (
            f"smbclient //127.0.0.1/{samba.SHARE} -p {server.port} -A {login} --client-protection=encrypt"
            f" -c 'put {table.data} plain'"
        )
        ours = {"hostname": "127.0.0.1", "port": server.port, "share": samba.SHARE}
        ours |= {"username": samba.USER, "password": samba.PASSWORD}
        yield Kind(
            "samba", {"type": "samba", **ours}, {"smbclient put": anew(lambda: shell(put), server.root / "plain")}
        )
    shutil.rmtree(directory)


@contextlib.contextmanager
def google(table: Table) -> Iterator[Kind]:
    """fake-gcs-server, asked directly by both: the part of the tests that stands before it is slower than either."""
    directory = table.work / "gcs"
    directory.mkdir()
    with gcs.gcs(directory) as server:
        url = f"http://127.0.0.1:{server.port}"
        put = f"{sys.executable} -m benchmarks.plain gs {url} tests < {table.data}"
        ours = {"type": "gs", "bucket": "tests", "endpoint_url": url, "gs_service_key": server.key()}
        yield Kind("gs", ours, {"google-cloud-storage upload_from_file": lambda: shell(put, told=True)})
    shutil.rmtree(directory)


@contextlib.contextmanager
def rclone(table: Table) -> Iterator[Kind]:
    """rclone's own SFTP server; ``rclone rcat``."""
    directory = table.work / "sftp"
    directory.mkdir()
    with rclone_serve("sftp", directory) as server:
        config = table.work / "rclone.conf"
        config.write_text(server.config())
        put = f"{RCLONE} --config {config} rcat {REMOTE}:plain < {table.data}"
        ours = {"type": "rclone", "remote": REMOTE, "config": server.config()}
        yield Kind("rclone (sftp)", ours, {"rclone rcat": anew(lambda: shell(put), server.root / "plain")})
    shutil.rmtree(directory)


def destination_lines(work: Path, mib: int, rounds: int, kinds: Sequence[str], servers: Sequence[str]) -> list[str]:
    """The table of these kinds, or of all. Raises ValueError for one that is not known."""
    served: dict[str, Served] = {"local": local}
    served |= {f"s3-{server}": s3(server) for server in servers}
    if shutil.which("smbclient"):
        served["samba"] = smb
    else:
        print("smbclient is not installed: samba is left out (apt-get install smbclient)", flush=True)
    served |= {"gs": google, "rclone": rclone}
    if unknown := set(kinds) - {*served}:
        raise ValueError(f"no such kind: {', '.join(unknown)}; there are {', '.join(served)}")
    table = Table(work, mib, rounds)
    for name in kinds or served:
        with served[name](table) as kind:
            table.compare(kind)
    table.data.unlink()
    return [*_HEAD, *table.lines]
