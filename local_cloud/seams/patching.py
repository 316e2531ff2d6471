"""Replaces functions of the pinned MiniStack, and refuses to start when they are not what they were."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any


class SeamError(RuntimeError):
    """Something that a seam uses or replaces is gone or takes other parameters: the pinned version changed."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: the pinned version changed")


class Pinned:
    """A module of MiniStack. Its attributes are the module's own; one that is missing is a SeamError."""

    def __init__(self, module: ModuleType) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        try:
            return getattr(self._module, name)
        except AttributeError:
            raise SeamError(f"{self._module.__name__} has no {name}") from None

    def require(self, *names: str) -> None:
        """Check at start what a seam reads or calls later."""
        for name in names:
            getattr(self, name)

    def replace(self, name: str, parameters: str, new: Callable[..., Any]) -> None:
        """Put ``new`` in the place of a function that takes exactly ``parameters`` (names, with spaces)."""
        found = " ".join(inspect.signature(getattr(self, name)).parameters)
        if found != parameters:
            raise SeamError(f"{self._module.__name__}.{name} takes ({found}), not ({parameters})")
        setattr(self._module, name, new)

    def replace_value(self, name: str, new: object) -> None:
        """Put ``new`` in the place of a variable."""
        self.require(name)
        setattr(self._module, name, new)

    def replace_entry(self, table: str, key: str, new: object) -> None:
        """Put ``new`` in the place of an entry of a table of handlers."""
        if key not in getattr(self, table):
            raise SeamError(f"{self._module.__name__}.{table} has no {key}")
        getattr(self, table)[key] = new


def pinned(name: str) -> Pinned:
    """A module below ``ministack``, such as ``services.ecs``."""
    try:
        return Pinned(importlib.import_module(f"ministack.{name}"))
    except ImportError as error:
        raise SeamError(f"MiniStack has no module {name}") from error


def service(name: str) -> Pinned:
    """The module of one emulated service, such as ``ecs`` or ``cloudformation.provisioners``."""
    return pinned(f"services.{name}")
