"""CloudFormation: resource types that MiniStack has not, and properties that it drops without a word.

A type in neither place fails the deployment, by name: nothing is accepted silently.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from local_cloud.seams import buckets
from local_cloud.seams.patching import Pinned, service
from local_cloud.settings import ACCOUNT, Settings

Properties = dict[str, Any]
Created = tuple[str, dict[str, Any]]
Create = Callable[[str, Properties, str], Created]

# Nothing in the embedded cloud acts on these: they are accepted and only have a name and attributes.
INERT: dict[str, tuple[str, ...]] = {
    "AWS::CloudWatch::CompositeAlarm": ("Arn",),
    "AWS::EC2::EIP": ("AllocationId", "PublicIp"),
    "AWS::EC2::FlowLog": ("Id",),
    "AWS::EC2::NatGateway": ("NatGatewayId",),
    "AWS::EC2::SecurityGroupEgress": ("Id",),
    "AWS::EC2::SecurityGroupIngress": ("Id",),
    "AWS::ECS::ClusterCapacityProviderAssociations": (),
    "AWS::Logs::QueryDefinition": ("QueryDefinitionId",),
}


def _inert(kind: str, attributes: tuple[str, ...], region: str) -> dict[str, Any]:
    short = kind.rpartition("::")[2].lower()

    def create(logical_id: str, props: Properties, stack_name: str) -> Created:
        name = props.get("Name") or props.get("AlarmName") or f"{stack_name}-{logical_id}"
        arn = f"arn:aws:local:{region}:{ACCOUNT}:{short}/{name}"
        return name, {attribute: arn if attribute == "Arn" else name for attribute in attributes}

    def update(physical_id: str, _: Properties, new: Properties, stack_name: str, *__: Any, **___: Any) -> Created:
        return physical_id, create(physical_id, new, stack_name)[1]

    def delete(physical_id: str, props: Properties) -> None:
        """Nothing was made."""

    return {"create": create, "update": update, "delete": delete}


class Handlers:
    """MiniStack's own creators of resources, each completed."""

    def __init__(self, provisioners: Pinned, s3: Pinned) -> None:
        self._provisioners = provisioners
        self._s3 = s3
        self._handlers: dict[str, dict[str, Any]] = provisioners._RESOURCE_HANDLERS

    def add_inert(self, region: str) -> None:
        for kind, attributes in INERT.items():
            if kind in self._handlers:
                raise RuntimeError(f"MiniStack has {kind} itself now: remove it from the seam")
            self._handlers[kind] = _inert(kind, attributes, region)

    def complete(self, kind: str, after: Callable[[str, Properties, Created], Created]) -> None:
        """Let ``after`` change what the creation (or update) of this type did."""
        handler = self._handlers[kind] = dict(self._handlers[kind])
        create: Create = handler["create"]
        update = handler["update"]

        def created(logical_id: str, props: Properties, stack_name: str) -> Created:
            return after(logical_id, props, create(logical_id, props, stack_name))

        def updated(physical_id: str, old: Properties, new: Properties, stack_name: str, *rest: Any) -> Created:
            return after(physical_id, new, update(physical_id, old, new, stack_name, *rest))

        handler.update(create=created, update=updated)

    def function(self, _: str, props: Properties, made: Created) -> Created:
        """A dead-letter queue and reserved concurrency are dropped; missing code would become a mock."""
        record = self._provisioners._lambda_svc._functions[made[0]]
        if not record.get("code_zip") and record["config"].get("PackageType") != "Image":
            raise ValueError(f"the code of {made[0]} is not in its bucket: were the assets published?")
        if props.get("DeadLetterConfig"):
            record["config"]["DeadLetterConfig"] = props["DeadLetterConfig"]
        if props.get("ReservedConcurrentExecutions") is not None:
            record["concurrency"] = int(props["ReservedConcurrentExecutions"])
        return made

    def bucket(self, _: str, props: Properties, made: Created) -> Created:
        """Encryption, lifecycle rules and tags."""
        buckets.apply(self._s3, made[0], props)
        return made

    @staticmethod
    def vpc(_: str, props: Properties, made: Created) -> Created:
        """``Fn::GetAtt`` of a VPC's CidrBlock."""
        name, attributes = made
        return name, {"CidrBlock": props.get("CidrBlock"), **attributes}

    def fix_metric_math(self, region: str) -> None:
        """An alarm on an expression is refused; here it is accepted, and never rings."""
        kind = "AWS::CloudWatch::Alarm"
        own, inert = self._handlers[kind], _inert(kind, ("Arn",), region)

        def choose(action: str) -> Callable[..., Any]:
            def act(*arguments: Any, **named: Any) -> Any:
                properties = [one for one in arguments if isinstance(one, dict)][-1]
                return (inert if "Metrics" in properties else own)[action](*arguments, **named)

            return act

        self._handlers[kind] = {**own, **{action: choose(action) for action in ("create", "update", "delete")}}

    def container_definitions(self, definitions: list[Properties]) -> list[Properties]:
        """Secrets keep CloudFormation's spelling inside, so that ECS would see none."""
        result: list[Properties] = self._normalize(definitions)
        for one in result:
            one["secrets"] = [{key[:1].lower() + key[1:]: value for key, value in each.items()}
                              for each in one.get("secrets", [])]  # fmt: skip
        return result

    def fix_container_definitions(self) -> None:
        self._normalize = self._provisioners._normalize_container_defs
        self._provisioners.replace("_normalize_container_defs", "cdefs", self.container_definitions)

    def fix_secrets(self) -> None:
        """Ref of a secret is its ARN on AWS; MiniStack answers the name."""
        handler = self._handlers["AWS::SecretsManager::Secret"] = dict(self._handlers["AWS::SecretsManager::Secret"])
        create: Create = handler["create"]

        def created(logical_id: str, props: Properties, stack_name: str) -> Created:
            _, attributes = create(logical_id, props, stack_name)
            return attributes["Id"], attributes

        handler["create"] = created


def install(settings: Settings) -> None:
    """Add the missing types and complete the incomplete ones."""
    provisioners = service("cloudformation.provisioners")
    provisioners.require("_RESOURCE_HANDLERS", "_lambda_svc")
    s3 = service("s3")
    s3.require("_bucket_tags", "_put_bucket_encryption", "_put_bucket_lifecycle")
    handlers = Handlers(provisioners, s3)
    handlers.add_inert(settings.region)
    handlers.complete("AWS::Lambda::Function", handlers.function)
    handlers.complete("AWS::S3::Bucket", handlers.bucket)
    handlers.complete("AWS::EC2::VPC", handlers.vpc)
    handlers.fix_container_definitions()
    handlers.fix_secrets()
    handlers.fix_metric_math(settings.region)
