"""What each process of the stack may do, derived from the job files: the buckets, secrets and keys they name.

A worker may write and abort, never delete. Retention may list and delete, never write. Notify reads the secrets of
channels only. A reference or bucket that no job file names is out of everyone's reach.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from aws_cdk import ArnFormat, Stack
from aws_cdk import aws_iam as iam

from backups.destinations import DestinationConfig
from backups.destinations.s3.destination import S3
from backups.job import Job
from backups.naming import host_prefix, legacy_prefix
from backups.notifications.flagfile import FlagFile
from backups.notifications.sns import Sns
from backups.secrets import references
from infra.snapshot_grants import logins_of_snapshots, removing_snapshots, taking_snapshots

_WRITE = ("s3:PutObject", "s3:AbortMultipartUpload", "s3:GetObject", "s3:GetObjectVersion")
_READ = ("s3:GetObject", "s3:GetObjectVersion")
_LIST = ("s3:ListBucket", "s3:ListBucketVersions")
_SETTINGS = ("s3:GetBucketObjectLockConfiguration", "s3:GetBucketVersioning")
_PRUNE = (
    *("s3:GetObject", "s3:GetObjectRetention", "s3:GetObjectLegalHold"),
    *("s3:DeleteObject", "s3:DeleteObjectVersion"),
)
_ENCRYPT = ("kms:GenerateDataKey", "kms:Decrypt")
_DECRYPT = ("kms:Decrypt",)


@dataclass(frozen=True)
class Grants:
    """Makes policy statements for one stack. ``keys`` are those of the settings."""

    stack: Stack
    keys: tuple[str, ...] = ()

    def worker(self, job: Job) -> list[iam.PolicyStatement]:
        """For the task role of one job: its copies and the secrets of its sources and destinations."""
        return [
            *(allow(_writes(d), self._copies(job, d)) for d in _buckets(job)),
            *_roles([job]),
            *self._secrets((*job.sources, *job.destinations, job.settings)),
            *self._named_keys(_ENCRYPT, job),
            *self._other_keys(_ENCRYPT),
            *taking_snapshots(self.stack, job, self.keys),
        ]

    def retention(self, jobs: Iterable[Job]) -> list[iam.PolicyStatement]:
        """For the Retention function: the copies of every job, and the secrets of destinations."""
        jobs = list(jobs)
        return [
            *(statement for job in jobs for d in _buckets(job) for statement in self._prune(job, d)),
            *_roles(jobs),
            *self._secrets([*(d for job in jobs for d in job.destinations), *logins_of_snapshots(jobs)]),
            *(statement for job in jobs for statement in self._named_keys(_DECRYPT, job)),
            *self._other_keys(_DECRYPT),
            *(statement for job in jobs for statement in removing_snapshots(self.stack, job)),
        ]

    def check(self, job: Job) -> list[iam.PolicyStatement]:
        """For the check of one job's copies: to list and read them, and the secrets to reach and decrypt them with."""
        encryptions = [job.encryption_for(source) for source in job.sources]
        prefix = host_prefix(job.hostname)
        return [
            *(self._listing(("s3:ListBucket",), d, [f"{d.prefix}{prefix}"]) for d in _buckets(job)),
            *(allow(_READ, self._copies(job, d)) for d in _buckets(job)),
            *_roles([job]),
            *self._secrets((*job.destinations, *encryptions)),
            *self._named_keys(_DECRYPT, job),
            *self._other_keys(_DECRYPT),
        ]

    def notify(self, jobs: Iterable[Job]) -> list[iam.PolicyStatement]:
        """For the Notify function: the secrets of channels, the topics that get messages, and flag files in buckets."""
        channels = [channel for job in jobs for channel in job.notifications]
        topics = sorted({c.topic_arn for c in channels if isinstance(c, Sns) and not c.aws_access_key_id})
        publish = [allow(("sns:Publish",), topics)] if topics else []
        flags = sorted({(c.bucket, c.key) for c in channels if isinstance(c, FlagFile) and c.bucket})
        objects = [f"arn:{self.stack.partition}:s3:::{bucket}/{key}" for bucket, key in flags]
        put = [allow(("s3:PutObject",), objects)] if objects else []
        return [*self._secrets(channels), *publish, *put, *self._other_keys(_ENCRYPT if objects else _DECRYPT)]

    def places(self, jobs: Iterable[Job]) -> list[tuple[str, str]]:
        """Buckets that the stack's own roles store in, each with what the keys of a job's host begin with."""
        return sorted({(d.bucket, f"{d.prefix}{host_prefix(job.hostname)}") for job in jobs for d in _buckets(job)})

    def _prune(self, job: Job, destination: S3) -> list[iam.PolicyStatement]:
        prefixes = [f"{destination.prefix}{prefix}" for prefix in _pruned(job, destination)]
        listing = self._listing(_LIST, destination, prefixes)
        settings = allow(_SETTINGS, [self._bucket(destination)])
        return [listing, settings, allow(_PRUNE, [f"{self._bucket(destination)}/{prefix}*" for prefix in prefixes])]

    def _listing(self, actions: Iterable[str], destination: S3, prefixes: Iterable[str]) -> iam.PolicyStatement:
        patterns = [pattern for prefix in prefixes for pattern in (prefix, f"{prefix}*")]
        return allow(actions, [self._bucket(destination)], {"StringLike": {"s3:prefix": patterns}})

    def _bucket(self, destination: S3) -> str:
        return f"arn:{self.stack.partition}:s3:::{destination.bucket}"

    def _copies(self, job: Job, destination: S3) -> list[str]:
        return [f"{self._bucket(destination)}/{destination.prefix}{host_prefix(job.hostname)}*"]

    def _secrets(self, models: Iterable[object]) -> list[iam.PolicyStatement]:
        found = sorted({reference for model in models for reference in references(model)})
        secrets = [self._secret(rest) for service, rest in found if service == "secretsmanager"]
        parameters = [self._parameter(rest) for service, rest in found if service in ("ssm", "ssm-secure")]
        statements = []
        if secrets:
            statements.append(allow(("secretsmanager:GetSecretValue",), secrets))
        if parameters:
            statements.append(allow(("ssm:GetParameter",), parameters))
        return statements

    def _secret(self, rest: str) -> str:
        """Secrets Manager adds six characters to a name; they are unknown until then."""
        name = rest.partition(":SecretString")[0]
        if name.startswith("arn:"):
            return name
        return self.stack.format_arn(
            service="secretsmanager",
            resource="secret",
            resource_name=f"{name}-??????",
            arn_format=ArnFormat.COLON_RESOURCE_NAME,
        )

    def _parameter(self, rest: str) -> str:
        name = rest.partition(":")[0].lstrip("/")
        return self.stack.format_arn(service="ssm", resource="parameter", resource_name=name)

    def _named_keys(self, actions: tuple[str, ...], job: Job) -> list[iam.PolicyStatement]:
        """Keys that destinations name: by ARN or id exactly, by alias under the condition of that alias."""
        statements = []
        for key in sorted({d.kms_key_id for d in _buckets(job) if d.kms_key_id}):
            name = key.rpartition(":")[2] if key.startswith("arn:") else key
            if name.startswith("alias/"):
                every = self.stack.format_arn(service="kms", resource="key", resource_name="*")
                statements.append(allow(actions, [every], {"StringEquals": {"kms:RequestAlias": name}}))
            elif key.startswith("arn:"):
                statements.append(allow(actions, [key]))
            else:
                exact = self.stack.format_arn(service="kms", resource="key", resource_name=key)
                statements.append(allow(actions, [exact]))
        return statements

    def _other_keys(self, actions: tuple[str, ...]) -> list[iam.PolicyStatement]:
        """Keys of the settings, only in the hands of the services that keep secrets and copies."""
        if not self.keys:
            return []
        services = [f"{name}.{self.stack.region}.amazonaws.com" for name in ("s3", "secretsmanager", "ssm")]
        return [allow(actions, list(self.keys), {"StringEquals": {"kms:ViaService": services}})]


