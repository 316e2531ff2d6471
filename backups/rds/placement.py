"""Where a temporary instance goes: the job's own words, and for what it leaves out, what the live database has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from backups.errors import SourceError
from backups.rds.calls import asking
from backups.rds.snapshots import Database, live_cluster, live_instance


@dataclass(frozen=True)
class Wishes:
    """What the job file says; empty where it leaves the choice."""

    instance_class: str
    subnet_group: str = ""
    security_groups: tuple[str, ...] = ()
    """Names or ids."""
    parameter_group: str = ""


@dataclass(frozen=True)
class Placement:
    """What the restore is called with; empty means AWS's default."""

    instance_class: str
    subnet_group: str = ""
    security_groups: tuple[str, ...] = ()
    """Ids."""
    parameter_group: str = ""


def place(rds: Any, ec2: Callable[[], Any], database: Database, wishes: Wishes) -> Placement:
    """Complete the wishes. Without a subnet group RDS would take the default VPC, where nothing may reach it.

    ``ec2`` makes the client that knows the names of security groups. Raises SourceError.
    """
    live = _live_cluster(rds, database) if database.cluster else _live_instance(rds, database)
    subnet_group = wishes.subnet_group or live.subnet_group
    groups = live.security_groups
    if wishes.security_groups:
        groups = _ids(rds, ec2, wishes.security_groups, subnet_group)
    return Placement(wishes.instance_class, subnet_group, groups, wishes.parameter_group or live.parameter_group)


def _live_instance(rds: Any, database: Database) -> Placement:
    found = live_instance(rds, database.name)
    if found is None:
        return Placement("")
    parameters = [group["DBParameterGroupName"] for group in found.get("DBParameterGroups", [])]
    subnets = found.get("DBSubnetGroup", {}).get("DBSubnetGroupName", "")
    return Placement("", subnets, _members(found), _own(parameters[:1]))


def _live_cluster(rds: Any, database: Database) -> Placement:
    found = live_cluster(rds, database.name)
    if found is None:
        return Placement("")
    return Placement("", found.get("DBSubnetGroup", ""), _members(found), _own([found.get("DBClusterParameterGroup")]))


def _members(found: dict[str, Any]) -> tuple[str, ...]:
    return tuple(group["VpcSecurityGroupId"] for group in found.get("VpcSecurityGroups", []))


def _own(names: Sequence[str | None]) -> str:
    """A parameter group of the user's own. A default one is chosen by RDS itself, by the snapshot's version."""
    return next((name for name in names if name and not name.startswith("default.")), "")


def _ids(rds: Any, ec2: Callable[[], Any], wanted: Sequence[str], subnet_group: str) -> tuple[str, ...]:
    """The ids of security groups that are given by name or id, in their order."""
    names = [name for name in wanted if not name.startswith("sg-")]
    if not names:
        return tuple(wanted)
    filters = [{"Name": "group-name", "Values": names}]
    if vpc := _vpc(rds, subnet_group):
        filters.append({"Name": "vpc-id", "Values": [vpc]})
    with asking("looking for security groups"):
        pages = ec2().get_paginator("describe_security_groups").paginate(Filters=filters)
        found = [group for page in pages for group in page["SecurityGroups"]]
    known: dict[str, list[str]] = {}
    for group in found:
        known.setdefault(group["GroupName"], []).append(group["GroupId"])
    for name in names:
        ids = known.get(name, [])
        if len(ids) != 1:
            what = "there is no security group" if not ids else f"there are {len(ids)} security groups"
            raise SourceError(
                f"{what} of the name '{name}'" + (f" in {vpc}" if vpc else ""), hint='give its id: "sg-…"'
            )
    return tuple(name if name.startswith("sg-") else known[name][0] for name in wanted)


def _vpc(rds: Any, subnet_group: str) -> str:
    """The VPC of a subnet group, since names of security groups are unique only within one."""
    if not subnet_group:
        return ""
    with asking(f"looking at subnet group '{subnet_group}'"):
        try:
            found = rds.describe_db_subnet_groups(DBSubnetGroupName=subnet_group)["DBSubnetGroups"]
        except rds.exceptions.DBSubnetGroupNotFoundFault:
            return ""  # the restore itself says so, with a hint
    return str(found[0].get("VpcId", ""))
