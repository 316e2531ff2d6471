"""Findings of cdk-nag that are meant, each for one resource and with the reason; no rule is switched off as a whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from aws_cdk import Acknowledgment, Stack, Validations
from aws_cdk import aws_iam as iam
from constructs import IConstruct


def acknowledge(resource: IConstruct, reasons: dict[str, str]) -> None:
    """Accept findings on one resource and what it is made of: rule, or rule with its finding, and why."""
    Validations.of(resource).acknowledge(*(Acknowledgment(id=rule, reason=why) for rule, why in reasons.items()))


def acknowledge_wildcards(resource: IConstruct, statements: Iterable[iam.PolicyStatement], reason: str) -> None:
    """Accept exactly those wildcards that these statements have in their resources."""
    stack = Stack.of(resource)
    wild = {arn for statement in statements for arn in statement.resources if "*" in arn}
    findings = sorted(f"AwsSolutions-IAM5[Resource::{_written(stack.resolve(arn))}]" for arn in wild)
    acknowledge(resource, dict.fromkeys(findings, reason))


def _written(value: Any) -> str:
    """An ARN as cdk-nag writes it: references in angle brackets."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Fn::Join":
        return str(argument[0]).join(map(_written, argument[1]))
    return f"<{argument if function == 'Ref' else '.'.join(argument)}>"
