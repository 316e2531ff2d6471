"""What every model of the job file shares: closed, frozen, with flags and aliases as old job files write them."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterable
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off", ""})


def _flag(value: object) -> object:
    """Old job files write flags as 0/1, "0"/"1" or true/false; "0" means false."""
    if isinstance(value, str):
        lowered = value.strip().lower()
        if lowered in _TRUE:
            return True
        if lowered in _FALSE:
            return False
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    return value


_Word = Literal["1", "true", "yes", "on", "0", "false", "no", "off", ""]

Flag = Annotated[bool, BeforeValidator(_flag, json_schema_input_type=bool | Literal[0, 1] | _Word)]
"""A switch."""

ID_PATTERN = r"^[A-Za-z0-9_][A-Za-z0-9 ._@+=-]*$"

Identifier = Annotated[str, StringConstraints(pattern=ID_PATTERN, max_length=128, strip_whitespace=False)]
"""Names a source or destination; it becomes part of object keys, so no slashes and no control characters."""


class MissingFieldsError(ValueError):
    """Raise it in a model's validator for fields that are needed because of others; each is shown at its path."""

    def __init__(self, *fields: str) -> None:
        super().__init__(f"required: {', '.join(fields)}")
        self.fields = fields


class ConfigModel(BaseModel):
    """A closed part of the job file. Input never shows in errors, since any string may be a secret."""

    model_config = ConfigDict(
        defer_build=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=False,
    )

    aliases: ClassVar[dict[str, str]] = {}
    """Other spellings that job files use, each with the field it stands for."""

    nested: ClassVar[tuple[str, ...]] = ()
    """Objects whose keys may as well stand flat, such as ``credentials``."""

    @model_validator(mode="before")
    @classmethod
    def _spellings(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        flat: dict[str, Any] = {}
        for key, value in data.items():
            nested = key in cls.nested and isinstance(value, dict)
            inner: Iterable[tuple[str, Any]] = value.items() if nested else [(key, value)]
            for name, content in inner:
                field = cls.aliases.get(name, name)
                if field in flat and flat[field] != content:
                    raise ValueError(f"'{name}' is given twice, in two spellings or places")
                flat[field] = content
        return flat


class Plugin(ConfigModel):
    """A source, destination or notification: chosen by ``type``, known by ``id``."""

    id: Identifier = ""
    """Unique name within the job; made from the type and content when it is missing."""

    label: ClassVar[str] = ""
    """How messages call this type, such as ``MySQL``."""

    identity: ClassVar[tuple[str, ...]] = ()
    """The fields that tell two of this type apart; an id is derived from them."""

    unavailable: ClassVar[str] = ""
    """Why this type parses but can't run yet; empty when it can."""

    type: str

    @classmethod
    def not_yet(cls) -> str:
        """Says plainly that a type of this kind parses but can't run yet; empty when it can."""
        if not cls.unavailable:
            return ""
        type_ = cls.model_fields["type"].default
        return f"type '{type_}' is understood but can't run yet: {cls.unavailable}"

    @model_validator(mode="after")
    def _derived_id(self) -> Plugin:
        if not self.id:
            object.__setattr__(self, "id", derived_id(self.type, [getattr(self, f, None) for f in self.identity]))
        return self


def derived_id(type_: str, parts: list[Any]) -> str:
    """A readable id from the type and the fields that identify; a hash is added where reading loses something.

    Of a secret only the hash is used: ids stand in object keys, logs and messages.
    """
    given = [part for part in parts if part not in (None, "", [], ())]
    shown = "-".join(str(part) for part in given if not isinstance(part, SecretStr))
    whole = "-".join(str(p.get_secret_value() if isinstance(p, SecretStr) else p) for p in given)
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", shown).strip("-.")[:40].rstrip("-.")
    if slug == whole:
        return "-".join(part for part in (type_, slug) if part)
    digest = hashlib.sha256(whole.encode()).hexdigest()[:6]
    return "-".join(part for part in (type_, slug, digest) if part)


def alternatives(word: str, known: Iterable[str]) -> str:
    """`` (did you mean 'dbhost'?)`` when something known is close to the word, else nothing."""
    by_lower = {name.lower(): name for name in sorted(known, reverse=True)}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.7)
    return f" (did you mean '{by_lower[close[0]]}'?)" if close else ""


def _web_address(value: str) -> str:
    if not re.match(r"https?://[^/\s]|\{\{resolve:", value, re.IGNORECASE):
        raise ValueError("must be a web address that begins with https:// or http://")
    return value


def _secret_web_address(value: SecretStr) -> SecretStr:
    _web_address(value.get_secret_value())
    return value


WebAddress = Annotated[str, AfterValidator(_web_address)]
"""A URL, or a reference to one."""

SecretWebAddress = Annotated[SecretStr, AfterValidator(_secret_web_address)]
"""A URL that holds a token."""

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
