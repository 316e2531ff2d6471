"""Hosts: the document that their agents run, and what whoever asks them may do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from backups.job import Job
from backups.notifications.flagfile import FlagFile
from backups.sources.folder import Folder
from backups.staging import PREFIX
from infra.constructs.foundation import Foundation
from infra.grants import allow
from infra.host_documents import flag_document, folder_document

WHY_WILD = (
    "Commands get their ids when they are sent, nodes are found by their tags, and these calls know no resources."
)

_SEND = ("ssm:SendCommand",)
_FOLLOW = ("ssm:GetCommandInvocation", "ssm:CancelCommand")
_FIND = ("ssm:DescribeInstanceInformation",)


class Hosts(Construct):
    """What folders and flag files on hosts need."""

    def __init__(self, scope: Construct, id_: str, *, foundation: Foundation) -> None:
        super().__init__(scope, id_)
        self._state = foundation.state
        self.folder_document = self._command("Folder", folder_document())
        self.flag_document = self._command("Flag", flag_document())

    def _command(self, id_: str, content: dict[str, Any]) -> ssm.CfnDocument:
        """Without a name of its own: a changed script is another document, and who sends it knows the one it means."""
        return ssm.CfnDocument(
            self, id_, content=content, document_type="Command", document_format="JSON", target_type="/"
        )

    def worker(self, job: Job) -> list[iam.PolicyStatement]:
        """For the worker of a job: its hosts and its part of the staging area; nothing when it names no host."""
        names = named_hosts([job])
        if not names:
            return []
        mine = f"{PREFIX}{job.name}/*"
        return [
            allow(_SEND, [self._document(self.folder_document)]),
            *self._send_to(names),
            allow((*_FOLLOW, *_FIND), ["*"]),
            allow(("s3:GetObject", "s3:PutObject", "s3:DeleteObject"), [self._state.arn_for_objects(mine)]),
            allow(("s3:ListBucket",), [self._state.bucket_arn], {"StringLike": {"s3:prefix": [mine]}}),
        ]

    def settle(self, jobs: Iterable[Job]) -> list[iam.PolicyStatement]:
        """For the function that cleans up after workers that died."""
        if not named_hosts(jobs):
            return []
        return [
            allow(_FOLLOW, ["*"]),
            allow(("s3:GetObject", "s3:DeleteObject"), [self._state.arn_for_objects(f"{PREFIX}*")]),
        ]

    def notify(self, jobs: Iterable[Job]) -> list[iam.PolicyStatement]:
        """For the function that tells channels: the hosts that have flag files; nothing when none has."""
        names = sorted({c.host for job in jobs for c in job.notifications if isinstance(c, FlagFile) and c.host})
        if not names:
            return []
        return [
            allow(_SEND, [self._document(self.flag_document)]),
            *self._send_to(names),
            allow((*_FOLLOW, *_FIND), ["*"]),
        ]

    def _document(self, document: ssm.CfnDocument) -> str:
        return self._arn("ssm", "document", document.ref)

    def _send_to(self, names: Iterable[str]) -> Iterator[iam.PolicyStatement]:
        for name in names:
            if name.startswith("tag:"):
                key, _, value = name.removeprefix("tag:").partition("=")
                nodes = [self._arn("ec2", "instance", "*"), self._arn("ssm", "managed-instance", "*")]
                yield allow(_SEND, nodes, {"StringEquals": {f"ssm:resourceTag/{key}": value}})
            elif name.startswith("mi-"):
                yield allow(_SEND, [self._arn("ssm", "managed-instance", name)])
            else:
                yield allow(_SEND, [self._arn("ec2", "instance", name)])

    def _arn(self, service: str, resource: str, name: str) -> str:
        return Stack.of(self).format_arn(
            service=service, resource=resource, resource_name=name, arn_format=ArnFormat.SLASH_RESOURCE_NAME
        )


def named_hosts(jobs: Iterable[Job]) -> list[str]:
    """The hosts that folders of these jobs are on."""
    return sorted({s.host for job in jobs for s in job.sources if isinstance(s, Folder) and s.host})
