"""Runs one source from beginning to end. What the worker does in the cloud, and one machine for each source."""

from __future__ import annotations

import contextlib
import datetime as dt
import logging
import platform
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace

from backups.commands import version_of
from backups.compression import version_argv
from backups.context import Context, Task
from backups.encryption import gpg_version
from backups.errors import BackupsError
from backups.fanout import PATIENCE, Patience
from backups.job import Encryption, Job
from backups.naming import Compression
from backups.pipeline import Recipe, Streamed
from backups.progress import Progress
from backups.records import Manifest, Outcome, PlanItem, Result, StoredAt
from backups.sources.base import Source, SourceStream
from backups.storing import Connections, Storing

log = logging.getLogger("backups.running")


def run_source(
    job: Job,
    item: PlanItem,
    context: Context,
    progress: Progress | None = None,
    *,
    patience: Patience = PATIENCE,
) -> Result:
    """Store one source at all its destinations. Raises UsageError when ``item`` is not of this job.

    Never raises for what can go wrong in the field: the result then says ``failed`` and why, with every known
    secret masked. When ``context.cancel`` was set the result says that it was stopped; the caller looks at
    ``context.cancel.stopped``.
    """
    progress = progress or Progress(item.source, item.name)
    started = _now()
    source = job.source(item.source)
    task = Task(
        job=item.job,
        run=item.run,
        hostname=job.hostname,
        source=item.source,
        key=item.key,
        time_limit=job.time_limit_for(source),
        tell=progress.enter,
    )
    context = replace(context, task=task)
    blank = Result(
        job=item.job,
        run=item.run,
        hostname=job.hostname,
        source=item.source,
        name=item.name,
        type=item.type,
        label=source.label,
        outcome=Outcome.FAILED,
        started=started,
        finished=started,
    )
    try:
        result = _store(_Work(job, source, item, context, progress, patience), blank)
    except BackupsError as error:
        result = blank.model_copy(update={"error": error.message, "hint": error.hint})
    except Exception as error:
        trace = context.secrets.scrub(traceback.format_exc())
        log.error("source %s: %s", item.source, trace)  # noqa: TRY400 - the traceback itself would not be masked
        result = blank.model_copy(update={"error": f"unexpected {type(error).__name__}: {error}"})
    progress.enter(result.outcome.value)
    return scrubbed(result.model_copy(update={"finished": _now()}), context)


def scrubbed(result: Result, context: Context) -> Result:
    """The result with every known secret masked in its texts: it goes to logs, messages and other processes.

    Only texts that came from elsewhere: a short secret may well be part of a key or a number.
    """
    scrub = context.secrets.scrub
    return result.model_copy(
        update={
            "error": scrub(result.error),
            "hint": scrub(result.hint),
            "warnings": tuple(map(scrub, result.warnings)),
            "destinations": tuple(
                place.model_copy(update={"error": scrub(place.error), "hint": scrub(place.hint)})
                for place in result.destinations
            ),
        }
    )


@dataclass(frozen=True)
class _Work:
    job: Job
    source: Source
    item: PlanItem
    context: Context
    progress: Progress
    patience: Patience

    def recipe(self) -> Recipe:
        return Recipe(
            compression=self.job.compression_for(self.source),
            encryption=self.context.secrets.resolve(self.job.encryption_for(self.source)),
            time_limit=self.job.time_limit_for(self.source),
            patience=replace(self.patience, slow_factor=self.job.settings.slow_factor),
        )


def _store(work: _Work, blank: Result) -> Result:
    item, context, progress = work.item, work.context, work.progress
    recipe = work.recipe()
    resolved = context.secrets.resolve(work.source)
    connections = Connections([work.job.destination(id_) for id_ in item.destinations], context)
    try:
        context.cancel.check()
        progress.enter("opening")
        storing = Storing(item.key, connections, recipe, context, progress)
        with _opened(resolved, context) as opened:
            with opened.stream as stream:
                progress.enter("streaming")
                streamed, places = storing.first_pass(stream)
            progress.enter("storing")
            manifest = _manifest(blank, item, resolved, recipe, streamed, context)
            # Good copies do not wait for their manifests: copying them to those that failed may take long.
            places = storing.write_manifests(places, manifest)
            places = storing.second_chances(places, streamed, manifest)
            opened.stored = any(place.status == "stored" for place in places)
    finally:
        connections.close()
    return _result(blank, item, streamed, places)


@dataclass
class _Opened:
    stream: SourceStream
    stored: bool = False


@contextlib.contextmanager
def _opened(source: Source, context: Context) -> Iterator[_Opened]:
    """A source's stream, which is told at the end whether a verified copy of it stands anywhere."""
    opened = _Opened(source.open(context))
    try:
        yield opened
    finally:
        opened.stream.settle(opened.stored)


def _result(blank: Result, item: PlanItem, streamed: Streamed, places: list[StoredAt]) -> Result:
    failed = [place for place in places if place.status == "failed"]
    outcome = Outcome.STORED
    if failed:
        outcome = Outcome.FAILED if len(failed) == len(places) else Outcome.PARTIAL
    return blank.model_copy(
        update={
            "outcome": outcome,
            "key": item.key if outcome is not Outcome.FAILED else "",
            "plain_size": streamed.plain_size,
            "size": streamed.size,
            "sha256": streamed.sha256,
            "destinations": tuple(places),
            "warnings": streamed.warnings,
            "error": "; ".join(f"{place.destination}: {place.error}" for place in failed),
            "hint": "; ".join(dict.fromkeys(place.hint for place in failed if place.hint)),
        }
    )


def _manifest(
    blank: Result, item: PlanItem, source: Source, recipe: Recipe, streamed: Streamed, context: Context
) -> Manifest:
    return Manifest(
        job=item.job,
        run=item.run,
        hostname=blank.hostname,
        source=item.source,
        type=item.type,
        key=item.key,
        started=blank.started,
        finished=_now(),
        plain_size=streamed.plain_size,
        size=streamed.size,
        sha256=streamed.sha256,
        compression=recipe.compression.value,
        encryption=_encryption_kind(recipe.encryption),
        tools=_tools(source, recipe.compression),
        warnings=tuple(map(context.secrets.scrub, streamed.warnings)),
    )


def _encryption_kind(encryption: Encryption) -> str:
    return "passphrase" if encryption.passphrase is not None else "recipients"


def _tools(source: Source, compression: Compression) -> dict[str, str]:
    """Versions of what made the copy: whoever restores it in ten years may need them."""
    argv = version_argv(compression)
    versions = {"gpg": ".".join(map(str, gpg_version())), "python": platform.python_version(), **source.tools()}
    if argv:
        versions[compression.value] = version_of(argv)
    return versions


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
