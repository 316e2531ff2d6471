"""EBS snapshots: complete only after a while, of all volumes of an instance by one call, tagged when they are copied.

MiniStack's are complete at once. Volumes have no content here, so that a snapshot has none either.
"""

from __future__ import annotations

import re
from typing import Any

from local_cloud.seams.background import later
from local_cloud.seams.faults import Faults, faults_of
from local_cloud.seams.patching import Pinned, service
from local_cloud.settings import Settings

Parameters = dict[str, Any]
Record = dict[str, Any]
Reply = tuple[int, dict[str, str], bytes]

_BEGUN = re.compile(rb"<snapshotId>(snap-\w+)</snapshotId>")


class EbsSnapshots:
    """What EC2 does with snapshots."""

    def __init__(self, ec2: Pinned, faults: Faults) -> None:
        self._ec2 = ec2
        self._faults = faults
        self._own: dict[str, Any] = {
            action: ec2._ACTION_MAP.get(action) for action in ("CreateSnapshot", "CopySnapshot")
        }

    def create(self, p: Parameters) -> Reply:
        """Of one volume."""
        reply: Reply = self._own["CreateSnapshot"](p)
        if reply[0] != 200:
            return reply
        return self._xml("CreateSnapshot", self._ec2._snapshot_inner_xml(self._begun(reply)))

    def create_all(self, p: Parameters) -> Reply:
        """Of all volumes that are attached to an instance, at one moment."""
        instance = self._ec2._instances.get(self._p(p, "InstanceSpecification.InstanceId"))
        if instance is None:
            missing = f"The instance ID '{self._p(p, 'InstanceSpecification.InstanceId')}' does not exist"
            refused: Reply = self._ec2._error("InvalidInstanceID.NotFound", missing, 400)
            return refused
        boot = instance["RootDeviceName"] if self._p(p, "InstanceSpecification.ExcludeBootVolume") == "true" else None
        items = ""
        for volume, device in attached(self._ec2, instance["InstanceId"]):
            if device != boot:
                record = self._begun(self._own["CreateSnapshot"]({**p, "VolumeId": [volume]}))
                items += f"<item>{self._ec2._snapshot_inner_xml(record)}</item>"
        return self._xml("CreateSnapshots", f"<snapshotSet>{items.replace('status>', 'state>')}</snapshotSet>")

    def copy(self, p: Parameters) -> Reply:
        """From another region."""
        source = self._source(p)
        if source and source["State"] != "completed":
            refused: Reply = self._ec2._error("IncorrectState", "Snapshot is in invalid state - pending", 400)
            return refused
        reply: Reply = self._own["CopySnapshot"](p)
        if reply[0] == 200:
            self._ec2._parse_tag_specs(p, "snapshot", self._begun(reply)["SnapshotId"])
        return reply

    def _source(self, p: Parameters) -> Record | None:
        region = self._p(p, "SourceRegion") or self._ec2.get_region()
        found: Record | None = self._ec2._snapshots.get_scoped(
            self._ec2.get_account_id(), region, self._p(p, "SourceSnapshotId")
        )
        return found

    def _begun(self, reply: Reply) -> Record:
        """The record of a snapshot that an answer names; from now on it takes its time."""
        match = _BEGUN.search(reply[2])
        assert match is not None
        record: Record = self._ec2._snapshots[match[1].decode()]
        record.update(State="pending", Progress="0%")

        def complete() -> None:
            self._faults.wait_while("hold-snapshot")
            record.update(State="completed", Progress="100%")

        later(complete)
        return record

    def _p(self, p: Parameters, name: str) -> str:
        return str(self._ec2._p(p, name) or "")

    def _xml(self, action: str, inner: str) -> Reply:
        reply: Reply = self._ec2._xml(200, f"{action}Response", inner)
        return reply


def attached(ec2: Pinned, instance: str) -> list[tuple[str, str]]:
    """The volumes of an instance, each with its device."""
    return [
        (volume["VolumeId"], attachment["Device"])
        for volume in ec2._volumes.values()
        for attachment in volume["Attachments"]
        if attachment["InstanceId"] == instance
    ]


def install(settings: Settings) -> None:
    """Put these in the place of MiniStack's."""
    ec2 = service("ec2")
    ec2.require("_snapshots", "_volumes", "_instances", "_tags", "_snapshot_inner_xml", "_parse_tag_specs")
    ec2.require("_p", "_xml", "_error", "get_region", "get_account_id")
    snapshots = EbsSnapshots(ec2, faults_of(settings))
    ec2.replace_entry("_ACTION_MAP", "CreateSnapshot", snapshots.create)
    ec2.replace_entry("_ACTION_MAP", "CopySnapshot", snapshots.copy)
    ec2._ACTION_MAP["CreateSnapshots"] = snapshots.create_all  # MiniStack has none
