"""The list of types of one kind of plugin. A type known twice, or not at all, is an error."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from backups.config import Plugin

P = TypeVar("P", bound=Plugin)


class Registry(Generic[P]):
    """Types by name, each with the other names that job files use for it."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._types: dict[str, type[P]] = {}
        self._names: dict[str, str] = {}

    def add(self, plugin: type[P], *, aliases: tuple[str, ...] = ()) -> type[P]:
        """Make a type known under the default of its ``type`` field. Raises ValueError when it is known already."""
        name = str(plugin.model_fields["type"].default)
        for taken in (name, *aliases):
            if taken in self._names and self._types[self._names[taken]] is not plugin:
                raise ValueError(f"{self.kind} type '{taken}' is registered twice")
        self._types[name] = plugin
        self._names.update({known: name for known in (name, *aliases)})
        return plugin

    def get(self, name: str) -> type[P] | None:
        """The type of that name or alias."""
        return self._types.get(self._names.get(name, ""))

    def canonical(self, name: str) -> str:
        """The type's own name, for one of its aliases."""
        return self._names.get(name, name)

    def names(self) -> list[str]:
        """Every name and alias, sorted."""
        return sorted(self._names)

    def __iter__(self) -> Iterator[type[P]]:
        return iter(self._types.values())
