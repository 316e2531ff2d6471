"""JSON of job files: what the standard library forgives is an error here, and every error has its place."""

from __future__ import annotations

import json
from typing import Any, NoReturn


class Object(dict[str, Any]):
    """A JSON object that remembers which keys it was given twice; Python's own keeps the last without a word."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        names = [name for name, _ in pairs]
        self.repeated = sorted({name for name in names if names.count(name) > 1}) if len(self) < len(pairs) else []


def parse_json(content: bytes) -> Any:
    """The content of a job file. Raises ValueError that begins with the place, such as ``12:3: trailing comma``."""
    try:
        return json.loads(content, object_pairs_hook=Object, parse_int=_integer, parse_constant=_constant)
    except UnicodeDecodeError as error:
        raise ValueError(f" not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise ValueError(_syntax_problem(error)) from None
    except ValueError as error:
        raise ValueError(f" not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError(" nested too deeply") from None


def _integer(digits: str) -> int:
    if len(digits) > 300:
        raise ValueError("a number is too long")
    return int(digits)


def _constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _syntax_problem(error: json.JSONDecodeError) -> str:
    """Python versions differ in how they report a trailing comma, the commonest mistake: say it, at the comma."""
    text, position = error.doc, error.pos
    if text[position : position + 1] != ",":
        position = len(text[:position].rstrip()) - 1
    if text[position : position + 1] == "," and text[position + 1 :].lstrip()[:1] in ("}", "]"):
        error = json.JSONDecodeError("a comma after the last item", text, position)
    return f"{error.lineno}:{error.colno}: not valid JSON: {error.msg}"
