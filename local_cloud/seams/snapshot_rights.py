"""What a request about snapshots is allowed on: MiniStack names the volume or database, or nothing at all.

EC2 asks for each resource that is read or made; of RDS one of them is looked at here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local_cloud.seams.ebs import attached
from local_cloud.seams.patching import Pinned, pinned, service
from local_cloud.settings import Settings

Parameters = dict[str, Any]

_SNAPSHOT_FIELDS = {"DBSnapshotIdentifier": "snapshot", "DBClusterSnapshotIdentifier": "cluster-snapshot"}


class SnapshotRights:
    """ARNs of what requests to EC2 and RDS are about."""

    def __init__(self, ec2: Pinned, actions: Pinned) -> None:
        self._ec2 = ec2
        self._p: Callable[[Parameters, str], str] = actions._query_param
        self._first, self._more = actions.extract_resource_arn, actions.verified_access_resource_arns

    def resource_arn(  # noqa: PLR0913, PLR0917 - as MiniStack calls it
        self,
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query_params: Parameters,
        region: str,
        account_id: str,
    ) -> str:
        """The one that is looked at first."""
        own = []
        if service == "ec2":
            own = self._of_ec2(query_params, region, account_id)
        elif service == "rds":
            own = self._of_rds(query_params, region, account_id)
        if own:
            return own[0]
        arn: str = self._first(service, method, path, headers, body, query_params, region, account_id)
        return arn

    def all_of_ec2(self, query_params: Parameters, region: str, account_id: str) -> list[str]:
        """Every one, the first included."""
        others: list[str] = self._more(query_params, region, account_id)
        return self._of_ec2(query_params, region, account_id) or others

    def _of_ec2(self, p: Parameters, region: str, account: str) -> list[str]:
        def own(kind: str, id_: str) -> str:
            return f"arn:aws:ec2:{region}:{account}:{kind}/{id_}"

        def shot(id_: str, where: str = region) -> str:
            return f"arn:aws:ec2:{where}::snapshot/{id_}"

        action = self._p(p, "Action")
        if action == "CreateSnapshot":
            return [own("volume", self._p(p, "VolumeId")), shot("*")]
        if action == "CreateSnapshots":
            instance = self._p(p, "InstanceSpecification.InstanceId")
            volumes = [own("volume", volume) for volume, _ in attached(self._ec2, instance)]
            return [own("instance", instance), *volumes, shot("*")]
        if action == "CopySnapshot":
            return [shot("*"), shot(self._p(p, "SourceSnapshotId"), self._p(p, "SourceRegion") or region)]
        if action == "DeleteSnapshot":
            return [shot(self._p(p, "SnapshotId"))]
        if action in ("CreateTags", "DeleteTags"):
            ids = [self._p(p, name) for name in p if name.startswith("ResourceId.")]
            return [shot(id_) for id_ in ids] if all(id_.startswith("snap-") for id_ in ids) else []
        return []

    def _of_rds(self, p: Parameters, region: str, account: str) -> list[str]:
        action = self._p(p, "Action")
        if action in ("AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource"):
            return [self._p(p, "ResourceName")]
        if not action.startswith(("Copy", "Delete", "Describe")):
            return []
        for field, kind in _SNAPSHOT_FIELDS.items():
            if field.removesuffix("Identifier") in action:
                name = self._p(p, f"Target{field}") or self._p(p, field) or "*"
                return [f"arn:aws:rds:{region}:{account}:{kind}:{name}"]
        return []


def install(settings: Settings) -> None:  # noqa: ARG001 - as every seam has it
    """Put these in front of MiniStack's, and tags of EBS snapshots into the check of permissions."""
    ec2, actions, tagging = service("ec2"), pinned("core.iam_actions"), service("tagging")
    actions.require("_query_param")
    # Requests that give tags to what they make: otherwise no condition would see those tags.
    actions.replace_value("_TAG_MEMBERS", actions._TAG_MEMBERS | {"TagSpecifications"})
    rights = SnapshotRights(ec2, actions)
    parameters = "service method path headers body query_params region account_id"
    actions.replace("extract_resource_arn", parameters, rights.resource_arn)
    actions.replace("verified_access_resource_arns", "query_params region account_id", rights.all_of_ec2)
    others = tagging.resource_tags

    def resource_tags(arn: str) -> dict[str, str] | None:
        if ":snapshot/snap-" not in arn:
            found: dict[str, str] | None = others(arn)
            return found
        where, id_ = arn.split(":")[3], arn.rpartition("/")[2]
        tags = ec2._tags.get_scoped(ec2.get_account_id(), where, id_) or []
        return {tag["Key"]: tag["Value"] for tag in tags}

    tagging.replace("resource_tags", "arn", resource_tags)
