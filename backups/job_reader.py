"""Checks a parsed job file against the models, and gathers every problem with its path in the file."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from backups.config import ID_PATTERN, ConfigModel, MissingFieldsError, Plugin, alternatives
from backups.destinations import DESTINATIONS, DestinationConfig
from backups.notifications import NOTIFICATIONS, Notification
from backups.references import reference_problem
from backups.registry import Registry
from backups.settings import HOSTNAME_PATTERN, JobSettings
from backups.sources import SOURCES, Source

LISTS: dict[str, Registry[Any]] = {"sources": SOURCES, "destinations": DESTINATIONS, "notifications": NOTIFICATIONS}
"""The root's lists of plugins, each with the types that it may hold."""

IGNORED: dict[str, frozenset[str]] = {
    "": frozenset({"$schema"}),  # of the root: for editors
    "mysql": frozenset({"path"}),  # stands in the old manual's complete example, and never did anything
}
"""Keys that are accepted without a meaning, by type."""

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
OWN_MODULE = re.compile(rf"backups\.({'|'.join(LISTS)})\.(\w+)")
_PATTERNS = {
    ID_PATTERN: "may hold letters, digits, spaces and . _ @ + = -, and starts with a letter, digit or _",
    HOSTNAME_PATTERN: "may hold letters, digits and . _ -, and starts with a letter or digit",
}

Model = TypeVar("Model", bound=ConfigModel)


@dataclass(frozen=True)
class Parts:
    """What a job file holds, checked."""

    settings: JobSettings
    sources: tuple[Source, ...]
    destinations: tuple[DestinationConfig, ...]
    notifications: tuple[Notification, ...]
    ignored: tuple[str, ...]
    """Paths of keys that do nothing."""


