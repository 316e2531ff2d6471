"""The state bucket of a deployed stack: the only place where the orchestrator, workers and small Lambdas meet.

    runs/{job}/{run}/job.json                              the job file, as it was when the run began
    runs/{job}/{run}/plan.json                             Plan, by the orchestrator
    runs/{job}/{run}/items.json                            what the distributed Map reads: a source and its time limit
    runs/{job}/{run}/progress/{source}.json                ProgressRecord, by the worker, every few seconds
    runs/{job}/{run}/results/{source}.json                 Result, by the worker; by Settle when the worker died
    runs/{job}/{run}/pruned/{source}/{destination}.json    Pruned, by Retention
    runs/{job}/{run}/retention/{destination}/{turn}.json   WorkRecord, by Retention, where it went on in another turn
    runs/{job}/{run}/report.json                           RunReport, by Report
    runs/{job}/{run}/notified/{channel}.json               Notified, by Notify
    outcomes/{job}/{channel}.json                          Told, by Notify; what a channel knows that hears of changes
    notices/{job}/{run}/notice.json, job.json              Notice and the job file it goes by, by Watch
    watch/{job}.json                                       Seen, by Watch; what it knows of a job from look to look
    verification/{job}.json                                Verification, by the scheduled check; how the copies stand
    verification/{job}/{destination}/{source}.json         Ledger, by the same; which copy was read back when
    verification/{job}/lease.json                          Lease, by the same; which check is at work

Records only: never a secret, never a byte of a backup.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from backups.errors import BackupsError
from backups.freshness import Seen
from backups.progress import ProgressRecord
from backups.pruning.work import WorkRecord
from backups.records import Notice, Notified, Plan, Pruned, Record, Result, RunReport, Told
from backups.verification.lease import Lease
from backups.verification.ledger import Ledger
from backups.verification.status import Verification

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_PARALLEL = 16  # a run may have ten thousand records; one by one they would take minutes
_GONE = frozenset({"NoSuchKey", "404"})
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})

R = TypeVar("R", bound=Record)
T = TypeVar("T")


@dataclass(frozen=True)
class MapItem:
    """One item of the distributed Map. Only names and numbers, since Step Functions shows it to anyone."""

    source: str
    timeout_seconds: int
    cleanup: bool = False
    """Whether something may be left of its worker that costs money."""


class State:
    """Reads and writes the records of runs. Every method raises BackupsError when the bucket refuses."""

    def __init__(self, bucket: str, client: S3Client | None = None) -> None:
        self.bucket = bucket
        self._s3: S3Client = client or _client()

    def put_job_file(self, job: str, run: str, content: bytes) -> str:
        """Store the job file that a run goes by, and return its key."""
        key = _key(job, run, "job")
        self._put(key, content.decode())
        return key

    def put_plan(self, plan: Plan, items: Sequence[MapItem]) -> str:
        """Store a plan with the items of its Map, and return the key of the items."""
        self._put(_key(plan.job, plan.run, "plan"), plan.model_dump_json())
        key = _key(plan.job, plan.run, "items")
        self._put(key, json.dumps([vars(item) for item in items]))
        return key

    def plan(self, job: str, run: str) -> Plan | None:
        """The plan of a run; None when it was never planned."""
        return self._get(_key(job, run, "plan"), Plan)

    def put_result(self, result: Result, *, replace: bool = True) -> bool:
        """Store what became of a source. Without ``replace`` an existing record stays, and the answer is False."""
        key = _key(result.job, result.run, "results", result.source)
        return self._put(key, result.model_dump_json(), replace=replace)

    def result(self, job: str, run: str, source: str) -> Result | None:
        """What became of a source; None when nothing was recorded."""
        return self._get(_key(job, run, "results", source), Result)

    def results(self, job: str, run: str) -> list[Result]:
        """What became of every source so far."""
        return self._all(_prefix(job, run, "results"), Result)

    def results_of(self, job: str, run: str, sources: Iterable[str]) -> list[Result]:
        """What became of some sources; those of which nothing was recorded are left out."""
        with ThreadPoolExecutor(_PARALLEL) as pool:
            found = pool.map(lambda source: self.result(job, run, source), sources)
            return [result for result in found if result]

    def put_progress(self, job: str, run: str, progress: ProgressRecord) -> None:
        """Store how far a source is."""
        self._put(_key(job, run, "progress", progress.source), progress.model_dump_json())

    def progress(self, job: str, run: str) -> list[ProgressRecord]:
        """How far every source is that was started."""
        return self._all(_prefix(job, run, "progress"), ProgressRecord)

    def put_pruned(self, job: str, run: str, records: Iterable[Pruned]) -> None:
        """Store what retention did, a record for each source and destination."""

        def put(record: Pruned) -> None:
            self._put(_key(job, run, "pruned", record.source, record.destination), record.model_dump_json())

        with ThreadPoolExecutor(_PARALLEL) as pool:
            list(pool.map(put, records))  # the list is what raises the error of any of them

    def pruned(self, job: str, run: str) -> list[Pruned]:
        """What retention did in a run."""
        return self._all(_prefix(job, run, "pruned"), Pruned)

    def put_retention(self, job: str, run: str, destination: str, turn: int, work: WorkRecord) -> None:
        """Store where a turn of retention begins."""
        self._put(_key(job, run, "retention", destination, str(turn)), work.model_dump_json())

    def retention(self, job: str, run: str, destination: str, turn: int) -> WorkRecord | None:
        """Where a turn of retention begins; None when there is no such turn."""
        return self._get(_key(job, run, "retention", destination, str(turn)), WorkRecord)

    def put_report(self, report: RunReport) -> None:
        """Store the report of a run."""
        self._put(_key(report.job, report.run, "report"), report.model_dump_json())

    def report(self, job: str, run: str) -> RunReport | None:
        """The report of a run; None while it is going."""
        return self._get(_key(job, run, "report"), RunReport)

    def put_notified(self, job: str, run: str, notified: Notified) -> None:
        """Store what became of a channel's message."""
        self._put(_key(job, run, "notified", notified.channel), notified.model_dump_json())

    def notified(self, job: str, run: str) -> list[Notified]:
        """What became of every channel's message."""
        return self._all(_prefix(job, run, "notified"), Notified)

    def put_told(self, job: str, channel: str, told: Told) -> None:
        """Store what a channel was last told."""
        self._put(_outcome_key(job, channel), told.model_dump_json())

    def told(self, job: str, channel: str) -> Told | None:
        """What a channel was last told; None when nothing was recorded."""
        return self._get(_outcome_key(job, channel), Told)

    def put_notice(self, notice: Notice, job_file: bytes) -> str:
        """Store what the watch tells, with the job file that its channels are in; returns that one's key."""
        where = f"notices/{notice.job}/{notice.run}"
        self._put(f"{where}/notice.json", notice.model_dump_json())
        self._put(f"{where}/job.json", job_file.decode())
        return f"{where}/job.json"

    def notice(self, job: str, run: str) -> Notice | None:
        """What the watch told; None when there is no such notice."""
        return self._get(f"notices/{job}/{run}/notice.json", Notice)

    def put_notice_told(self, job: str, run: str, notified: Notified) -> None:
        """Store what became of a notice at a channel."""
        self._put(f"notices/{job}/{run}/notified/{notified.channel}.json", notified.model_dump_json())

    def runs(self, job: str, *, after: str) -> list[str]:
        """Names of the job's runs that come after a name, sorted."""
        prefix = f"runs/{job}/"
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self.bucket, Prefix=prefix, Delimiter="/", StartAfter=f"{prefix}{after}"
        )

        def names() -> list[str]:
            return [
                found["Prefix"].removeprefix(prefix).rstrip("/")
                for page in pages
                for found in page.get("CommonPrefixes", [])
            ]

        return self._ask(f"list {prefix}", names, {})

    def reports(self, job: str, runs: Sequence[str]) -> list[RunReport]:
        """The reports of those of the runs that have ended."""
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return [report for report in pool.map(lambda run: self.report(job, run), runs) if report]

    def put_seen(self, seen: Seen) -> None:
        """Store what the watch knows of a job."""
        self._put(f"watch/{seen.job}.json", seen.model_dump_json())

    def seen(self, job: str) -> Seen | None:
        """What the watch knew of a job at its last look; None before the first."""
        return self._get(f"watch/{job}.json", Seen)

    def put_verification(self, verification: Verification) -> None:
        """Store how a job's copies stand."""
        self._put(f"verification/{verification.job}.json", verification.model_dump_json())

    def verification(self, job: str) -> Verification | None:
        """How a job's copies stood after its last scheduled check; None before the first."""
        key = f"verification/{job}.json"
        # Whoever may list only these keys is told of a missing one that it is forbidden: so look first.
        there = self._ask(f"list {key}", lambda: list(self._keys(key)), {})
        return self._get(key, Verification) if key in there else None

    def put_ledger(self, job: str, ledger: Ledger) -> None:
        """Store what checks know of the copies of a source at a destination."""
        self._put(f"{_ledgers(job)}{ledger.destination}/{ledger.source}.json", ledger.model_dump_json())

    def ledgers(self, job: str) -> list[Ledger]:
        """Everything that checks know of a job's copies."""
        return self._all(_ledgers(job), Ledger, but=(_lease(job),))

    def lease(self, job: str) -> tuple[Lease, str] | None:
        """Which check is or was at work, and the version of this record; None when there was none."""

        def get() -> tuple[Lease, str]:
            found = self._s3.get_object(Bucket=self.bucket, Key=_lease(job))
            return Lease.model_validate_json(found["Body"].read()), found["ETag"]

        return self._ask(f"read {_lease(job)}", get, dict.fromkeys(_GONE))

    def put_lease(self, job: str, lease: Lease, version: str) -> str:
        """Replace this version, or create the first when that is empty; the new one, empty when it is another now."""
        condition: dict[str, Any] = {"IfMatch": version} if version else {"IfNoneMatch": "*"}

        def put() -> str:
            body = lease.model_dump_json().encode()
            return self._s3.put_object(Bucket=self.bucket, Key=_lease(job), Body=body, **condition)["ETag"]

        return self._ask(f"write {_lease(job)}", put, dict.fromkeys(_TAKEN | _GONE, ""))

    def _put(self, key: str, content: str, *, replace: bool = True) -> bool:
        condition: dict[str, Any] = {} if replace else {"IfNoneMatch": "*"}

        def put() -> bool:
            self._s3.put_object(
                Bucket=self.bucket, Key=key, Body=content.encode(), ContentType="application/json", **condition
            )
            return True

        return self._ask(f"write {key}", put, {code: False for code in _TAKEN} if condition else {})

    def _get(self, key: str, model: type[R]) -> R | None:
        def get() -> R | None:
            body = self._s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()
            return model.model_validate_json(body)

        return self._ask(f"read {key}", get, dict.fromkeys(_GONE))

    def _all(self, prefix: str, model: type[R], but: Sequence[str] = ()) -> list[R]:
        keys = self._ask(f"list {prefix}", lambda: [key for key in self._keys(prefix) if key not in but], {})
        with ThreadPoolExecutor(_PARALLEL) as pool:
            return [record for record in pool.map(lambda key: self._get(key, model), keys) if record]

    def _keys(self, prefix: str) -> Iterator[str]:
        for page in self._s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix):
            for item in page.get("Contents", []):
                yield item["Key"]

    def _ask(self, what: str, call: Callable[[], T], answers: Mapping[str, T]) -> T:
        """The call's answer, or for an error code that stands for one, that one."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            return call()
        except ClientError as error:
            code = error.response.get("Error", {}).get("Code", "")
            if code in answers:
                return answers[code]
            raise self._refused(what, error) from None
        except (BotoCoreError, ValueError) as error:
            raise self._refused(what, error) from None

    def _refused(self, what: str, error: Exception) -> BackupsError:
        hint = "does this role reach the state bucket and its key?"
        return BackupsError(f"could not {what} in state bucket {self.bucket}: {error}", hint=hint)


def _key(job: str, run: str, *parts: str) -> str:
    return f"{_prefix(job, run, *parts)[:-1]}.json"


def _ledgers(job: str) -> str:
    return f"verification/{job}/"


def _lease(job: str) -> str:
    return f"{_ledgers(job)}lease.json"


def _outcome_key(job: str, channel: str) -> str:
    return f"outcomes/{job}/{channel}.json"


def _prefix(job: str, run: str, *parts: str) -> str:
    return "".join(f"{part}/" for part in ("runs", job, run, *parts))


def _client() -> S3Client:
    import boto3
    from botocore.config import Config

    retries: Any = {"mode": "standard", "max_attempts": 5}
    return boto3.client("s3", config=Config(retries=retries, max_pool_connections=_PARALLEL))
