"""EventBridge: what a request puts on a bus is known to the policies that allow it, as AWS has it.

MiniStack gives no context to the conditions ``events:source`` and ``events:detail-type``, so that nobody whose rights
depend on them could send an event.
"""

from __future__ import annotations

import json
from typing import Any

from local_cloud.seams.patching import pinned
from local_cloud.settings import Settings


def install(_: Settings) -> None:
    """Put them beside the tags of a request."""
    actions = pinned("core.iam_actions")
    others = actions.request_tag_context

    def context(service: str, iam_action: str, body: bytes, params: dict[str, Any]) -> dict[str, Any]:
        known: dict[str, Any] = others(service, iam_action, body, params)
        if iam_action == "events:PutEvents":
            entries = json.loads(body).get("Entries", [])
            known["events:source"] = [entry.get("Source", "") for entry in entries]
            types = {entry.get("DetailType", "") for entry in entries}
            known["events:detail-type"] = types.pop() if len(types) == 1 else None  # it holds one value
        return known

    actions.replace("request_tag_context", "service iam_action body params", context)
