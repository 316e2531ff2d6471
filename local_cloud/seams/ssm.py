"""Systems Manager: documents of a template, and Run Command on hosts; see ``hosts.py`` and ``host_commands.py``.

MiniStack calls every document a success without running it, knows no managed nodes but containers, no tags and no
CancelCommand, and checks no parameter and no right of SendCommand.
"""

from __future__ import annotations

import json
import re
import threading
import uuid
from typing import Any

from local_cloud.host_commands import Order, carry_out
from local_cloud.hosts import Host, hosts
from local_cloud.seams.patching import Pinned, pinned, service
from local_cloud.settings import ACCOUNT, Settings

Record = dict[str, Any]
Reply = tuple[int, dict[str, str], bytes]

_REFERENCE = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_TIMEOUTS = range(30, 2_592_001)
_ENDED = frozenset({"Success", "Failed", "Cancelled", "TimedOut"})


class RefusedError(Exception):
    """An error as the service answers it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RunCommand:
    """Documents, commands and managed nodes."""

    def __init__(self, ssm: Pinned, evaluator: Pinned, actions: Pinned, settings: Settings) -> None:
        self._ssm = ssm
        self._evaluator = evaluator
        self._settings = settings
        self._others, self._arn = ssm.handle_request, actions.extract_resource_arn
        self._documents: dict[str, Record] = {}
        self._orders: dict[tuple[str, str], Order] = {}
        self._asked: set[tuple[str, str]] = set()

    async def handle_request(
        self, method: str, path: str, headers: dict[str, str], body: bytes, query_params: Record
    ) -> Reply:
        """Answer what is about commands, and leave the rest to MiniStack."""
        actions = {
            "SendCommand": lambda data: self._send(data, self._evaluator.request_caller_arn(headers, query_params)),
            "GetCommandInvocation": self._invocation,
            "CancelCommand": self._cancel,
            "DescribeInstanceInformation": self._nodes,
        }
        action = actions.get(headers.get("x-amz-target", "").rpartition(".")[2])
        if action is None:
            others: Reply = await self._others(method, path, headers, body, query_params)
            return others
        try:
            reply: Reply = self._ssm.json_response(action(json.loads(body)))
        except RefusedError as error:
            reply = self._ssm.error_response_json(error.code, str(error), 400)
        return reply

    def resource_arn(  # noqa: PLR0913, PLR0917 - as MiniStack calls it
        self,
        service: str,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes,
        query_params: Record,
        region: str,
        account_id: str,
    ) -> str:
        """SendCommand is about its document, and about each host, which ``_demand`` looks at."""
        if service == "ssm" and headers.get("x-amz-target", "").endswith(".SendCommand"):
            return f"arn:aws:ssm:{region}:{account_id}:document/{json.loads(body).get('DocumentName', '')}"
        arn: str = self._arn(service, method, path, headers, body, query_params, region, account_id)
        return arn

    def create(self, logical_id: str, props: Record, stack_name: str) -> tuple[str, Record]:
        """A document of a template."""
        name = props.get("Name") or f"{stack_name}-{logical_id}-{uuid.uuid4().hex[:12]}"
        content = props["Content"]
        self._documents[name] = json.loads(content) if isinstance(content, str) else content
        return name, {}

    def update(self, physical_id: str, _: Record, new: Record, stack_name: str, *__: Any, **___: Any) -> Any:
        """Its content is replaced, without a version of its own."""
        return self.create("", {**new, "Name": physical_id}, stack_name)

    def delete(self, physical_id: str, _: Record) -> None:
        self._documents.pop(physical_id, None)

    def _send(self, data: Record, caller: str) -> Record:
        document = self._documents.get(data.get("DocumentName", ""))
        if document is None:
            raise RefusedError("InvalidDocument", f"Document {data.get('DocumentName')} does not exist")
        if data.get("TimeoutSeconds", 3600) not in _TIMEOUTS or len(data.get("Comment", "")) > 100:
            raise RefusedError("ValidationException", "TimeoutSeconds or Comment failed to satisfy a constraint")
        known = {host.id: host for host in hosts(self._settings.state)}
        targets = [known.get(id_) for id_ in data.get("InstanceIds", [])]
        if not targets or None in targets:
            names = ", ".join(data.get("InstanceIds", []))
            raise RefusedError("InvalidInstanceId", f"Instances [[{names}]] not in a valid state for account {ACCOUNT}")
        values = _values(document, data.get("Parameters", {}))
        command = str(uuid.uuid4())
        for host in filter(None, targets):
            self._demand(caller, host)
            order = _order(command, document, values, data.get("TimeoutSeconds", 3600))
            self._orders[command, host.id] = order
            threading.Thread(target=carry_out, args=(host, order), daemon=True).start()
        told = {"CommandId": command, "DocumentName": data["DocumentName"], "Parameters": data.get("Parameters", {})}
        return {"Command": {**told, "InstanceIds": data["InstanceIds"], "Status": "Pending"}}

    def _demand(self, caller: str, host: Host) -> None:
        """Whether the caller may send to this host, by its id and its tags."""
        if not self._settings.enforce_iam or ":assumed-role/" not in caller:
            return
        region = self._settings.region
        service, kind = ("ssm", "managed-instance") if host.id.startswith("mi-") else ("ec2", "instance")
        arn = f"arn:aws:{service}:{region}:{ACCOUNT}:{kind}/{host.id}"
        request = self._evaluator.EvalContext(
            principal_arn=caller,
            principal_type="AssumedRole",
            principal_account=ACCOUNT,
            action="ssm:SendCommand",
            resource_arn=arn,
            region=region,
            service_context={f"ssm:resourcetag/{key}".lower(): value for key, value in host.record["tags"].items()},
        )
        policies = self._evaluator._gather_role_policies(caller.split("/")[1], ACCOUNT)
        if self._evaluator.evaluate(request, policies).decision != "Allow":
            message = f"User: {caller} is not authorized to perform: ssm:SendCommand on resource: {arn}"
            raise RefusedError("AccessDeniedException", message)

    def _invocation(self, data: Record) -> Record:
        key = (data.get("CommandId", ""), data.get("InstanceId", ""))
        order = self._orders.get(key)
        if order is None or key not in self._asked:  # AWS does not know a command in its first moments either
            self._asked.add(key)
            raise RefusedError("InvocationDoesNotExist", "")
        status, details = order.status, order.details
        if order.cancelled.is_set() and status not in _ENDED:
            status = details = "Cancelling"
        return {
            **{"CommandId": key[0], "InstanceId": key[1], "Status": status, "StatusDetails": details},
            **{"ResponseCode": order.code, "StandardOutputContent": order.stdout},
            "StandardErrorContent": order.stderr,
        }

    def _cancel(self, data: Record) -> Record:
        for id_ in data.get("InstanceIds", []):
            order = self._orders.get((data.get("CommandId", ""), id_))
            if order is None:
                raise RefusedError("InvalidCommandId", "")
            order.cancelled.set()
        return {}

    def _nodes(self, data: Record) -> Record:
        found = [host for host in hosts(self._settings.state) if _matches(host, data.get("Filters", []))]
        return {
            "InstanceInformationList": [
                {"InstanceId": host.id, "PingStatus": host.record["ping"], "PlatformType": "Linux"} for host in found
            ]
        }


def _matches(host: Host, filters: list[Record]) -> bool:
    record = host.record
    for one in filters:
        if one["Key"] == "InstanceIds":
            value = host.id
        elif one["Key"].startswith("tag:"):
            value = record["tags"].get(one["Key"].removeprefix("tag:"))
        else:
            raise RefusedError("InvalidFilterKey", f"{one['Key']} is not known to the embedded cloud")
        if value not in one["Values"]:
            return False
    return True


def _values(document: Record, given: dict[str, list[str]]) -> dict[str, str]:
    """The value of each parameter, checked as the service checks it before anything runs."""
    declared: Record = document.get("parameters", {})
    if unknown := sorted(set(given) - set(declared)):
        raise RefusedError("InvalidParameters", f"Unknown parameters: {', '.join(unknown)}")
    values = {}
    for name, about in declared.items():
        if name not in given and "default" not in about:
            raise RefusedError("InvalidParameters", f"Parameter {name} is required")
        value = given[name][0] if name in given else about["default"]
        if not re.search(about.get("allowedPattern", ""), value):
            raise RefusedError("InvalidParameters", f"Parameter {name} does not match its allowedPattern")
        values[name] = value
    return values


def _order(command: str, document: Record, values: dict[str, str], delivery_seconds: float) -> Order:
    """The script with every parameter's text in its place, which is all that the service does with them."""
    (step,) = document["mainSteps"]
    if step["action"] != "aws:runShellScript":
        raise RefusedError("InvalidDocument", f"{step['action']} is not known to the embedded cloud")

    def filled(text: str) -> str:
        return _REFERENCE.sub(lambda match: values[match[1]], text)

    inputs = step["inputs"]
    script = "\n".join(map(filled, inputs["runCommand"])) + "\n"
    return Order(command, script, delivery_seconds, float(filled(inputs.get("timeoutSeconds", "3600"))))


def install(settings: Settings) -> None:
    """Put documents and commands in the place of MiniStack's."""
    ssm, evaluator, actions = service("ssm"), pinned("core.iam_evaluator"), pinned("core.iam_actions")
    ssm.require("json_response", "error_response_json")
    evaluator.require("EvalContext", "evaluate", "_gather_role_policies", "request_caller_arn")
    provisioners = service("cloudformation.provisioners")
    if "AWS::SSM::Document" in provisioners._RESOURCE_HANDLERS:
        raise RuntimeError("MiniStack has AWS::SSM::Document itself now: remove it from the seam")
    command = RunCommand(ssm, evaluator, actions, settings)
    ssm.replace("handle_request", "method path headers body query_params", command.handle_request)
    parameters = "service method path headers body query_params region account_id"
    actions.replace("extract_resource_arn", parameters, command.resource_arn)
    handlers = {"create": command.create, "update": command.update, "delete": command.delete}
    provisioners._RESOURCE_HANDLERS["AWS::SSM::Document"] = handlers
