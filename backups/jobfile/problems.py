"""Turns pydantic's errors into lines that name the place as it was written, and never a value."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from backups.config import ID_PATTERN, ConfigModel, MissingFieldsError, alternatives
from backups.jobfile.settings import HOSTNAME_PATTERN

Place = tuple[str | int, ...]

_PATTERNS = {
    ID_PATTERN: "may hold letters, digits, spaces and . _ @ + = -, and starts with a letter, digit or _",
    HOSTNAME_PATTERN: "may hold letters, digits and . _ -, and starts with a letter or digit",
}
_WANTED = {
    "a text": ("string_type", "string_unicode", "string_sub_type"),
    "true or false": ("bool_type", "bool_parsing"),
    "a whole number": ("int_type", "int_parsing", "int_from_float", "int_parsing_size"),
    "a list": ("tuple_type", "list_type"),
    "an object": ("model_type", "model_attributes_type", "dict_type"),
    "a path": ("path_type",),
}
_PLAIN = {kind: wanted for wanted, kinds in _WANTED.items() for kind in kinds}


def explained(
    error: ValidationError,
    model: type[ConfigModel],
    data: dict[str, Any],
    *,
    type_: str = "",
    more_keys: Iterable[str] = (),
) -> Iterator[tuple[Place, str]]:
    """What is wrong with each place in ``data``. ``more_keys`` are known beside those of the model."""
    texts: dict[Place, list[str]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        for one in _single(detail):
            place = tuple(_written(model, data, one["loc"]))
            texts.setdefault(place, []).append(_sentence(one, model, type_, more_keys))
    for place, found in texts.items():
        yield place, ", or ".join(dict.fromkeys(found))


def join(path: str, *parts: str | int) -> str:
    """A path such as ``sources[2].dbhost``; keys that hold dots or the like are quoted."""
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        elif re.fullmatch(r"[\w$-]+", part):
            path += f".{part}" if path else part
        else:
            path += f"[{json.dumps(part)}]"
    return path


def _written(model: type[ConfigModel], data: dict[str, Any], loc: Place) -> Iterator[str | int]:
    """Where an error is in the file: pydantic knows it in the model's spelling, without ``credentials``."""
    current: Any = data
    if loc and isinstance(loc[0], str):
        holders: list[tuple[str, ...]] = [(), *((name,) for name in model.nested)]
        for holder in holders:
            inner = data.get(holder[0]) if holder else data
            names = [n for n in inner if model.aliases.get(n, n) == loc[0]] if isinstance(inner, dict) else []
            if isinstance(inner, dict) and names and names[0] not in model.nested:
                yield from (*holder, names[0])
                current, loc = inner[names[0]], loc[1:]
                break
    for part in loc:
        # The rest are pydantic's own words for the members of a union.
        if isinstance(part, str) and isinstance(current, dict):
            yield part
            current = current.get(part)
        elif isinstance(part, int) and isinstance(current, list) and part < len(current):
            yield part
            current = current[part]


def _single(detail: ErrorDetails) -> Iterator[ErrorDetails]:
    """An error that names several fields as one for each of them."""
    cause = detail.get("ctx", {}).get("error")
    if not isinstance(cause, MissingFieldsError):
        yield detail
        return
    for name in cause.fields:
        yield {**detail, "type": "missing", "loc": (*detail["loc"], name)}


def _sentence(detail: ErrorDetails, model: type[ConfigModel], type_: str, more_keys: Iterable[str]) -> str:
    """What is wrong, without the value: any text may be a secret."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return f"required for type '{type_}'" if type_ else "required"
    if kind == "extra_forbidden":
        keys = [*keys_of(_model_at(model, detail["loc"][:-1])), *(more_keys if len(detail["loc"]) == 1 else ())]
        return f"unknown key{alternatives(str(detail['loc'][-1]), keys)}"
    if kind in _PLAIN:
        return f"must be {_PLAIN[kind]}"
    if kind in ("string_too_short", "too_short") and context.get("min_length") == 1:
        return "must not be empty"
    if kind == "string_pattern_mismatch" and context.get("pattern") in _PATTERNS:
        return _PATTERNS[context["pattern"]]
    text = str(context["error"]) if kind == "value_error" and "error" in context else detail["msg"]
    text = re.sub(r"^(Input|String|Value) should ", "must ", text)
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def keys_of(model: type[BaseModel]) -> list[str]:
    """Every key that a model takes, in all spellings."""
    aliases = {**model.aliases, **dict.fromkeys(model.nested)} if issubclass(model, ConfigModel) else {}
    return [*model.model_fields, *aliases]


def _model_at(model: type[BaseModel], loc: Place) -> type[BaseModel]:
    """The model that describes the object at a place."""
    for part in loc:
        field = model.model_fields.get(str(part))
        model = next(_models(field.annotation), model) if field else model
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
