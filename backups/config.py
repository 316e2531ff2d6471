"""What every model of the job file shares: closed, frozen, with flags and aliases as old job files write them."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, StringConstraints, model_validator

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


Flag = Annotated[bool, BeforeValidator(_flag, json_schema_input_type=bool | int | str)]
"""A switch."""

Identifier = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9 ._@+=-]*$", max_length=128, strip_whitespace=False)
]
"""Names a source or destination; it becomes part of object keys, so no slashes and no control characters."""


class ConfigModel(BaseModel):
    """A closed part of the job file. Input never shows in errors, since any string may be a secret."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, hide_input_in_errors=True, use_attribute_docstrings=True, validate_default=False
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
            inner = value.items() if key in cls.nested and isinstance(value, dict) else [(key, value)]
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

    @model_validator(mode="after")
    def _derived_id(self) -> Plugin:
        if not self.id:
            object.__setattr__(self, "id", derived_id(self.type, [getattr(self, f, None) for f in self.identity]))
        return self


def derived_id(type_: str, parts: list[Any]) -> str:
    """A readable id from the type and the fields that identify; a hash is added where reading loses something."""
    text = "-".join(
        str(p.get_secret_value() if isinstance(p, SecretStr) else p) for p in parts if p not in (None, "", [], ())
    )
    slug = re.sub(r"[^A-Za-z0-9._]+", "-", text).strip("-.")[:40].rstrip("-.")
    if slug == text and text:
        return f"{type_}-{slug}"
    digest = hashlib.sha256(text.encode()).hexdigest()[:6]
    return "-".join(part for part in (type_, slug, digest) if part)


Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