def allow(
    actions: Iterable[str], resources: Iterable[str], conditions: Mapping[str, Mapping[str, object]] | None = None
) -> iam.PolicyStatement:
    """A statement that allows actions on resources."""
    return iam.PolicyStatement(actions=list(actions), resources=list(resources), conditions=conditions)


def _buckets(job: Job) -> list[S3]:
    """The destinations that the role itself is good for; keys of their own need no rights of the role."""
    return [d for d in job.destinations if _by_role(d)]  # type: ignore[misc]


def _by_role(destination: DestinationConfig) -> bool:
    return isinstance(destination, S3) and not (
        destination.aws_access_key_id or destination.endpoint_url or destination.role_arn
    )


def _pruned(job: Job, destination: S3) -> list[str]:
    """Where retention works: at the copies of the host, and if it is to, at those that the old tool has stored."""
    legacy = [legacy_prefix(source.id) for source in job.sources] if destination.retention_legacy else []
    return [host_prefix(job.hostname), *legacy]


def _writes(destination: S3) -> tuple[str, ...]:
    """A lock and tags need rights of their own, even when they come with the object."""
    lock = ("s3:PutObjectRetention",) if destination.object_lock else ()
    return (*_WRITE, *lock, *(("s3:PutObjectTagging",) if destination.tags else ()))


def _roles(jobs: Iterable[Job]) -> list[iam.PolicyStatement]:
    """Roles that are taken on for buckets of others: what those may do there, their owner says."""
    found = {
        d.role_arn
        for job in jobs
        for d in job.destinations
        if isinstance(d, S3) and d.role_arn and not d.aws_access_key_id
    }
    return [allow(("sts:AssumeRole",), sorted(found))] if found else []
