"""S3 servers of this machine, and a folder to one bucket and to two."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from benchmarks.cases import Bench
from benchmarks.light_s3 import light_s3
from tests.servers.seaweed import ACCESS_KEY, SECRET_KEY, seaweed

KEYS = {"aws_access_key_id": ACCESS_KEY, "aws_secret_access_key": SECRET_KEY}
NAMES = {"light": "the light server", "seaweed": "SeaweedFS"}


@contextlib.contextmanager
def s3_server(kind: str, work: Path, *buckets: str) -> Iterator[str]:
    """The address of a ``light`` one or of ``seaweed``, with these buckets; what it keeps is removed at the end."""
    directory = work / f"s3-{kind}"
    directory.mkdir()
    try:
        if kind == "light":
            with light_s3(directory) as url:
                yield url
        else:
            with seaweed(directory) as server:
                for bucket in buckets:
                    server.client().create_bucket(Bucket=bucket)
                yield server.url
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def bucket_cases(bench: Bench, kind: str, *, only_two: bool = False) -> None:
    """One and two S3 destinations; or two alone."""
    with s3_server(kind, bench.work, "bench-a", "bench-b") as url:
        first, second = (
            {"type": "s3", "id": name, "bucket": name, "endpoint_url": url, **KEYS} for name in ("bench-a", "bench-b")
        )
        cases = {
            f"backups to one S3 bucket, {NAMES[kind]}": lambda: bench.ours([first]),
            f"backups to two S3 buckets, {NAMES[kind]}": lambda: bench.ours([first, second]),
        }
        if only_two:
            del cases[f"backups to one S3 bucket, {NAMES[kind]}"]
        bench.together(cases)
