"""The job files of a deployment: read at synth, and refused with every problem of every file at once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backups.cloud.orchestration import JOB_NAME
from backups.destinations.rclone.destination import Rclone
from backups.errors import JobError, UsageError
from backups.job import Job, load_job
from backups.notifications.flagfile import FlagFile
from backups.secrets import REFERENCE, references
from backups.sources.folder import Folder
from backups.sources.rds import RDS

_OF_DATABASES = ("instancename", "clustername", "region", "snapshot", "subnet_group", "parameter_group")
_LOCAL_SERVICES = {"env": "an environment variable", "file": "a file"}


@dataclass(frozen=True)
class DeployedJob:
    """A job file that may be deployed."""

    path: Path
    job: Job

    @property
    def name(self) -> str:
        """The file's name without ``.json``."""
        return self.job.name


def read_jobs(directory: Path) -> list[DeployedJob]:
    """Every ``*.json`` of a directory, by name. Raises JobError with every problem of every file."""
    if not directory.is_dir():
        raise UsageError(f"{directory}: no such directory", hint="context 'jobs' names the directory of the job files")
    problems: list[str] = []
    jobs: list[DeployedJob] = []
    for path in sorted(directory.glob("*.json")):
        try:
            job = load_job(path)
        except UsageError as error:
            problems += error.problems if isinstance(error, JobError) else [error.message]
            continue
        problems += [f"{path}: {problem}" for problem in refusals(job)]
        jobs.append(DeployedJob(path, job))
    if problems:
        raise JobError(problems, hint="nothing was deployed")
    return jobs


def refusals(job: Job) -> list[str]:
    """Why a job that is fine on one machine can't be deployed; a line each, never the value of anything."""
    return [*_root(job), *_plugins(job), *_databases(job), *_secrets(job)]


def warnings(job: Job) -> Iterator[str]:
    """What someone who deploys the job should know."""
    for index, source in enumerate(job.declared):
        if isinstance(source, Folder) and not source.host:
            yield (
                f"sources[{index}]: without 'host', a deployed folder source reads the worker task's own file system: "
                "name the host, or mount into the task what it names"
            )
    for index, destination in enumerate(job.destinations):
        if isinstance(destination, Rclone):
            yield (
                f"destinations[{index}]: the retention function has no rclone, which is larger than a function may be: "
                "run 'backups prune' for it on a machine that has it"
            )


def _root(job: Job) -> Iterator[str]:
    if not re.fullmatch(JOB_NAME, job.name):
        yield "the file's name becomes the job's: use letters, digits, - and _, at most 63, before .json"
    if not job.settings.hostname:
        yield "hostname: required in a deployed job, since the worker's own name changes with every run"


def _plugins(job: Job) -> Iterator[str]:
    yield from job.unavailable()
    for index, destination in enumerate(job.destinations):
        if destination.type == "local":
            yield f"destinations[{index}]: type 'local' would store on the worker's own disk, which goes when it ends"
        if isinstance(destination, Rclone) and not destination.config:
            yield f"destinations[{index}].config: required in a deployed job, since a worker has no file of rclone's"
        for field in ("bucket", "prefix", "kms_key_id", "role_arn"):
            text = getattr(destination, field, "")
            if not _is_plain(text):
                yield f"destinations[{index}].{field}: must be a plain name, since rights are derived from it"
    for index, channel in enumerate(job.notifications):
        if isinstance(channel, FlagFile):
            yield from (f"notifications[{index}]{problem}" for problem in _flag_file(channel))
        if channel.type == "sns" and REFERENCE.search(getattr(channel, "topic_arn", "")):
            yield f"notifications[{index}].topic_arn: must be a plain ARN, since rights are derived from it"


def _flag_file(channel: FlagFile) -> Iterator[str]:
    if not channel.host and not channel.bucket:
        yield ": would write to the disk of a Lambda, which nobody sees: give the 'host' or the 'bucket' of the file"
    if channel.bucket and not _is_plain(channel.filename):
        yield ".filename: must be a plain key, since rights are derived from it"


def _databases(job: Job) -> Iterator[str]:
    for index, source in enumerate(job.declared):
        for field in _OF_DATABASES if isinstance(source, RDS) else ():
            if not _is_plain(getattr(source, field)):
                yield f"sources[{index}].{field}: must be a plain name, since rights are derived from it"


def _is_plain(text: str) -> bool:
    return not REFERENCE.search(text) and not set(text) & set("*?$")


def _secrets(job: Job) -> Iterator[str]:
    for path in job.plain_secrets():
        yield f"{path}: a secret in plain; put a reference to Secrets Manager or Parameter Store in its place"
    for kind in ("sources", "destinations", "notifications"):
        for index, plugin in enumerate(getattr(job, kind)):
            yield from _local_references(f"{kind}[{index}]", plugin)
    yield from _local_references("the root", job.settings)


def _local_references(path: str, model: object) -> Iterator[str]:
    for service in sorted({service for service, _ in references(model)} & set(_LOCAL_SERVICES)):
        yield (
            f"{path}: {{{{resolve:{service}:…}}}} names {_LOCAL_SERVICES[service]}, which a deployed job "
            "does not have; use secretsmanager or ssm-secure"
        )
