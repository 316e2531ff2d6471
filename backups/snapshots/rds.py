"""Snapshots of RDS instances and of Aurora clusters: two families of calls with the same meaning."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backups.aws_calls import as_list, as_mapping
from backups.errors import SourceError
from backups.snapshots.base import Shot, Snapshots, State
from backups.snapshots.calls import GONE, asking, cause_of
from backups.snapshots.tags import NAME_PREFIX, RUN

_STATES: dict[str, State] = {"available": "complete"}
_FAILED = ("failed", "incompatible", "inaccessible")
_TAKEN = frozenset({"DBSnapshotAlreadyExists", "DBClusterSnapshotAlreadyExistsFault"})


@dataclass(frozen=True)
class _Family:
    """What the calls and fields of instances or clusters are called."""

    begin: str
    copy: str
    describe: str
    delete: str
    owner: str
    """Field that names the instance or cluster."""
    snapshot: str
    """Field that names the snapshot."""
    one: str
    """Field of an answer that holds one snapshot."""
    arn: str


_INSTANCE = _Family(
    begin="create_db_snapshot",
    copy="copy_db_snapshot",
    describe="describe_db_snapshots",
    delete="delete_db_snapshot",
    owner="DBInstanceIdentifier",
    snapshot="DBSnapshotIdentifier",
    one="DBSnapshot",
    arn="DBSnapshotArn",
)
_CLUSTER = _Family(
    begin="create_db_cluster_snapshot",
    copy="copy_db_cluster_snapshot",
    describe="describe_db_cluster_snapshots",
    delete="delete_db_cluster_snapshot",
    owner="DBClusterIdentifier",
    snapshot="DBClusterSnapshotIdentifier",
    one="DBClusterSnapshot",
    arn="DBClusterSnapshotArn",
)


class RdsSnapshots(Snapshots):
    """Snapshots in one region; ``target`` is the name of an instance or cluster."""

    def __init__(self, rds: Any, target: str, *, cluster: bool = False) -> None:
        self.kind = "rds-cluster" if cluster else "rds"
        self.region = rds.meta.region_name
        self.target = target
        self._family = _CLUSTER if cluster else _INSTANCE
        self._rds = rds

    def begin(self, tags: Mapping[str, str], name: str) -> list[Shot]:
        family = self._family
        wanted = {family.owner: self.target, family.snapshot: name, "Tags": as_list(tags)}
        return [self._made(f"a snapshot of '{self.target}' could not be begun", family.begin, wanted, name, tags)]

    def look(self, ids: Sequence[str]) -> list[Shot]:
        found = []
        for id_ in ids:
            try:
                found += self._listed(**{self._family.snapshot: id_})
            except SourceError as error:
                if cause_of(error) not in GONE:
                    raise
        return found

    def copy(self, shot: Shot, tags: Mapping[str, str], kms_key: str) -> Shot:
        family = self._family
        wanted: dict[str, Any] = {
            f"Source{family.snapshot}": shot.arn,
            f"Target{family.snapshot}": shot.id,
            "SourceRegion": shot.region,
            "Tags": as_list(tags),
            "CopyTags": False,
        }
        if kms_key:
            wanted["KmsKeyId"] = kms_key
        return self._made(f"snapshot {shot.id} could not be copied", family.copy, wanted, shot.id, tags)

    def owned(self, tags: Mapping[str, str]) -> list[Shot]:
        # RDS filters by no tag, but tells the tags of each.
        listed = self._listed(SnapshotType="manual")
        return [shot for shot in listed if shot.id.startswith(NAME_PREFIX) and tags.items() <= shot.tags.items()]

    def mark(self, shots: Iterable[Shot], tags: Mapping[str, str]) -> None:
        for shot in shots:
            with asking(f"snapshot {shot.id} could not be tagged in {self.region}"):
                self._rds.add_tags_to_resource(ResourceName=shot.arn, Tags=as_list(tags))

    def delete(self, shot: Shot) -> None:
        try:
            with asking(f"snapshot {shot.id} could not be deleted in {self.region}"):
                getattr(self._rds, self._family.delete)(**{self._family.snapshot: shot.id})
        except SourceError as error:
            if cause_of(error) not in GONE:
                raise

    def _made(self, doing: str, call: str, wanted: dict[str, Any], name: str, tags: Mapping[str, str]) -> Shot:
        try:
            with asking(f"{doing} in {self.region}"):
                return self._shot(getattr(self._rds, call)(**wanted)[self._family.one])
        except SourceError as error:
            if cause_of(error) not in _TAKEN:
                raise
            # The answer to an earlier attempt was lost, if it is of this run.
            found = [shot for shot in self.look([name]) if shot.tags.get(RUN) == tags[RUN]]
            if not found:
                raise
            return found[0]

    def _listed(self, **wanted: str) -> list[Shot]:
        def pages() -> Iterator[Mapping[str, Any]]:
            for page in self._rds.get_paginator(self._family.describe).paginate(**wanted):
                yield from page[f"{self._family.one}s"]

        with asking(f"snapshots could not be listed in {self.region}"):
            return [self._shot(one) for one in pages()]

    def _shot(self, one: Mapping[str, Any]) -> Shot:
        family, status = self._family, str(one.get("Status", ""))
        state: State = "failed" if status.startswith(_FAILED) else _STATES.get(status, "pending")
        return Shot(
            id=one[family.snapshot],
            of=one[family.owner],
            region=self.region,
            state=state,
            # Missing until the snapshot is complete.
            started=one.get("SnapshotCreateTime") or dt.datetime.now(dt.UTC),
            percent=100 if state == "complete" else int(one.get("PercentProgress") or 0),
            size_gib=int(one.get("AllocatedStorage") or 0),
            said=status,
            encrypted=bool(one.get("Encrypted", one.get("StorageEncrypted"))),
            kms_key=one.get("KmsKeyId", ""),
            arn=one[family.arn],
            engine=" ".join(part for part in (one.get("Engine", ""), one.get("EngineVersion", "")) if part),
            tags=as_mapping(one.get("TagList")),
        )
