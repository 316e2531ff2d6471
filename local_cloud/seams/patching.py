"""Replaces functions of the pinned MiniStack, and refuses to start when they are not what they were."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any


class SeamError(RuntimeError):
    """A function that a seam replaces is gone or takes other parameters: the pinned version changed."""


def service(name: str) -> ModuleType:
    """The module of one emulated service, such as ``ecs`` or ``cloudformation.provisioners``."""
    try:
        return importlib.import_module(f"ministack.services.{name}")
    except ImportError as error:
        raise SeamError(f"MiniStack has no service module {name}: the pinned version changed") from error


def require(module: ModuleType, *names: str) -> None:
    """Check that the module still has these names, which a seam reads or calls."""
    missing = [name for name in names if not hasattr(module, name)]
    if missing:
        raise SeamError(f"{module.__name__} has no {', '.join(missing)}: the pinned version changed")


def replace(module: ModuleType, name: str, parameters: str, new: Callable[..., Any]) -> None:
    """Put ``new`` in the place of ``module.name``, which must take exactly ``parameters`` (names, with spaces)."""
    require(module, name)
    found = " ".join(inspect.signature(getattr(module, name)).parameters)
    if found != parameters:
        raise SeamError(f"{module.__name__}.{name} takes ({found}), not ({parameters}): the pinned version changed")
    setattr(module, name, new)


def replace_entry(module: ModuleType, table: str, key: str, new: object) -> None:
    """Put ``new`` in the place of ``module.table[key]``, where MiniStack keeps its handlers."""
    require(module, table)
    if key not in getattr(module, table):
        raise SeamError(f"{module.__name__}.{table} has no {key}: the pinned version changed")
    getattr(module, table)[key] = new
