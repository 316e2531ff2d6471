"""JSON Schema (draft 2020-12) of the job file, so that editors complete and check it while it is written.

It accepts every spelling that the reader accepts. What depends on several fields at once only the reader checks.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from backups.config import ConfigModel, Plugin
from backups.jobfile.reader import IGNORED, LISTS
from backups.jobfile.settings import JobSettings
from backups.registry import Registry

DRAFT = "https://json-schema.org/draft/2020-12/schema"
_PLACE = "#/$defs/{model}"

Schema = dict[str, Any]


class _Untitled(GenerateJsonSchema):
    """Leaves out titles such as 'Dbhost', which repeat the key."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def job_schema() -> Schema:
    """The schema of a whole job file, with every registered type."""
    definitions: Schema = {}
    root = model_schema(JobSettings, definitions)
    root["properties"]["$schema"] = {"type": "string", "description": "Where the editor finds this schema."}
    for name, registry in LISTS.items():
        root["properties"][name] = _list_schema(name, registry, definitions)
    return {
        "$schema": DRAFT,
        "title": "Backup job",
        **root,
        "description": "What to back up, where to, and whom to tell.",
        "required": ["sources", "destinations"],
        "if": {"not": {"required": ["encryption"]}},
        "then": {"properties": {"sources": {"items": _either("passphrase", "recipients")}}},
        "$defs": definitions,
    }


def model_schema(model: type[ConfigModel], definitions: Schema) -> Schema:
    """The schema of one model in all its spellings; what it refers to is added to ``definitions``."""
    schema = model.model_json_schema(schema_generator=_Untitled, ref_template=_PLACE)
    definitions.update(schema.pop("$defs", {}))
    schema.pop("title", None)
    properties: Schema = schema.setdefault("properties", {})
    for alias, field in model.aliases.items():
        properties[alias] = {**properties[field], "description": f"Another spelling of `{field}`."}
    required = [_spelled(model, field) for field in schema.pop("required", ())]
    for holder in model.nested:
        own = {name: value for name, value in properties.items() if name not in Plugin.model_fields}
        properties[holder] = {
            "type": "object",
            "description": "Its keys may as well stand outside.",
            "properties": own,
            "additionalProperties": False,
        }
    if required:
        schema["allOf"] = required
    return schema


def _list_schema(name: str, registry: Registry[Any], definitions: Schema) -> Schema:
    choices = []
    for model in registry:
        type_ = model.model_fields["type"].default
        spellings = [known for known in registry.names() if registry.canonical(known) == type_]
        schema = model_schema(model, definitions)
        for idle in IGNORED.get(type_, ()):
            schema["properties"][idle] = {"deprecated": True, "description": "Does nothing."}
        schema["properties"]["type"] = {"enum": spellings, "description": _first_line(model)}
        place = f"{registry.kind}.{type_}"
        definitions[place] = {"title": model.label or type_, **schema}
        choices.append(
            {
                "if": {"properties": {"type": {"enum": spellings}}, "required": ["type"]},
                "then": {"$ref": _PLACE.format(model=place)},
            }
        )
    items: Schema = {
        "type": "object",
        "required": ["type"],
        "properties": {"type": {"enum": registry.names()}},
        "allOf": choices,
    }
    wanted = {} if name == "notifications" else {"minItems": 1}
    return {"type": "array", "description": f"The {name} of the job.", **wanted, "items": items}


def _spelled(model: type[ConfigModel], field: str) -> Schema:
    """That a field is there, in one of its spellings and places."""
    spellings = [field, *(alias for alias, known in model.aliases.items() if known == field)]
    ways: list[Schema] = [{"required": [spelling]} for spelling in spellings]
    for holder in model.nested:
        ways += [
            {"required": [holder], "properties": {holder: {"type": "object", "required": [spelling]}}}
            for spelling in spellings
        ]
    return ways[0] if len(ways) == 1 else {"anyOf": ways}


def _either(*fields: str) -> Schema:
    return {"anyOf": [{"required": [field]} for field in fields]}


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().partition("\n")[0]
