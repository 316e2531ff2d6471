"""S3 buckets of a template: default encryption, lifecycle rules and tags, which MiniStack's CloudFormation drops."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from local_cloud.seams.patching import Pinned

Properties = dict[str, Any]

# CloudFormation's name of a rule's property -> the element of S3's own XML that holds it.
_RULE: dict[str, tuple[str, ...]] = {
    "Id": ("ID",),
    "Prefix": ("Filter", "Prefix"),
    "Status": ("Status",),
    "ExpirationInDays": ("Expiration", "Days"),
    "ExpiredObjectDeleteMarker": ("Expiration", "ExpiredObjectDeleteMarker"),
    "NoncurrentVersionExpiration": ("NoncurrentVersionExpiration",),
    "AbortIncompleteMultipartUpload": ("AbortIncompleteMultipartUpload",),
}


def _xml(value: object) -> str:
    if isinstance(value, dict):
        return "".join(f"<{name}>{_xml(inner)}</{name}>" for name, inner in value.items())
    return str(value).lower() if isinstance(value, bool) else escape(str(value))


def encryption_xml(configuration: Properties) -> bytes:
    """``BucketEncryption`` as PutBucketEncryption takes it."""
    rules = []
    for rule in configuration["ServerSideEncryptionConfiguration"]:
        by_default = rule["ServerSideEncryptionByDefault"]
        key_enabled = rule.get("BucketKeyEnabled", False)
        body = {"ApplyServerSideEncryptionByDefault": by_default, "BucketKeyEnabled": key_enabled}
        rules.append(f"<Rule>{_xml(body)}</Rule>")
    return f"<ServerSideEncryptionConfiguration>{''.join(rules)}</ServerSideEncryptionConfiguration>".encode()


def lifecycle_xml(configuration: Properties) -> bytes:
    """``LifecycleConfiguration`` as PutBucketLifecycleConfiguration takes it. Raises ValueError for other rules."""
    rules = []
    for rule in configuration["Rules"]:
        if unknown := sorted(set(rule) - set(_RULE)):
            raise ValueError(f"lifecycle rules with {', '.join(unknown)} are not known to the embedded cloud")
        body: Properties = {"Filter": {"Prefix": rule.get("Prefix", "")}}
        for name, (element, *inner) in _RULE.items():
            if name in rule:
                body[element] = {**body.get(element, {}), inner[0]: rule[name]} if inner else rule[name]
        rules.append(f"<Rule>{_xml(body)}</Rule>")
    return f"<LifecycleConfiguration>{''.join(rules)}</LifecycleConfiguration>".encode()


def apply(s3: Pinned, name: str, props: Properties) -> None:
    """Set what a new or updated bucket's properties say. Raises ValueError when S3 refuses it."""
    s3._bucket_tags[name] = {tag["Key"]: str(tag["Value"]) for tag in props.get("Tags", [])}
    if encryption := props.get("BucketEncryption"):
        _put(s3._put_bucket_encryption, name, encryption_xml(encryption))
    if lifecycle := props.get("LifecycleConfiguration"):
        _put(s3._put_bucket_lifecycle, name, lifecycle_xml(lifecycle))


def _put(put: Any, name: str, body: bytes) -> None:
    status, _, answer = put(name, body)
    if status >= 300:
        raise ValueError(f"bucket {name}: {answer.decode(errors='replace')}")
