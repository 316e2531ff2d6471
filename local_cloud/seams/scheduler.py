"""EventBridge Scheduler: schedules wait to be fired by the client, and each belongs to its group.

MiniStack fires them by itself, without their time zone and without filling in the scheduled time; a demo or a test
starts a run when it wants one, by ``LocalCloud.fire_schedule``. It checks permissions as if every schedule were in the
group ``default``.
"""

from __future__ import annotations

from typing import Any

from local_cloud.seams.patching import pinned, service
from local_cloud.settings import Settings

_DEFAULT = ":schedule/default/"


def install(settings: Settings) -> None:  # noqa: ARG001
    """Keep the clock still, and name schedules by their group where permissions are checked."""
    service("scheduler").replace("start_scheduler", "", lambda: None)
    actions = pinned("core.iam_actions")
    others = actions.extract_resource_arn

    def resource_arn(  # noqa: PLR0913, PLR0917 - the parameters are MiniStack's
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query_params: dict[str, Any],
        region: str,
        account_id: str,
    ) -> str:
        arn = str(others(service, method, path, headers, body, query_params, region, account_id))
        group = query_params.get("groupName", "default")
        name = group[0] if isinstance(group, list) else group
        return arn.replace(_DEFAULT, f":schedule/{name}/") if service == "scheduler" else arn

    parameters = "service method path headers body query_params region account_id"
    actions.replace("extract_resource_arn", parameters, resource_arn)
