"""Removes temporary instances and clusters, and goes on while RDS refuses. The one place that deletes.

What is not called and tagged as temporary is never touched, whoever asks.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from backups.aws_calls import as_mapping, code_of, refusals
from backups.context import Task
from backups.rds.naming import EXPIRES_TAG, PREFIX, RUN_TAG, run_tag

log = logging.getLogger("backups.rds")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 20.0
_GONE = frozenset({"DBInstanceNotFound", "DBClusterNotFoundFault"})
_STATE = frozenset({"InvalidDBInstanceState", "InvalidDBClusterStateFault"})
_DENIED = frozenset({"AccessDenied", "AccessDeniedException"})
"""Rights to delete hold for what has our tags: so what does not exist is refused, rather than not found."""

_ENDING = "deleting"


@dataclass(frozen=True)
class Leftover:
    """A temporary instance or cluster that is there and not being deleted."""

    name: str
    cluster: bool
    status: str
    tags: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{'cluster' if self.cluster else 'instance'} {self.name}"

    def expired(self, now: dt.datetime) -> bool:
        """Whether nobody can need it any more."""
        try:
            return dt.datetime.fromisoformat(self.tags[EXPIRES_TAG]) <= now
        except (ValueError, TypeError):  # somebody changed it: neither a moment nor a reason to keep it for ever
            return True


class RefusedError(Exception):
    """RDS does not delete it now; the text says why."""


def leftovers(rds: Any) -> list[Leftover]:
    """Every temporary instance and cluster of the region that is not being deleted.

    A cluster stands for its instance too, which goes with it. Raises botocore's errors.
    """
    found = list(_all(rds))
    clusters = {one.name for one in found if one.cluster}
    return [one for one in found if one.status != _ENDING and (one.cluster or one.name not in clusters)]


def remove_expired(rds: Any, task: Task, now: dt.datetime) -> list[str]:
    """Remove what earlier runs of the same source have left whose time is over, as when their machine lost its power.

    Returns warnings for the report. One that is refused may go next time, or by the janitor; it stops nothing.
    """
    warnings: list[str] = []
    try:
        for one in [one for one in leftovers(rds) if one.expired(now) and _of(one, task)]:
            remove(rds, one.name, cluster=one.cluster, patience=lambda: 0)
            warnings.append(f"temporary {one} was left by run {one.tags[RUN_TAG]}, and removed")
    except RefusedError as refused:
        warnings.append(f"what an earlier run has left can't be removed yet: {refused}")
    except refusals() as error:
        warnings.append(f"what earlier runs may have left can't be looked for: {error}")
    return warnings


def _of(one: Leftover, task: Task) -> bool:
    """Whether it was made for the same source of the same job, in whatever run."""
    run = one.tags[RUN_TAG].removeprefix(f"{task.job}/").partition("/")[0]
    return one.tags[RUN_TAG] == run_tag(task.job, run, task.source)


def _all(rds: Any) -> Iterator[Leftover]:
    for page in rds.get_paginator("describe_db_instances").paginate():
        for one in page["DBInstances"]:
            tags = as_mapping(one.get("TagList", []))
            if _temporary(one["DBInstanceIdentifier"], tags):
                yield Leftover(one["DBInstanceIdentifier"], False, one["DBInstanceStatus"], tags)
    for page in rds.get_paginator("describe_db_clusters").paginate():
        for one in page["DBClusters"]:
            tags = as_mapping(one.get("TagList", []))
            if _temporary(one["DBClusterIdentifier"], tags):
                yield Leftover(one["DBClusterIdentifier"], True, one["Status"], tags)


def _temporary(name: str, tags: dict[str, str]) -> bool:
    return name.startswith(PREFIX) and RUN_TAG in tags and EXPIRES_TAG in tags


def remove(rds: Any, name: str, *, cluster: bool, patience: Callable[[], float]) -> bool:
    """Delete one, with a cluster's instance; return once RDS has agreed, or it was gone: whether there was one.

    ``patience`` says how many seconds to go on trying, counted from now, and is asked before each new try.
    Raises RefusedError when RDS would not do it by then.
    """
    if not name.startswith(PREFIX):
        raise ValueError(f"{name} is no temporary instance")
    began, pause = time.monotonic(), _FIRST_PAUSE
    while True:
        try:
            found = _delete_instance(rds, name)
            if cluster:
                found = _delete_cluster(rds, name) or found
        except refusals() as error:
            log.warning("removing %s: %s", name, error)
            if time.monotonic() + pause - began > patience():
                raise RefusedError(str(error)) from None
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            continue
        log.info("removed %s", name)
        return found


def _delete_instance(rds: Any, name: str) -> bool:
    """Whether there was one that was not being deleted yet."""

    def delete() -> None:
        rds.delete_db_instance(DBInstanceIdentifier=name, SkipFinalSnapshot=True, DeleteAutomatedBackups=True)

    def status() -> str:
        found = rds.describe_db_instances(DBInstanceIdentifier=name)["DBInstances"]
        return str(found[0]["DBInstanceStatus"])

    return _delete(delete, status)


def _delete_cluster(rds: Any, name: str) -> bool:
    def delete() -> None:
        rds.delete_db_cluster(DBClusterIdentifier=name, SkipFinalSnapshot=True)

    def status() -> str:
        return str(rds.describe_db_clusters(DBClusterIdentifier=name)["DBClusters"][0]["Status"])

    return _delete(delete, status)


def _delete(delete: Callable[[], None], status: Callable[[], str]) -> bool:
    try:
        delete()
    except refusals() as error:
        code = code_of(error)
        if code in _GONE or (code in _STATE | _DENIED and _is_ending(status)):
            return False
        raise
    return True


def _is_ending(status: Callable[[], str]) -> bool:
    """Whether it is being deleted, or gone by now: then a refusal means nothing."""
    try:
        return status() == _ENDING
    except refusals() as error:
        if code_of(error) in _GONE:
            return True
        raise
