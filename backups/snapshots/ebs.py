"""Snapshots of EBS volumes: of one, or of all that are attached to an EC2 instance at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from backups.aws_calls import as_list, as_mapping
from backups.errors import SourceError
from backups.snapshots.base import Shot, Snapshots, State
from backups.snapshots.calls import GONE, asking, cause_of

_PAGE = 200
_STATES: dict[str, State] = {"completed": "complete", "error": "failed"}


class EbsSnapshots(Snapshots):
    """Snapshots in one region; ``target`` is a volume's or an instance's id."""

    kind = "ebs"

    def __init__(self, ec2: Any, target: str, *, exclude_boot_volume: bool = False) -> None:
        self.region = ec2.meta.region_name
        self.target = target
        self._exclude_boot_volume = exclude_boot_volume
        self._ec2 = ec2

    def begin(self, tags: Mapping[str, str], name: str) -> list[Shot]:  # noqa: ARG002 - AWS makes the id
        tagged = [{"ResourceType": "snapshot", "Tags": as_list(tags)}]
        description = tags["Name"]
        with asking(f"a snapshot of {self.target} could not be begun in {self.region}"):
            if self.target.startswith("vol-"):
                one = self._ec2.create_snapshot(VolumeId=self.target, Description=description, TagSpecifications=tagged)
                return [self._shot(one)]
            wanted = {"InstanceId": self.target, "ExcludeBootVolume": self._exclude_boot_volume}
            found = self._ec2.create_snapshots(
                InstanceSpecification=wanted, Description=description, TagSpecifications=tagged
            )["Snapshots"]
        if not found:
            raise SourceError(f"instance {self.target} has no volume to snapshot", hint="correct 'instance_id'")
        return [self._shot(one) for one in found]

    def look(self, ids: Sequence[str]) -> list[Shot]:
        # By a filter, not by name: what was begun just now may not be found yet, and that is no error.
        return list(self._listed([{"Name": "snapshot-id", "Values": list(ids)}]))

    def copy(self, shot: Shot, tags: Mapping[str, str], kms_key: str) -> Shot:
        encryption = {"Encrypted": True, "KmsKeyId": kms_key} if kms_key else {}
        with asking(f"snapshot {shot.id} could not be copied to {self.region}"):
            made = self._ec2.copy_snapshot(
                SourceRegion=shot.region,
                SourceSnapshotId=shot.id,
                Description=tags["Name"],
                TagSpecifications=[{"ResourceType": "snapshot", "Tags": as_list(tags)}],
                **encryption,
            )
        return Shot(id=made["SnapshotId"], of=shot.of, region=self.region, state="pending", started=shot.started)

    def owned(self, tags: Mapping[str, str]) -> list[Shot]:
        return list(self._listed([{"Name": f"tag:{name}", "Values": [value]} for name, value in tags.items()]))

    def mark(self, shots: Iterable[Shot], tags: Mapping[str, str]) -> None:
        ids = [shot.id for shot in shots]
        with asking(f"snapshots {', '.join(ids)} could not be tagged in {self.region}"):
            self._ec2.create_tags(Resources=ids, Tags=as_list(tags))

    def delete(self, shot: Shot) -> None:
        try:
            with asking(f"snapshot {shot.id} could not be deleted in {self.region}"):
                self._ec2.delete_snapshot(SnapshotId=shot.id)
        except SourceError as error:
            if cause_of(error) not in GONE:
                raise

    def _listed(self, filters: list[dict[str, Any]]) -> Iterator[Shot]:
        with asking(f"snapshots could not be listed in {self.region}"):
            pages = self._ec2.get_paginator("describe_snapshots").paginate(
                OwnerIds=["self"], Filters=filters, PaginationConfig={"PageSize": _PAGE}
            )
            for page in pages:
                yield from map(self._shot, page["Snapshots"])

    def _shot(self, one: Mapping[str, Any]) -> Shot:
        progress = str(one.get("Progress") or "0").rstrip("%")
        state: State = _STATES.get(one.get("State", ""), "pending")
        return Shot(
            id=one["SnapshotId"],
            of=one.get("VolumeId", ""),
            region=self.region,
            state=state,
            started=one["StartTime"],
            percent=100 if state == "complete" else int(progress) if progress.isdigit() else 0,
            size_gib=int(one.get("VolumeSize", 0)),
            said=one.get("StateMessage", "") or one.get("State", ""),
            encrypted=bool(one.get("Encrypted")),
            kms_key=one.get("KmsKeyId", ""),
            tags=as_mapping(one.get("Tags")),
        )