class Reader:
    """Reads one job file. ``problems`` gathers a line for everything that is wrong."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._ignored: list[str] = []

    def read(self, data: dict[str, Any]) -> Parts | None:
        """The checked parts; None when there are problems."""
        self._texts(data, "")
        self._modules(data.get("modules"))
        settings = self._settings(data)
        plugins = {name: self._plugins(name, data.get(name)) for name in LISTS}
        self._encryption(data)
        if self.problems or settings is None:
            return None
        lists = {name: tuple(items.values()) for name, items in plugins.items()}
        return Parts(settings, **lists, ignored=tuple(self._ignored))

    def _problem(self, path: str, text: str) -> None:
        line = f"{path}: {text}" if path else text
        if line not in self.problems:
            self.problems.append(line)

    def _texts(self, value: Any, path: str) -> None:
        """What is wrong with keys and texts wherever they stand."""
        if isinstance(value, dict):
            for name in getattr(value, "repeated", ()):
                self._problem(join(path, name), "this key is given twice")
            for name, item in value.items():
                self._texts(item, join(path, name))
        elif isinstance(value, list):
            for index, item in enumerate(value):
                self._texts(item, f"{path}[{index}]")
        elif isinstance(value, str):
            if "\0" in value or re.search(r"[\ud800-\udfff]", value):
                self._problem(path, "holds a character that no file name, command or message can hold")
            if problem := reference_problem(value):
                self._problem(path, problem)

    def _modules(self, modules: Any) -> None:
        for index, name in enumerate(modules if isinstance(modules, list) else ()):
            path = f"modules[{index}]"
            if not isinstance(name, str):
                continue  # the settings' model says so
            if not _MODULE.fullmatch(name):
                self._problem(path, "must be the name of a Python module, such as 'backups.sources.mysql'")
                continue
            own = OWN_MODULE.fullmatch(name)
            if own and LISTS[own[1]].get(own[2]):
                continue  # registered already, under its own name or another
            try:
                importlib.import_module(name)
            except (Exception, SystemExit) as error:  # foreign code
                self._problem(path, f"can't import '{name}': {type(error).__name__}: {error}")

    def _settings(self, data: dict[str, Any]) -> JobSettings | None:
        root = {name: value for name, value in data.items() if name not in LISTS and name not in IGNORED[""]}
        return self._validated(JobSettings, root, "", more_keys=LISTS)

    def _plugins(self, kind: str, items: Any) -> dict[int, Any]:
        """The items of a list that could be read, each by its index."""
        registry = LISTS[kind]
        if items is None and kind == "notifications":
            return {}
        if not isinstance(items, list):
            self._problem(kind, "required" if items is None else "must be a list")
            return {}
        if not items and kind != "notifications":
            self._problem(kind, f"at least one {registry.kind} is needed")
        known: dict[int, Any] = {}
        for index, item in enumerate(items):
            plugin = self._plugin(registry, item, f"{kind}[{index}]")
            if plugin is not None:
                known[index] = plugin
        return self._unique(kind, items, known)

    def _plugin(self, registry: Registry[Any], item: Any, path: str) -> Plugin | None:
        if not isinstance(item, dict):
            self._problem(path, "must be an object with a 'type'")
            return None
        name = item.get("type")
        if not isinstance(name, str):
            self._problem(f"{path}.type", f"required, one of: {', '.join(registry.names())}")
            return None
        model = registry.get(name)
        if model is None:
            similar = alternatives(name, registry.names())
            names = ", ".join(registry.names())
            self._problem(f"{path}.type", f"unknown type '{name}'{similar}; known are: {names}")
            return None
        canonical = registry.canonical(name)
        idle = IGNORED.get(canonical, frozenset()) & set(item)
        self._ignored += [join(path, key) for key in sorted(idle)]
        known = {key: value for key, value in item.items() if key not in idle}
        return self._validated(model, {**known, "type": canonical}, path, type_=name)

    def _unique(self, kind: str, items: list[Any], plugins: dict[int, Any]) -> dict[int, Any]:
        """Two with one id would write the same copies. Channels only tell, so theirs get a number instead."""
        first: dict[str, int] = {}
        for index, item in enumerate(items):
            given = item.get("id") if isinstance(item, dict) else None
            id_ = plugins[index].id if index in plugins else given
            if not isinstance(id_, str):
                continue
            if id_ in first and kind == "notifications" and not given:
                id_ = next(f"{id_}-{n}" for n in range(2, len(items) + 2) if f"{id_}-{n}" not in first)
                plugins[index] = plugins[index].model_copy(update={"id": id_})
            if id_ in first:
                text = f"{kind}[{first[id_]}] has the id '{id_}' as well"
                if given:
                    self._problem(f"{kind}[{index}].id", text)
                else:
                    self._problem(f"{kind}[{index}]", f"{text}: give each an 'id' of its own")
            first.setdefault(id_, index)
        return plugins

    def _encryption(self, data: dict[str, Any]) -> None:
        """Every source is encrypted in exactly one way, with a passphrase that gpg reads to its end."""
        root, sources = data.get("encryption"), data.get("sources")
        places = {"encryption": root}
        places.update({f"sources[{i}]": item for i, item in enumerate(sources if isinstance(sources, list) else ())})
        for path, item in places.items():
            if not isinstance(item, dict):
                continue
            passphrase, recipients = item.get("passphrase"), item.get("recipients")
            if isinstance(passphrase, str):
                self._passphrase(passphrase, f"{path}.passphrase")
            if item is root:
                continue  # its model says whether it gives one of the two
            if passphrase is not None and recipients is not None:
                self._problem(path, "give either 'passphrase' or 'recipients', not both")
            elif root is None and passphrase is None and recipients is None:
                self._problem(
                    path, "not encrypted: give 'passphrase' or 'recipients' here, or 'encryption' in the root"
                )

    def _passphrase(self, text: str, path: str) -> None:
        if not text.strip():
            self._problem(path, "must not be empty")
        elif "\n" in text:
            self._problem(path, "must be one line, since gpg reads no further: use its first line, or a new passphrase")

    def _validated(
        self, model: type[Model], data: dict[str, Any], path: str, *, type_: str = "", more_keys: Iterable[str] = ()
    ) -> Model | None:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            texts: dict[str, list[str]] = {}
            for detail in error.errors(include_url=False, include_input=False):
                for one in _single(detail):
                    where = join(path, *_written(model, data, one["loc"]))
                    texts.setdefault(where, []).append(_sentence(one, model, type_, more_keys))
            for where, found in texts.items():
                self._problem(where, ", or ".join(dict.fromkeys(found)))
        return None


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


def _written(model: type[ConfigModel], data: dict[str, Any], loc: tuple[str | int, ...]) -> Iterator[str | int]:
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
        keys = [*_keys(_model_at(model, detail["loc"][:-1])), *(more_keys if len(detail["loc"]) == 1 else ())]
        return f"unknown key{alternatives(str(detail['loc'][-1]), keys)}"
    if kind in ("string_too_short", "too_short") and context.get("min_length") == 1:
        return "must not be empty"
    if kind == "string_pattern_mismatch" and context.get("pattern") in _PATTERNS:
        return _PATTERNS[context["pattern"]]
    text = str(context["error"]) if kind == "value_error" and "error" in context else detail["msg"]
    text = re.sub(r"^(Input|String|Value) should ", "must ", text)
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _keys(model: type[BaseModel]) -> list[str]:
    """Every key that a model takes, in all spellings."""
    aliases = {**model.aliases, **dict.fromkeys(model.nested)} if issubclass(model, ConfigModel) else {}
    return [*model.model_fields, *aliases]


def _model_at(model: type[BaseModel], loc: tuple[str | int, ...]) -> type[BaseModel]:
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
