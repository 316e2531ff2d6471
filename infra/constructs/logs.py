"""Log groups of the stack, all alike: encrypted, with an end, under ``/{stack}/``."""

from __future__ import annotations

from aws_cdk import RemovalPolicy, Stack
from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.settings import LOG_RETENTION


def log_group(scope: Construct, id_: str, *, name: str, days: int, key: kms.IKey) -> logs.LogGroup:
    """A log group ``/{stack}/{name}``, kept for ``days``."""
    return logs.LogGroup(
        scope,
        id_,
        log_group_name=f"/{Stack.of(scope).stack_name}/{name}",
        retention=logs.RetentionDays(LOG_RETENTION[days]),
        encryption_key=key,
        removal_policy=RemovalPolicy.DESTROY,
    )
