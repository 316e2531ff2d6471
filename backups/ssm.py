"""Systems Manager's Run Command: has the agent on a host run a document of the stack, and follows it to its end.

What a command is told stands in AWS's history of commands, so never a secret. To run another document::

    host = find_host(client, "tag:Name=web1")
    command = send(client, document, host, {"path": encoded(path)}, about="flag file")
    ended = command.wait(60)            # an Invocation, or None; ended.complaint says what went wrong
"""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import StringConstraints

from backups.aws_sessions import new_session
from backups.errors import BackupsError

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import InstanceInformationTypeDef

DELIVERY_SECONDS = 120
"""How long an agent may take to begin with a command."""

_TAG = r"tag:[A-Za-z0-9 _.:/+@-]{1,128}=[A-Za-z0-9 _.:/+@=-]{1,256}"
HostName = Annotated[str, StringConstraints(pattern=rf"^(i-[0-9a-f]{{8}}|i-[0-9a-f]{{17}}|mi-[0-9a-f]{{17}}|{_TAG})?$")]
"""An EC2 instance's id, a managed node's, or ``tag:KEY=VALUE``; empty for none."""

_ONLINE = "Online"
_GOING = frozenset({"Pending", "InProgress", "Delayed", "Cancelling"})
_POLL_SECONDS = 0.5
_NO_AGENT = (
    "docs/operations.md, Hosts, says what a host needs: the SSM agent, a role for it, and the tag if one is named"
)
_REASONS = {
    "DeliveryTimedOut": "the agent did not take the command",
    "Undeliverable": "the command could not be delivered",
    "ExecutionTimedOut": "it took longer than allowed and was ended",
    "Cancelled": "the command was cancelled",
    "Terminated": "the command was ended with others that failed",
    "InvalidPlatform": "the host does not run Linux",
    "AccessDenied": "the host was refused the command",
}


class HostError(BackupsError):
    """A host or the agent on it does not do what is asked."""


@dataclass(frozen=True)
class Invocation:
    """How far a command is on its host."""

    status: str
    """As AWS calls it in detail, such as ``Success``, ``Failed`` or ``ExecutionTimedOut``."""
    code: int
    """The script's exit status; -1 while there is none, or when the host was never reached."""
    said: str
    """The beginning of what it wrote to standard error, at most 8,000 characters."""
    ended: bool

    @property
    def complaint(self) -> str:
        """Why it did not succeed, in words; empty when it did."""
        if self.status == "Success":
            return ""
        reason = _REASONS.get(self.status) or f"the command ended with exit status {self.code}"
        return f"{reason}: {said}" if (said := "; ".join(self.said.split("\n")).strip("; ")) else reason


class RemoteCommand:
    """A command that was sent to one host."""

    def __init__(self, client: SSMClient, id_: str, host: str) -> None:
        self.id = id_
        self.host = host
        self._client = client

    def look(self) -> Invocation:
        """How far it is. Raises HostError when AWS refuses to say."""
        with _asking(f"look at the command on {self.host}"):
            try:
                found = self._client.get_command_invocation(CommandId=self.id, InstanceId=self.host)
            except self._client.exceptions.InvocationDoesNotExist:
                return Invocation("Pending", -1, "", ended=False)  # so AWS answers in the first moments
        status = (found.get("StatusDetails") or found["Status"]).replace(" ", "")
        return Invocation(
            status, found.get("ResponseCode", -1), found.get("StandardErrorContent", ""), found["Status"] not in _GOING
        )

    def wait(self, seconds: float) -> Invocation | None:
        """How it ended; None when it still goes on after so many seconds. Raises HostError."""
        deadline = time.monotonic() + seconds
        while not (invocation := self.look()).ended:
            if time.monotonic() > deadline:
                return None
            time.sleep(_POLL_SECONDS)
        return invocation

    def cancel(self) -> None:
        """Have the agent end it, with all its processes; that takes a moment. Raises HostError."""
        with _asking(f"cancel the command on {self.host}"):
            self._client.cancel_command(CommandId=self.id, InstanceIds=[self.host])


def client(region: str = "") -> SSMClient:
    """A client whose calls end within a minute or two, whatever the network does."""
    from botocore.config import Config

    config = Config(connect_timeout=10, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 5})
    with _asking("use Systems Manager"):
        return new_session().client("ssm", region_name=region or None, config=config)


def find_host(client: SSMClient, host: str) -> str:
    """The id of the one online host that an id or a tag names. Raises HostError when there is none, or more."""
    found = _nodes(client, host)
    online = [node for node in found if node.get("PingStatus") == _ONLINE]
    if len(online) > 1:
        names = ", ".join(node["InstanceId"] for node in online)
        raise HostError(f"{host} names several hosts: {names}", hint="give one an id or a tag of its own")
    if not online:
        raise HostError(_absent(host, found), hint=_NO_AGENT)
    return online[0]["InstanceId"]


def is_online(client: SSMClient, id_: str) -> bool:
    """Whether the agent on a host still reports. Raises HostError."""
    return any(node.get("PingStatus") == _ONLINE for node in _nodes(client, id_))


def send(client: SSMClient, document: str, host: str, parameters: Mapping[str, str], *, about: str) -> RemoteCommand:
    """Have the agent on a host run a document. ``about`` is shown in AWS's list of commands. Raises HostError."""
    with _asking(f"send a command to {host}"):
        sent = client.send_command(
            DocumentName=document,
            InstanceIds=[host],
            Parameters={name: [value] for name, value in parameters.items()},
            TimeoutSeconds=DELIVERY_SECONDS,
            Comment=f"backups: {about}"[:100],
        )
    return RemoteCommand(client, sent["Command"]["CommandId"], host)


def encoded(text: str) -> str:
    """A text in base64, in which no shell and no document sees more than letters."""
    return base64.b64encode(text.encode("utf-8", "surrogateescape")).decode()


def _nodes(client: SSMClient, host: str) -> list[InstanceInformationTypeDef]:
    key, value = "InstanceIds", host
    if host.startswith("tag:"):
        key, _, value = host.partition("=")
    with _asking(f"look for host {host}"):
        pages = client.get_paginator("describe_instance_information").paginate(
            Filters=[{"Key": key, "Values": [value]}]
        )
        return [node for page in pages for node in page["InstanceInformationList"]]


def _absent(host: str, found: list[InstanceInformationTypeDef]) -> str:
    if not found:
        return f"{host} is no host that Systems Manager manages"
    status = found[0].get("PingStatus", "unknown")
    return f"the SSM agent on {host} does not answer (ping status {status})"


@contextlib.contextmanager
def _asking(what: str) -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        denied = "AccessDenied" in code or code == "UnrecognizedClientException"
        hint = "the role needs the rights that docs/operations.md, Hosts, lists" if denied else ""
        if code == "InvalidInstanceId":
            hint = _NO_AGENT
        raise HostError(f"could not {what}: {error}", hint=hint) from None
    except BotoCoreError as error:
        raise HostError(f"could not {what}: {error}", hint="are AWS credentials and a region set?") from None
