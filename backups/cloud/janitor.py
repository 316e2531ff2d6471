"""Removes what others left behind: temporary database instances, uploads that never ended, staged objects.

A source's worker removes its own. This is for the worker that was killed, and for the database service that refused:
once after each such worker, and every hour for whatever is still there.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from backups.aws_calls import client, refusals
from backups.cloud.state import State
from backups.errors import BackupsError
from backups.rds.naming import RUN_TAG, run_tag
from backups.rds.removal import Leftover, RefusedError, leftovers, remove
from backups.staging import PREFIX as STAGING

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

log = logging.getLogger("backups.janitor")

STAGED_FOR = dt.timedelta(days=1)
UPLOADING_FOR = dt.timedelta(days=4)
"""A run takes three days at most, so no upload that began before this can still be going."""

_DELETED_AT_ONCE = 1_000
_NOT_YET = "can't be removed yet: "


class Uploads(BaseModel):
    """Where multipart uploads of this stack begin: a bucket, and what its keys begin with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bucket: str
    prefix: str = ""


class Worked(BaseModel):
    """The source of a run whose worker has ended."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    job: str
    run: str
    source: str


@dataclass
class Swept:
    """What was removed, and what could not be."""

    instances: list[str] = field(default_factory=list)
    uploads: int = 0
    staged: int = 0
    problems: list[str] = field(default_factory=list)

    def check(self) -> None:
        """Raises BackupsError when something is still there that should not be."""
        if self.problems:
            hint = "the janitor tries again every hour; docs/operations.md says what to do meanwhile"
            raise BackupsError("; ".join(self.problems), hint=hint)


@dataclass(frozen=True)
class Janitor:
    """Works for one stack."""

    state: State
    regions: Sequence[str]
    """Where the jobs' databases are."""
    s3: S3Client
    databases: Callable[[str], Any] = lambda region: client("rds", region)
    """Makes the client of RDS in a region."""

    def clean_up(self, worked: Worked, *, seconds: float) -> Swept:
        """Remove what a worker left that has ended, however it did; its result then tells of it.

        Goes on trying for so many seconds, and leaves the rest to the hourly sweep.
        """
        own = run_tag(worked.job, worked.run, worked.source)
        swept = self._instances(lambda found: found.tags[RUN_TAG] == own, seconds)
        result = self.state.result(worked.job, worked.run, worked.source)
        if result and (swept.instances or swept.problems):
            told = [f"temporary {name} was left by the worker, and removed" for name in swept.instances]
            kept = [warning for warning in result.warnings if not warning.startswith(_NOT_YET)]  # of an earlier try
            warnings = (*kept, *told, *swept.problems)
            self.state.put_result(result.model_copy(update={"warnings": warnings}))
        return swept

    def sweep(self, places: Iterable[Uploads], *, now: dt.datetime, seconds: float) -> Swept:
        """Remove every temporary instance that nobody can need any more, then uploads and staged objects."""
        swept = self._instances(lambda found: self._is_over(found, now), seconds)
        for place in (Uploads(bucket=self.state.bucket), *places):
            with _noted(swept, f"uploads to {place.bucket}"):
                swept.uploads += self._abort(place, now - UPLOADING_FOR)
        with _noted(swept, f"staged objects of {self.state.bucket}"):
            swept.staged = self._unstage(now - STAGED_FOR)
        return swept

    def _is_over(self, found: Leftover, now: dt.datetime) -> bool:
        """Its time is over, or its source has a result, which a worker writes when it has ended."""
        if found.expired(now):
            return True
        job, _, rest = found.tags[RUN_TAG].partition("/")
        run, _, source = rest.partition("/")
        return bool(run and source and self.state.result(job, run, source))

    def _instances(self, wanted: Callable[[Leftover], bool], seconds: float) -> Swept:
        swept, end = Swept(), time.monotonic() + seconds
        for region in self.regions:
            with _noted(swept, f"temporary instances in {region}"):
                rds = self.databases(region)
                for one in [one for one in leftovers(rds) if wanted(one)]:
                    self._remove(rds, one, swept, end)
        return swept

    def _remove(self, rds: Any, one: Leftover, swept: Swept, end: float) -> None:
        began = time.monotonic()
        try:
            if remove(rds, one.name, cluster=one.cluster, patience=lambda: end - began):
                log.warning("removed %s, which was left of %s", one, one.tags[RUN_TAG])
                swept.instances.append(str(one))
        except RefusedError as refused:
            swept.problems.append(f"{_NOT_YET}temporary {one} of {one.tags[RUN_TAG]}: {refused}")

    def _abort(self, place: Uploads, before: dt.datetime) -> int:
        count = 0
        pages = self.s3.get_paginator("list_multipart_uploads").paginate(Bucket=place.bucket, Prefix=place.prefix)
        for page in pages:
            for upload in page.get("Uploads", []):
                if upload["Initiated"] < before:
                    self.s3.abort_multipart_upload(Bucket=place.bucket, Key=upload["Key"], UploadId=upload["UploadId"])
                    log.warning("aborted an upload to s3://%s/%s", place.bucket, upload["Key"])
                    count += 1
        return count

    def _unstage(self, before: dt.datetime) -> int:
        count = 0
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=self.state.bucket, Prefix=STAGING)
        for page in pages:
            old = [item["Key"] for item in page.get("Contents", []) if item["LastModified"] < before]
            for first in range(0, len(old), _DELETED_AT_ONCE):
                keys = old[first : first + _DELETED_AT_ONCE]
                answer = self.s3.delete_objects(
                    Bucket=self.state.bucket, Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True}
                )
                for error in answer.get("Errors", []):
                    raise BackupsError(f"{error.get('Key')}: {error.get('Code')}: {error.get('Message')}")
                count += len(keys)
        if count:
            log.warning("removed %d staged objects of s3://%s", count, self.state.bucket)
        return count


@contextmanager
def _noted(swept: Swept, what: str) -> Iterator[None]:
    """One kind of leftovers must not keep the others from being removed: what went wrong is said at the end."""
    try:
        yield
    except Exception as error:
        if not isinstance(error, (BackupsError, *refusals())):
            raise
        swept.problems.append(f"{what}: {error}")
