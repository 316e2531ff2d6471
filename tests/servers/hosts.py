"""Hosts in the embedded cloud, with the document of the stack, a staging area, and a faulty way to it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import pytest

from backups.context import Context
from backups.sources.base import SourceStream
from backups.sources.folder import Folder
from backups.sources.host_folder import open_on_host
from backups.sources.host_stream import Pace
from backups.ssm import RemoteCommand
from backups.staging import Place
from infra.host_documents import flag_document, folder_document
from local_cloud.client import LocalCloud
from local_cloud.hosts import Host
from tests.servers.faulty_proxy import FaultyProxy, faulty_proxy
from tests.servers.local_cloud import wait_for

PART = 128 << 10
WINDOW = 8
QUICK = Pace(part_bytes=PART, window=WINDOW, beat=1, silence=600, tries=2, status=0.2, ping=600)
_TEMPLATE = {
    "Resources": {
        "Folder": {
            "Type": "AWS::SSM::Document",
            "Properties": {"Content": folder_document(), "DocumentType": "Command", "TargetType": "/"},
        },
        "Flag": {
            "Type": "AWS::SSM::Document",
            "Properties": {"Content": flag_document(), "DocumentType": "Command", "TargetType": "/"},
        },
        "State": {"Type": "AWS::S3::Bucket"},
    },
    "Outputs": {
        "Document": {"Value": {"Ref": "Folder"}},
        "Flag": {"Value": {"Ref": "Flag"}},
        "Bucket": {"Value": {"Ref": "State"}},
    },
}


class Hosts:
    """A cloud with hosts, and what a worker would be told of it."""

    def __init__(self, cloud: LocalCloud, proxy: FaultyProxy) -> None:
        self.cloud = cloud
        self.proxy = proxy
        client = cloud.client("cloudformation")
        name = f"hosts-{uuid.uuid4().hex[:8]}"
        client.create_stack(StackName=name, TemplateBody=json.dumps(_TEMPLATE))
        stack = wait_for(
            lambda: s if (s := client.describe_stacks(StackName=name)["Stacks"][0]).get("Outputs") else None, "no stack"
        )
        outputs = {output["OutputKey"]: output["OutputValue"] for output in (stack or {})["Outputs"]}
        self.bucket, self.document, self.flag_document = outputs["Bucket"], outputs["Document"], outputs["Flag"]

    def host(self, **about: object) -> Host:
        """A host that nobody else uses."""
        return self.cloud.host(f"i-{uuid.uuid4().hex[:17]}", **about)  # type: ignore[arg-type]

    def place(self) -> Place:
        """A prefix that nobody else uses."""
        return Place(self.bucket, f"staging/{uuid.uuid4().hex}/", self.document)

    def staged(self, prefix: str, name: str = "") -> list[str]:
        """What is in a staging area, without the names of attempts; only what begins with ``name``."""
        found = self.cloud.client("s3").list_objects_v2(Bucket=self.bucket, Prefix=prefix).get("Contents", [])
        names = [item["Key"].rpartition("/")[2] for item in found]
        return [one for one in names if one.startswith(name)]


class Job:
    """One folder on one host."""

    def __init__(self, hosts: Hosts, context: Context) -> None:
        self.hosts = hosts
        self.host = hosts.host()
        self.place = hosts.place()
        self.context = Context(tmpdir=context.tmpdir, secrets=context.secrets, staging=self.place)

    def open(self, path: Path, pace: Pace = QUICK, **settings: object) -> SourceStream:
        """Open the source, quickly."""
        folder = Folder.model_validate(
            {"id": "data", "type": "folder", "path": str(path), "host": self.host.id, **settings}
        )
        return open_on_host(folder, self.context, pace=pace)

    def staged(self, name: str = "") -> list[str]:
        """What is in its staging area."""
        return self.hosts.staged(self.place.prefix, name)

    def window_is_full(self) -> None:
        """Wait until the host may not go on before something is read: it asks for a new lease again and again."""

        def waits() -> bool:
            mine = [line for line in self.hosts.proxy.seen if self.place.prefix in line]
            last = [line for line in mine if line.startswith("PUT") != ("/lease" in line)][-4:]
            return any("PUT" in line for line in mine) and len(last) == 4 and all("/lease" in line for line in last)

        wait_for(waits, "the host did not fill its window")

    def processes(self) -> list[int]:
        """What runs on the host, outermost first."""
        return self.hosts.cloud.host_processes(self.host.id)

    def kill(self, name: str = "") -> None:
        """Kill everything that runs on the host, or what has this name."""
        for pid in self.processes():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if name in ("", Path(f"/proc/{pid}/comm").read_text().strip()):
                    os.kill(pid, signal.SIGKILL)

    def shown(self, what: str) -> bytes:
        """What anyone on the host sees of its processes: ``cmdline``, or root of their ``environ``."""
        found = b""
        for pid in self.processes():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it ended just now
                found += Path(f"/proc/{pid}/{what}").read_bytes()
        return found

    def says(self, ping: str) -> None:
        """What Systems Manager says of the agent."""
        self.hosts.cloud.host(self.host.id, ping=ping)

    def outcome(self) -> str:
        """How Systems Manager says that its one command ended."""
        [command] = [path.name for path in self.host.commands.iterdir() if path.is_dir()]
        ended = RemoteCommand(self.hosts.cloud.client("ssm"), command, self.host.id).wait(60)
        assert ended, "the command did not end"
        return ended.status

    def left(self) -> list[str]:
        """What is left of it, on the host and in the staging area."""
        return [*self.staged(), *(path.name for path in (self.host.directory / "tmp").iterdir())]

    def is_over(self, *, killed: bool = False) -> None:
        """Wait until nothing runs on the host; then nothing may be left, but for what a killed script had there."""
        wait_for(lambda: not self.processes(), "something still runs on the host")
        left = self.staged() if killed else self.left()
        assert left == []


@contextmanager
def hosts_of(cloud: LocalCloud) -> Iterator[Hosts]:
    """This process uses the cloud, as a worker in it would, and reaches S3 through the proxy, as the hosts do."""
    with faulty_proxy(urlparse(cloud.endpoint).port or 0) as proxy, pytest.MonkeyPatch.context() as patch:
        for name, value in {**cloud.environment(), "AWS_ENDPOINT_URL_S3": proxy.url}.items():
            patch.setenv(name, value)
        yield Hosts(cloud, proxy)
