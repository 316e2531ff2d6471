"""RDS: instances are real servers, snapshots real copies of their data, and a restore starts a server on a copy.

MiniStack keeps records only: its restore is ``available`` at once, and nothing listens at its endpoint.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from local_cloud import processes
from local_cloud.seams.faults import faults_of
from local_cloud.seams.patching import service
from local_cloud.seams.rds_clusters import Clusters
from local_cloud.seams.rds_copies import Copies
from local_cloud.seams.rds_databases import Databases
from local_cloud.settings import Settings

HOME = "local-cloud-rds-"


def install(settings: Settings) -> None:
    """Put servers behind the records, and tags of RDS into the check of permissions."""
    rds, tagging = service("rds"), service("tagging")
    rds.require("_instances", "_snapshots", "_clusters", "_db_cluster_snapshots", "_subnet_groups", "_tags")
    rds.require("_p", "_parse_tags", "_parse_member_list", "_resolve_instance", "_single_instance_response")
    rds.require("_xml", "_error", "_snapshot_xml", "_cluster_xml", "_cluster_snapshot_xml")
    rds.require("get_region", "get_account_id")
    faults = faults_of(settings)
    databases = Databases(rds, _home(settings), faults)
    clusters = Clusters(rds, databases, faults)
    copies = Copies(rds, databases, faults)
    handlers = {
        "CreateDBInstance": databases.create_instance,
        "DeleteDBInstance": databases.delete_instance,
        "CreateDBSnapshot": databases.create_snapshot,
        "RestoreDBInstanceFromDBSnapshot": databases.restore_instance,
        "DeleteDBCluster": clusters.delete,
        "CreateDBClusterSnapshot": clusters.create_snapshot,
    }
    for action, handler in handlers.items():
        rds.replace_entry("_ACTION_MAP", action, handler)
    # What MiniStack has not:
    rds._ACTION_MAP["RestoreDBClusterFromSnapshot"] = clusters.restore
    rds._ACTION_MAP["CopyDBSnapshot"] = copies.copy_instance_s
    rds._ACTION_MAP["CopyDBClusterSnapshot"] = copies.copy_cluster_s
    rds.replace("_handle_request_sync", "method path headers body query_params", databases.handle)
    others = tagging.resource_tags

    def resource_tags(arn: str) -> dict[str, str] | None:
        if ":rds:" not in arn:
            found: dict[str, str] | None = others(arn)
            return found
        return {tag["Key"]: tag["Value"] for tag in rds._tags.get(arn, [])}

    tagging.replace("resource_tags", "arn", resource_tags)


def _home(settings: Settings) -> Callable[[], Path]:
    """Makes a directory that goes with the server. Not below its own: PostgreSQL's account could not reach it there."""
    note = settings.state / "rds-home"
    with contextlib.suppress(OSError):
        left = Path(note.read_text())  # by one that was killed
        if left.name.startswith(HOME):
            shutil.rmtree(left, ignore_errors=True)

    def make() -> Path:
        home = Path(tempfile.mkdtemp(prefix=HOME, dir="/tmp"))
        home.chmod(0o711)
        note.write_text(str(home))
        processes.at_end(lambda: shutil.rmtree(home, ignore_errors=True))
        return home

    return make
