"""What a worker may do for the sources of RDS in its job, derived from the names in the job file.

It may restore the snapshots that the job names, under names and tags of its own, and delete nothing but that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam

from backups.job import Job
from backups.rds.naming import PREFIX, RUN_TAG
from backups.rds.snapshots import AUTOMATED, MANUAL
from backups.sources.rds import RDS
from infra.grants import allow

_LOOK = (
    *("rds:DescribeDBInstances", "rds:DescribeDBClusters", "rds:DescribeDBSubnetGroups"),
    *("rds:DescribeDBSnapshots", "rds:DescribeDBClusterSnapshots", "ec2:DescribeSecurityGroups"),
)
_ANY_GROUP = ("og", "subgrp", "pg", "cluster-pg")
"""Kinds of groups that a restore is checked for as well; those that the job leaves out are the database's own."""


def worker(stack: Stack, job: Job, keys: Sequence[str]) -> list[iam.PolicyStatement]:
    """For the task role of one job. ``keys`` are KMS keys of the settings, which snapshots may be encrypted with."""
    sources = databases([job])
    if not sources:
        return []
    return [
        allow(_LOOK, ["*"]),
        *(statement for source in sources for statement in _restore(stack, job, source)),
        *_keys(keys, {region(stack, source) for source in sources}),
    ]


def databases(jobs: Iterable[Job]) -> list[RDS]:
    """The sources of RDS that the stack's own roles are good for; access keys of their own need no rights of these."""
    sources = (source for job in jobs for source in job.sources)
    return [source for source in sources if isinstance(source, RDS) and not source.aws_access_key_id]


def region(stack: Stack, source: RDS) -> str:
    """Where a source's database is."""
    return source.region or stack.region


def arn(stack: Stack, where: str, kind: str, name: str) -> str:
    """Of something in RDS."""
    return stack.format_arn(
        service="rds", region=where, resource=kind, resource_name=name, arn_format=ArnFormat.COLON_RESOURCE_NAME
    )


def temporary(stack: Stack, where: str, *kinds: str) -> list[str]:
    """ARNs of everything temporary: of instances (``db``) or clusters."""
    return [arn(stack, where, kind, f"{PREFIX}*") for kind in kinds]


def _restore(stack: Stack, job: Job, source: RDS) -> Iterator[iam.PolicyStatement]:
    where = region(stack, source)
    made = {"StringLike": {f"aws:RequestTag/{RUN_TAG}": f"{job.name}/*"}}
    own = {"StringLike": {f"aws:ResourceTag/{RUN_TAG}": f"{job.name}/*"}}
    groups = [arn(stack, where, kind, _group(source, kind)) for kind in _ANY_GROUP]
    kinds = ("db", "cluster") if source.database.cluster else ("db",)
    targets = temporary(stack, where, *kinds)
    snapshot = _snapshot(stack, where, source)
    if source.database.cluster:
        yield allow(("rds:RestoreDBClusterFromSnapshot", "rds:CreateDBInstance"), [*targets, snapshot, *groups], made)
        yield allow(("rds:DeleteDBInstance", "rds:DeleteDBCluster"), targets, own)
    else:
        yield allow(("rds:RestoreDBInstanceFromDBSnapshot",), [*targets, snapshot, *groups], made)
        yield allow(("rds:DeleteDBInstance",), targets, own)
    yield allow(("rds:AddTagsToResource",), targets, made)


def _group(source: RDS, kind: str) -> str:
    named = {"subgrp": source.subnet_group, "cluster-pg" if source.database.cluster else "pg": source.parameter_group}
    return named.get(kind) or "*"


def _snapshot(stack: Stack, where: str, source: RDS) -> str:
    kind = "cluster-snapshot" if source.database.cluster else "snapshot"
    if source.snapshot == AUTOMATED:
        return arn(stack, where, kind, f"rds:{source.database.name}-*")
    return arn(stack, where, kind, "*" if source.snapshot == MANUAL else source.snapshot)


def _keys(keys: Sequence[str], regions: Iterable[str]) -> list[iam.PolicyStatement]:
    """An encrypted snapshot restores only for whoever may use its key, in the hands of RDS."""
    if not keys:
        return []
    services = [f"rds.{where}.amazonaws.com" for where in sorted(regions)]
    through: dict[str, dict[str, object]] = {"StringEquals": {"kms:ViaService": services}}
    use = ("kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKeyWithoutPlaintext")
    for_aws: dict[str, dict[str, object]] = {**through, "Bool": {"kms:GrantIsForAWSResource": "true"}}
    return [allow(use, keys, through), allow(("kms:CreateGrant",), keys, for_aws)]
