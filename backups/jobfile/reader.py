"""Checks a parsed job file against the models, and gathers every problem with its path in the file."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import ValidationError

from backups.config import ConfigModel, Plugin, alternatives
from backups.destinations import DESTINATIONS, DestinationConfig
from backups.jobfile.problems import explained, join, keys_of
from backups.jobfile.references import reference_problem
from backups.jobfile.settings import JobSettings
from backups.notifications import NOTIFICATIONS, Notification
from backups.registry import Registry
from backups.sources import SOURCES, Source

LISTS: dict[str, Registry[Any]] = {"sources": SOURCES, "destinations": DESTINATIONS, "notifications": NOTIFICATIONS}
"""The root's lists of plugins, each with the types that it may hold."""

IGNORED: dict[str, frozenset[str]] = {
    "": frozenset({"$schema"}),  # of the root: for editors
    "mysql": frozenset({"path"}),  # stands in the old manual's complete example, and never did anything
}
"""Keys that are accepted without a meaning, by type."""

OWN_MODULE = re.compile(rf"backups\.({'|'.join(LISTS)})\.(\w+)")
"""How the old tool named the module of a type; ours are registered without being named."""

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

Model = TypeVar("Model", bound=ConfigModel)


@dataclass(frozen=True)
class Parts:
    """What a job file holds, checked."""

    settings: JobSettings
    declared: tuple[Source, ...]
    """The sources as they are listed; each may stand for several."""
    destinations: tuple[DestinationConfig, ...]
    notifications: tuple[Notification, ...]
    ignored: tuple[str, ...]
    """Paths of keys that do nothing."""


class Reader:
    """Reads one job file, and gathers a line for everything that is wrong."""

    def __init__(self) -> None:
        self._problems: dict[str, None] = {}
        self._ignored: list[str] = []

    @property
    def problems(self) -> list[str]:
        """A line for each problem, with its path."""
        return list(self._problems)

    def read(self, data: dict[str, Any]) -> Parts | None:
        """The checked parts; None when there are problems."""
        self._texts(data, "")
        self._modules(data.get("modules"))
        settings = self._settings(data)
        plugins = {name: self._plugins(name, data.get(name)) for name in LISTS}
        self._encryption(data)
        if self._problems or settings is None:
            return None
        sources, destinations, notifications = (tuple(plugins[name].values()) for name in LISTS)
        return Parts(settings, sources, destinations, notifications, ignored=tuple(self._ignored))

    def _problem(self, path: str, text: str) -> None:
        self._problems[f"{path}: {text}" if path else text] = None

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
        if meant := _other_type(registry, model, known):
            self._problem(f"{path}.type", f"'{name}' does not know every key here, '{meant}' does: is that the type?")
        return self._validated(model, {**known, "type": canonical}, path, type_=name)

    def _unique(self, kind: str, items: list[Any], plugins: dict[int, Any]) -> dict[int, Any]:
        """Two with one id would write the same copies. Channels only tell, so theirs get a number instead."""
        first: dict[str, int] = {}
        for index, item in enumerate(items):
            given = item.get("id") if isinstance(item, dict) else None
            ids = _ids(plugins[index]) if index in plugins else [given] if isinstance(given, str) else []
            if kind == "notifications" and not given and ids and ids[0] in first:
                ids = [next(f"{ids[0]}-{n}" for n in range(2, len(items) + 2) if f"{ids[0]}-{n}" not in first)]
                plugins[index] = plugins[index].model_copy(update={"id": ids[0]})
            for id_ in ids:
                if id_ in first:
                    self._taken(kind, index, first[id_], id_, given=bool(given))
                first.setdefault(id_, index)
        return plugins

    def _taken(self, kind: str, index: int, other: int, id_: str, *, given: bool) -> None:
        if other == index:
            self._problem(f"{kind}[{index}]", f"would make two copies with the id '{id_}'")
        elif given:
            self._problem(f"{kind}[{index}].id", f"{kind}[{other}] has the id '{id_}' as well")
        else:
            self._problem(
                f"{kind}[{index}]", f"{kind}[{other}] has the id '{id_}' as well: give each an 'id' of its own"
            )

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
            for where, text in explained(error, model, data, type_=type_, more_keys=more_keys):
                self._problem(join(path, *where), text)
        return None


def _other_type(registry: Registry[Any], model: type[Plugin], item: dict[str, Any]) -> str:
    """The one type that knows every key of an item, when its own does not: the old manual has such an example."""
    if set(item) <= set(keys_of(model)):
        return ""
    others = [str(other.model_fields["type"].default) for other in registry if set(item) <= set(keys_of(other))]
    return others[0] if len(others) == 1 else ""


def _ids(plugin: Plugin) -> list[str]:
    """The ids that it takes: a source may stand for several."""
    return [source.id for source in plugin.expanded()] if isinstance(plugin, Source) else [plugin.id]
