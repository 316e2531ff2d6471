"""A folder on a host, through the staging area, against the same folder read directly: both to one S3 server.

Measured twice: with everything on the same cores, and with the worker on one core, host and server on the others, as
far as one machine can be three.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping

from benchmarks.buckets import KEYS, NAMES, s3_server
from benchmarks.cases import Bench
from benchmarks.measure import Measured
from infra.host_documents import folder_document
from local_cloud.client import LocalCloud
from tests.servers.local_cloud import wait_for

HOST = "i-0123456789abcdef0"
STACK = "Bench"
STAGING, BUCKET = "bench-staging", "bench-copies"


def host_cases(bench: Bench, kind: str) -> None:
    """Both ways, in turn."""
    cores = sorted(os.sched_getaffinity(0))
    _compare(bench, kind, "all on the same cores", set(cores), set(cores))
    if len(cores) > 1:
        _compare(bench, kind, "the worker on a core of its own", set(cores[:1]), set(cores[1:]))


def _compare(bench: Bench, kind: str, how: str, worker: set[int], others: set[int]) -> None:
    with (
        _on(others),
        s3_server(kind, bench.work, STAGING, BUCKET) as url,
        LocalCloud(programs={}, state_dir=bench.work / f"cloud-{kind}-{len(worker)}", enforce_iam=False) as cloud,
    ):
        _deploy(cloud)
        cloud.host(HOST)
        credentials = {name.upper(): value for name, value in KEYS.items()}
        env = {**cloud.environment(), **credentials, "AWS_ENDPOINT_URL_S3": url}
        destination = {"type": "s3", "id": "copies", "bucket": BUCKET, "endpoint_url": url}
        on_host = {"host": HOST, "stack": STACK}

        def measured(source: Mapping[str, object] | None = None) -> Measured:
            with _on(worker):
                return bench.ours([destination], source, env)

        bench.together(
            {
                f"a folder here to a bucket, {NAMES[kind]}, {how}": measured,
                f"a folder on a host, through staging, {NAMES[kind]}, {how}": lambda: measured(on_host),
            }
        )


@contextlib.contextmanager
def _on(cores: set[int]) -> Iterator[None]:
    """Children that are started inside run on these cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _deploy(cloud: LocalCloud) -> None:
    """As much of a stack as a source needs."""
    outputs = {
        **dict.fromkeys(("StateMachineArn", "OrchestratorName", "NotifyName", "EndedName", "DeadLetterQueue"), "none"),
        "StateBucket": STAGING,
        "HostFolderDocument": {"Ref": "Folder"},
    }
    template = {
        "Resources": {
            "Folder": {
                "Type": "AWS::SSM::Document",
                "Properties": {"Content": folder_document(), "DocumentType": "Command"},
            }
        },
        "Outputs": {name: {"Value": value} for name, value in outputs.items()},
    }
    client = cloud.client("cloudformation")
    client.create_stack(StackName=STACK, TemplateBody=json.dumps(template))
    wait_for(lambda: client.describe_stacks(StackName=STACK)["Stacks"][0].get("Outputs"), "no stack")
