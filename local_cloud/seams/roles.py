"""IAM: a task has its own role's credentials, so that its permissions are checked as on AWS.

With AUTH, MiniStack checks every request against the policies of the role that signed it. Functions get their role
from MiniStack itself; a task would get keys that belong to nobody.
"""

from __future__ import annotations

import json
import secrets
import time
from typing import Any

from local_cloud.seams.patching import Pinned, service
from local_cloud.settings import ACCOUNT, Settings

_VARIABLE = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_LIFETIME_SECONDS = 6 * 3600
_PATH = "/v2/credentials/"

Reply = tuple[int, dict[str, str], bytes]


class TaskRoles:
    """What the credentials address of each container answers."""

    def __init__(self, imds: Pinned, sts: Pinned) -> None:
        self._sts = sts
        self._others = imds.handle_request
        self._documents: dict[str, bytes] = {}

    def give(self, environment: dict[str, str], role_arn: str, task: str) -> dict[str, str]:
        """Credentials of the role behind the address that the container's environment holds; none without a role."""
        address = environment.get(_VARIABLE, "")
        if not role_arn:
            dropped = (_VARIABLE, "AWS_CONTAINER_AUTHORIZATION_TOKEN")
            return {name: value for name, value in environment.items() if name not in dropped}
        role = role_arn.rpartition("/")[2]
        key, secret, token = f"ASIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30), secrets.token_urlsafe(60)
        session = {
            "Arn": f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/{task}",
            "UserId": f"{role}:{task}",
            "SecretAccessKey": secret,
            "SessionToken": token,
        }
        self._sts.register_session(key, session)
        document = {
            "AccessKeyId": key,
            "SecretAccessKey": secret,
            "Token": token,
            "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + _LIFETIME_SECONDS)),
            "RoleArn": role_arn,
        }
        self._documents[address.rpartition("/")[2]] = json.dumps(document).encode()
        return environment

    async def handle_request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Reply:
        """Serve a task's credentials, and leave everything else to MiniStack."""
        document = self._documents.get(path.removeprefix(_PATH)) if path.startswith(_PATH) else None
        if document is not None and method == "GET":
            return 200, {"Content-Type": "application/json"}, document
        reply: Reply = await self._others(method, path, headers, body, query_params)
        return reply


def install(settings: Settings) -> TaskRoles:  # noqa: ARG001
    """Serve task roles' credentials; the seam of ECS asks for them."""
    imds, sts = service("imds"), service("sts")
    sts.require("register_session")
    roles = TaskRoles(imds, sts)
    imds.replace("handle_request", "method path headers body query_params", roles.handle_request)
    return roles
