"""A folder on a host, through the staging area, against the same folder read directly: both to one S3 server.

Everything shares this machine's cores: the host's tar and curl, the worker, and the server, which has to take the data
a second time, uncompressed, and give it back.
"""

from __future__ import annotations

import json

from benchmarks.buckets import KEYS, NAMES, s3_server
from benchmarks.cases import Bench
from infra.host_documents import folder_document
from local_cloud.client import LocalCloud
from tests.servers.local_cloud import wait_for

HOST = "i-0123456789abcdef0"
STACK = "Bench"
STAGING, BUCKET = "bench-staging", "bench-copies"


def host_cases(bench: Bench, kind: str) -> None:
    """Both ways, in turn."""
    with (
        s3_server(kind, bench.work, STAGING, BUCKET) as url,
        LocalCloud(programs={}, state_dir=bench.work / f"cloud-{kind}", enforce_iam=False) as cloud,
    ):
        _deploy(cloud)
        cloud.host(HOST)
        credentials = {name.upper(): value for name, value in KEYS.items()}
        env = {**cloud.environment(), **credentials, "AWS_ENDPOINT_URL_S3": url}
        destination = {"type": "s3", "id": "copies", "bucket": BUCKET, "endpoint_url": url}
        on_host = {"host": HOST, "stack": STACK}
        bench.together(
            {
                f"a folder here to a bucket, {NAMES[kind]}": lambda: bench.ours([destination], env=env),
                f"a folder on a host, through staging, {NAMES[kind]}": lambda: bench.ours([destination], on_host, env),
            }
        )


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
