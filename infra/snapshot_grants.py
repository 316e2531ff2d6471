"""What a worker may do to take snapshots, and Retention to remove them.

A worker begins snapshots of exactly what the job file names, tagged as its job's and unfinished; it may delete those
and count them as complete, but nothing that is complete. Retention deletes what the tags say is of a job. Neither
reaches a snapshot without the tags.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam

from backups.job import Job
from backups.snapshots.tags import COMPLETE, HOST, JOB, STATE, UNFINISHED, name_prefix, tag_value
from backups.sources.snapshot import Snapshot

_KEY_ACTIONS = (
    *("kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey"),
    *("kms:GenerateDataKeyWithoutPlaintext", "kms:ReEncryptFrom", "kms:ReEncryptTo"),
)
_BEGIN = ("CreateSnapshot", "CreateSnapshots", "CopySnapshot")


def taking_snapshots(stack: Stack, job: Job, keys: Iterable[str] = ()) -> list[iam.PolicyStatement]:
    """For the task role of one job. ``keys`` are those that volumes and databases may be encrypted with."""
    sources = _by_role(job)
    volumes = [source for source in sources if not source.of_database]
    databases = [source for source in sources if source.of_database]
    return [
        *(_volumes(stack, job, volumes) if volumes else []),
        *(_databases(stack, job, databases) if databases else []),
        *_keys(sources, keys),
    ]


def removing_snapshots(stack: Stack, job: Job) -> list[iam.PolicyStatement]:
    """For the Retention function: the snapshots of one job."""
    sources = _by_role(job)
    mine = {"StringEquals": {f"aws:ResourceTag/{name}": value for name, value in _owner(job).items()}}
    statements = []
    if any(not source.of_database for source in sources):
        shots = [_ebs(stack, "*")]
        statements += [_allow(["ec2:DescribeSnapshots"], ["*"]), _allow(["ec2:DeleteSnapshot"], shots, mine)]
    if any(source.of_database for source in sources):
        shots = _named(stack, job)
        statements += [_listing(stack), _allow(["rds:DeleteDBSnapshot", "rds:DeleteDBClusterSnapshot"], shots, mine)]
    return statements


def logins_of_snapshots(jobs: Iterable[Job]) -> list[Snapshot]:
    """The sources whose own access keys Retention needs, without what else is secret in them."""
    found = [source for job in jobs for source in job.sources if isinstance(source, Snapshot)]
    return [source.model_copy(update={"passphrase": None, "recipients": None}) for source in found]


def _volumes(stack: Stack, job: Job, sources: list[Snapshot]) -> list[iam.PolicyStatement]:
    shots = [_ebs(stack, "*")]
    begun = {"StringEquals": {f"aws:RequestTag/{name}": value for name, value in _begun(job).items()}}
    unfinished = {f"aws:ResourceTag/{name}": value for name, value in _begun(job).items()}
    on_creation = {"StringEquals": {"ec2:CreateAction": list(_BEGIN)}}
    counting = {
        "StringEquals": {**unfinished, f"aws:RequestTag/{STATE}": COMPLETE},
        "ForAllValues:StringEquals": {"aws:TagKeys": [STATE]},
    }
    statements = [
        _allow(["ec2:DescribeSnapshots"], ["*"]),
        _allow(["ec2:CreateSnapshot", "ec2:CreateSnapshots", "ec2:CopySnapshot"], shots, begun),
        _allow(["ec2:CopySnapshot"], shots, {"StringEquals": unfinished}),  # what is copied
        _allow(["ec2:CreateTags"], shots, on_creation),
        _allow(["ec2:CreateTags"], shots, counting),
        _allow(["ec2:DeleteSnapshot"], shots, {"StringEquals": unfinished}),
    ]
    named = [_ec2(stack, source, "volume", source.volume_id) for source in sources if source.volume_id]
    if named:
        statements.append(_allow(["ec2:CreateSnapshot"], named))
    for source in sources:
        if source.instance_id:
            # AWS asks for each volume too. Which are attached is not known here; the instance is.
            instance = _ec2(stack, source, "instance", source.instance_id)
            statements.append(_allow(["ec2:CreateSnapshots"], [instance, _ec2(stack, source, "volume", "*")]))
    return statements


def _databases(stack: Stack, job: Job, sources: list[Snapshot]) -> list[iam.PolicyStatement]:
    shots = _named(stack, job)
    owners = [
        _rds(stack, source.home_region, "cluster" if source.clustername else "db", source.target) for source in sources
    ]
    begun = {"StringEquals": {f"aws:RequestTag/{name}": value for name, value in _begun(job).items()}}
    unfinished = {f"aws:ResourceTag/{name}": value for name, value in _begun(job).items()}
    counting = {
        "StringEquals": {**unfinished, f"aws:RequestTag/{STATE}": COMPLETE},
        "ForAllValues:StringEquals": {"aws:TagKeys": [STATE]},
    }
    begin = ["rds:CreateDBSnapshot", "rds:CreateDBClusterSnapshot", "rds:CopyDBSnapshot", "rds:CopyDBClusterSnapshot"]
    return [
        _listing(stack),
        _allow(begin, [*owners, *shots], begun),
        _allow(["rds:AddTagsToResource"], shots, begun),
        _allow(["rds:AddTagsToResource"], shots, counting),
        _allow(["rds:DeleteDBSnapshot", "rds:DeleteDBClusterSnapshot"], shots, {"StringEquals": unfinished}),
    ]


def _keys(sources: list[Snapshot], keys: Iterable[str]) -> list[iam.PolicyStatement]:
    """Keys that AWS encrypts copies with, only in the hands of the services that do so."""
    named = {source.copy_kms_key_id for source in sources if source.copy_kms_key_id}
    found = sorted(named | (set(keys) if sources else set()))
    via = {"StringLike": {"kms:ViaService": ["ec2.*.amazonaws.com", "rds.*.amazonaws.com"]}}
    return [_allow(_KEY_ACTIONS, found, via)] if found else []


def _by_role(job: Job) -> list[Snapshot]:
    """The sources that the role itself is good for; keys of their own need no rights of the role."""
    return [source for source in job.sources if isinstance(source, Snapshot) and not source.aws_access_key_id]


def _owner(job: Job) -> dict[str, str]:
    return {JOB: tag_value(job.name), HOST: tag_value(job.hostname)}


def _begun(job: Job) -> dict[str, str]:
    return {**_owner(job), STATE: UNFINISHED}


def _ec2(stack: Stack, source: Snapshot, kind: str, id_: str) -> str:
    return stack.format_arn(service="ec2", region=source.home_region or stack.region, resource=kind, resource_name=id_)


def _ebs(stack: Stack, id_: str) -> str:
    """Snapshots of volumes in any region; their ARNs have no account."""
    return stack.format_arn(service="ec2", region="*", account="", resource="snapshot", resource_name=id_)


def _rds(stack: Stack, region: str, kind: str, name: str) -> str:
    return stack.format_arn(
        service="rds",
        region=region or stack.region,
        resource=kind,
        resource_name=name,
        arn_format=ArnFormat.COLON_RESOURCE_NAME,
    )


def _named(stack: Stack, job: Job) -> list[str]:
    """The RDS snapshots of a job, by the beginning of their names, in any region."""
    return [_rds(stack, "*", kind, f"{name_prefix(job.name)}*") for kind in ("snapshot", "cluster-snapshot")]


def _listing(stack: Stack) -> iam.PolicyStatement:
    every = [_rds(stack, "*", kind, "*") for kind in ("db", "cluster", "snapshot", "cluster-snapshot")]
    return _allow(["rds:DescribeDBSnapshots", "rds:DescribeDBClusterSnapshots"], every)


def _allow(
    actions: Iterable[str], resources: Iterable[str], conditions: Mapping[str, object] | None = None
) -> iam.PolicyStatement:
    return iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions)
