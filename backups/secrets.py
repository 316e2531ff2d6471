"""Resolves references to secrets at the last moment, and takes every secret out of texts that leave the process.

A reference has CloudFormation's form: ``{{resolve:secretsmanager:NAME:SecretString:KEY}}``,
``{{resolve:ssm-secure:NAME}}``, ``{{resolve:env:NAME}}``, ``{{resolve:file:PATH}}``.
"""

from __future__ import annotations

import json
import logging
import os
import re
import threading
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, SecretStr

from backups.errors import SecretError

REFERENCE = re.compile(r"\{\{resolve:(?P<service>secretsmanager|ssm-secure|ssm|env|file):(?P<rest>[^}]+)\}\}")
_MASK = "****"
_SHORTEST = 4  # a shorter value would mask half of every message

Model = TypeVar("Model", bound=BaseModel)
Lookup = Callable[[str], str]


def references(value: object) -> Iterable[tuple[str, str]]:
    """Every reference in a model, list, dict or string, as (service, rest)."""
    for text in _strings(value):
        for match in REFERENCE.finditer(text):
            yield match["service"], match["rest"]


def is_reference(text: str) -> bool:
    """Whether the text holds a reference at all."""
    return REFERENCE.search(text) is not None


class Scrubber:
    """Knows the secrets of this process and masks them, also as URLs, JSON, shells and Python would write them."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self._lock = threading.Lock()

    def add(self, secret: str) -> None:
        """Remember a secret; values under four characters are left alone."""
        raw = secret.encode("utf-8", "surrogateescape")  # an environment variable may be no UTF-8
        quoted = {quote(raw) for quote in (urllib.parse.quote, urllib.parse.quote_plus)}
        quoted.add(urllib.parse.quote(raw, safe=""))
        forms = {secret, secret.strip(), *quoted, *(_lower_escapes(form) for form in quoted)}
        forms |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
        forms.add(secret.replace("'", "'\"'\"'"))  # shlex.quote
        forms |= {line for line in secret.splitlines() if len(line) >= 2 * _SHORTEST}
        with self._lock:
            self._forms |= {form for form in forms if len(form) >= _SHORTEST}
            longest_first = sorted(self._forms, key=len, reverse=True)
            self._pattern = re.compile("|".join(map(re.escape, longest_first))) if longest_first else None

    def __call__(self, text: str) -> str:
        """The text with every known secret masked."""
        return self._pattern.sub(_MASK, text) if self._pattern else text


class ScrubbingFilter(logging.Filter):
    """Masks secrets in log records before any handler sees them."""

    def __init__(self, scrub: Scrubber) -> None:
        super().__init__()
        self._scrub = scrub

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._scrub(record.getMessage()), None
        if record.exc_info:
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_info, record.exc_text = None, self._scrub(text)
        return True


class Secrets:
    """Resolves references, each once per process, and remembers every value for the scrubber."""

    def __init__(self, lookups: Mapping[str, Lookup] | None = None, *, scrub: Scrubber | None = None) -> None:
        self.scrub = scrub or Scrubber()
        self._lookups: dict[str, Lookup] = {
            "env": _from_environment,
            "file": _from_file,
            "secretsmanager": _from_secrets_manager,
            "ssm-secure": _from_parameter_store,
            "ssm": _from_parameter_store,
            **(lookups or {}),
        }
        self._known: dict[tuple[str, str], str] = {}
        self._lock = threading.Lock()

    def text(self, value: str) -> str:
        """A string with its references replaced. Raises SecretError."""
        return REFERENCE.sub(lambda match: self._value(match["service"], match["rest"]), value)

    def resolve(self, model: Model) -> Model:
        """A copy of a model with every reference replaced, just before it is used. Raises SecretError."""
        return self._walk(model)  # type: ignore[no-any-return]

    def _walk(self, value: Any) -> Any:
        if isinstance(value, SecretStr):
            plain = self.text(value.get_secret_value())
            self.scrub.add(plain)
            return SecretStr(plain)
        if isinstance(value, str) and type(value) is str:
            return self.text(value)
        if isinstance(value, BaseModel):
            return value.model_copy(
                update={name: self._walk(getattr(value, name)) for name in type(value).model_fields}
            )
        if isinstance(value, list | tuple):
            return type(value)(self._walk(item) for item in value)
        if isinstance(value, dict):
            return {key: self._walk(item) for key, item in value.items()}
        return value

    def _value(self, service: str, rest: str) -> str:
        with self._lock:
            if (service, rest) not in self._known:
                value = self._lookups[service](rest)
                self.scrub.add(value)
                self._known[service, rest] = value
            return self._known[service, rest]


def _from_environment(name: str) -> str:
    if name not in os.environ:
        raise SecretError(f"environment variable {name} is not set", hint="a reference in the job file needs it")
    return os.environ[name]


def _from_file(path: str) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise SecretError(f"secret file {path}: {reason}", hint="a reference in the job file names it") from None
    return text.removesuffix("\n")


def _from_secrets_manager(rest: str) -> str:
    """``NAME[:SecretString[:KEY[:STAGE[:VERSION]]]]``; NAME may be an ARN, which has colons of its own."""
    name, _, tail = rest.partition(":SecretString")
    key, stage, version = [*tail.removeprefix(":").split(":"), "", "", ""][:3]
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    where = {"VersionStage": stage} if stage else {}
    if version:
        where["VersionId"] = version
    try:
        answer = boto3.client("secretsmanager").get_secret_value(SecretId=name, **where)
    except (BotoCoreError, ClientError) as error:
        raise SecretError(f"secret {name}: {error}", hint="does it exist, and may this role read it?") from None
    text = answer.get("SecretString")
    if text is None:
        raise SecretError(f"secret {name} is binary", hint="store it as text, or as a JSON object")
    return _json_value(name, text, key) if key else text


def _json_value(name: str, text: str, key: str) -> str:
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict) or key not in content:
        raise SecretError(f"secret {name} has no JSON key '{key}'", hint="store it as a JSON object")
    value = content[key]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise SecretError(f"JSON key '{key}' of secret {name} is neither text nor a number")
    return str(value)


def _from_parameter_store(name: str) -> str:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return str(boto3.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"]["Value"])
    except (BotoCoreError, ClientError) as error:
        raise SecretError(f"parameter {name}: {error}", hint="does it exist, and may this role read it?") from None


def _lower_escapes(quoted: str) -> str:
    return re.sub(r"%[0-9A-F]{2}", lambda match: match[0].lower(), quoted)


def _strings(value: object) -> Iterable[str]:
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, str):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _strings(getattr(value, name))
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _strings(item)
