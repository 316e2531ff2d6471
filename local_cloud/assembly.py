"""Deploys a CDK cloud assembly as ``cdk deploy`` would: assets, bootstrap version, stack."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from backups.errors import BackupsError

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
BOOTSTRAP_VERSION = "30"
_INLINE_TEMPLATE_LIMIT = 51_200
_POLL_SECONDS = 0.1
# The oldest time that a zip file can hold, so that the same content is always the same bytes.
_ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)


class DeployError(BackupsError):
    """The stack was not created or updated. ``failures`` has one line for each failed resource."""

    def __init__(self, message: str, failures: tuple[str, ...] = ()) -> None:
        super().__init__("\n".join((message, *failures)))
        self.failures = failures


class Deployer:
    """Deploys into one account and region."""

    def __init__(self, client: Callable[[str], Any], *, account: str, region: str) -> None:
        self._client = client
        self._names = {"${AWS::AccountId}": account, "${AWS::Region}": region, "${AWS::Partition}": "aws"}

    def deploy(self, assembly: Path, stack: str, timeout: float) -> dict[str, str]:
        """The stack's outputs. ``timeout`` is in seconds. Raises DeployError."""
        template = assembly / f"{stack}.template.json"
        manifest = assembly / f"{stack}.assets.json"
        if not template.exists() or not manifest.exists():
            raise DeployError(f"{assembly} has no stack {stack}: synthesize it first")
        self._publish(assembly, json.loads(manifest.read_text()))
        self._client("ssm").put_parameter(
            Name=BOOTSTRAP_PARAMETER, Value=BOOTSTRAP_VERSION, Type="String", Overwrite=True
        )
        if not self._start(stack, template.read_text()):
            return self._outputs(stack)
        return self._wait(stack, timeout)

    def _publish(self, assembly: Path, manifest: dict[str, Any]) -> None:
        s3 = self._client("s3")
        for asset in manifest.get("files", {}).values():
            content: bytes | None = None
            for destination in asset["destinations"].values():
                bucket = self._fill_in(destination["bucketName"])
                key = self._fill_in(destination["objectKey"])
                self._ensure_bucket(bucket)
                if self._exists(bucket, key):
                    continue
                content = content or _content(assembly / asset["source"]["path"], asset["source"]["packaging"])
                s3.put_object(Bucket=bucket, Key=key, Body=content)

    def _fill_in(self, text: str) -> str:
        for placeholder, value in self._names.items():
            text = text.replace(placeholder, value)
        return text

    def _ensure_bucket(self, bucket: str) -> None:
        s3 = self._client("s3")
        if bucket not in {one["Name"] for one in s3.list_buckets()["Buckets"]}:
            region = self._names["${AWS::Region}"]
            where = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
            s3.create_bucket(Bucket=bucket, **where)

    def _exists(self, bucket: str, key: str) -> bool:
        # A key is made of its content's hash, so what is there is right.
        listed = self._client("s3").list_objects_v2(Bucket=bucket, Prefix=key, MaxKeys=1)
        return any(one["Key"] == key for one in listed.get("Contents", []))

    def _start(self, stack: str, template: str) -> bool:
        """Begin to create or update; False when there is nothing to update."""
        cloudformation = self._client("cloudformation")
        arguments: dict[str, Any] = {
            "StackName": stack,
            "Capabilities": ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"],
            **self._template_argument(stack, template),
        }
        names = {one["StackName"] for one in cloudformation.describe_stacks()["Stacks"]}
        action = cloudformation.update_stack if stack in names else cloudformation.create_stack
        try:
            action(**arguments)
        except cloudformation.exceptions.ClientError as error:
            if "No updates are to be performed" in str(error):
                return False
            raise DeployError(f"the stack {stack} was refused", (error.response["Error"]["Message"],)) from error
        return True

    def _template_argument(self, stack: str, template: str) -> dict[str, str]:
        if len(template.encode()) <= _INLINE_TEMPLATE_LIMIT:
            return {"TemplateBody": template}
        bucket = f"cdk-hnb659fds-assets-{self._names['${AWS::AccountId}']}-{self._names['${AWS::Region}']}"
        self._ensure_bucket(bucket)
        s3 = self._client("s3")
        key = f"templates/{stack}.json"
        s3.put_object(Bucket=bucket, Key=key, Body=template.encode())
        return {"TemplateURL": f"{s3.meta.endpoint_url}/{bucket}/{key}"}

    def _wait(self, stack: str, timeout: float) -> dict[str, str]:
        end = time.monotonic() + timeout
        while True:
            status = self._describe(stack)["StackStatus"]
            if not status.endswith("_IN_PROGRESS"):
                break
            if time.monotonic() > end:
                raise DeployError(f"the stack {stack} is still {status} after {timeout:.0f} seconds")
            time.sleep(_POLL_SECONDS)
        if status not in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            raise DeployError(f"the stack {stack} is {status}", self._failures(stack))
        return self._outputs(stack)

    def _describe(self, stack: str) -> dict[str, Any]:
        described: dict[str, Any] = self._client("cloudformation").describe_stacks(StackName=stack)["Stacks"][0]
        return described

    def _outputs(self, stack: str) -> dict[str, str]:
        return {one["OutputKey"]: one["OutputValue"] for one in self._describe(stack).get("Outputs", [])}

    def _failures(self, stack: str) -> tuple[str, ...]:
        events = self._client("cloudformation").describe_stack_events(StackName=stack)["StackEvents"]
        lines = [
            f"{one['LogicalResourceId']} ({one['ResourceType']}): {one.get('ResourceStatusReason', 'no reason given')}"
            for one in reversed(events)
            if one["ResourceStatus"].endswith("_FAILED")
        ]
        return tuple(dict.fromkeys(lines)) or (str(self._describe(stack).get("StackStatusReason", "")),)


def _content(path: Path, packaging: str) -> bytes:
    if packaging != "zip":
        return path.read_bytes()
    if path.is_file():
        return path.read_bytes()
    buffer = io.BytesIO()
    # Stored, not compressed: it never leaves this machine.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for file in sorted(path.rglob("*")):
            if file.is_file():
                entry = zipfile.ZipInfo(file.relative_to(path).as_posix(), _ZIP_EPOCH)
                entry.external_attr = (file.stat().st_mode & 0o777) << 16
                archive.writestr(entry, file.read_bytes())
    return buffer.getvalue()
