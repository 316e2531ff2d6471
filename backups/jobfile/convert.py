"""Turns a job file of the old tool into one that may be deployed: valid JSON, one spelling, no secret in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import SecretStr

from backups.config import ConfigModel, Plugin
from backups.errors import JobError
from backups.jobfile.problems import join
from backups.jobfile.reader import IGNORED, LISTS, OWN_MODULE
from backups.jobfile.settings import Encryption
from backups.jobfile.syntax import parse_json
from backups.secrets import is_reference

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s"{}\[\],:]+|\s+', re.DOTALL)
_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True)
class Converted:
    """The new job file, and apart from it what must not be in it."""

    job: str
    """JSON with references instead of secrets."""
    secret_name: str
    """The secret of AWS Secrets Manager that the references name."""
    secrets: dict[str, str] = field(repr=False)
    """What to store there, as one JSON object. Never print it; write it to a file of mode 0600."""
    changes: tuple[str, ...] = ()
    """What was repaired, respelt or moved, a line each; no values of secrets."""


def convert(content: str, *, name: str, where: str = "") -> Converted:
    """Convert the content of an old job file; ``name`` is the job's. Raises JobError when it can't be repaired."""
    text, repairs = repaired(content)
    try:
        data = parse_json(text.encode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise JobError([f"{where or name}:{error}"]) from None
    if not isinstance(data, dict):
        raise JobError([f"{where or name}: a job file is a JSON object with 'sources' and 'destinations'"])
    converter = _Converter(f"backups/{re.sub(r'[^A-Za-z0-9/_+=.@-]+', '-', name)}")
    try:
        job = converter.job(data)
    except ValueError as error:
        raise JobError([f"{where or name}: {error}"]) from None
    return Converted(
        job=json.dumps(job, indent=2, ensure_ascii=False) + "\n",
        secret_name=converter.secret_name,
        secrets=converter.secrets,
        changes=(*repairs, *converter.changes),
    )


def repaired(text: str) -> tuple[str, list[str]]:
    """Without the two mistakes of the old manual: a comma after the last item, and ``{}`` before an object's keys."""
    tokens = [(match.group(), match.start()) for match in _TOKEN.finditer(text)]
    if sum(len(sign) for sign, _ in tokens) != len(text):
        return text, []  # a text without an end: the parser says where
    solid = [index for index, (sign, _) in enumerate(tokens) if not sign.isspace()]
    kept, repairs = dict(enumerate(sign for sign, _ in tokens)), []
    for before, here, after in zip(solid, solid[1:], solid[2:], strict=False):
        previous, sign, following = (tokens[index][0] for index in (before, here, after))
        if sign == "," and following in ("}", "]"):
            repair = "removed the comma after the last item"
        elif (previous, sign) == ("{", "}") and following.startswith('"'):
            repair = "removed a brace that closed an object before its keys"
        else:
            continue
        line = text.count("\n", 0, tokens[here][1]) + 1
        repairs.append(f"line {line}: {repair}")
        kept[here] = " "  # errors keep their column
    return "".join(kept.values()), repairs


class _Converter:
    def __init__(self, secret_name: str) -> None:
        self.secret_name = secret_name
        self.secrets: dict[str, str] = {}
        self.changes: list[str] = []

    def job(self, data: dict[str, Any]) -> dict[str, Any]:
        job: dict[str, Any] = {}
        for key, value in data.items():
            if key == "modules" and isinstance(value, list):
                others = [item for item in value if not self._built_in(item)]
                if len(others) < len(value):
                    self.changes.append("modules: removed those that are built in")
                if others:
                    job[key] = others
            elif key == "encryption" and isinstance(value, dict):
                job[key] = self._without_secrets(Encryption, value, key, "job")
            elif key in LISTS and isinstance(value, list):
                job[key] = [self._plugin(key, item, f"{key}[{index}]") for index, item in enumerate(value)]
            else:
                job[key] = value
        return job

    @staticmethod
    def _built_in(module: object) -> bool:
        own = OWN_MODULE.fullmatch(module) if isinstance(module, str) else None
        return bool(own and LISTS[own[1]].get(own[2]))

    def _plugin(self, kind: str, item: Any, path: str) -> Any:
        if not isinstance(item, dict) or not isinstance(item.get("type"), str):
            return item
        registry, type_ = LISTS[kind], item["type"]
        canonical = registry.canonical(type_)
        if canonical == "pgsql" and "instancename" in item:
            canonical = "rds"  # the old manual's example of 'rds' says 'pgsql'
        if canonical != type_:
            self.changes.append(f"{path}.type: '{type_}' is now '{canonical}'")
        model = registry.get(canonical)
        if model is None:
            return item
        idle = IGNORED.get(canonical, frozenset()) & set(item)
        self.changes += [f"{join(path, key)}: removed, it did nothing" for key in sorted(idle)]
        known = {key: value for key, value in item.items() if key not in idle}
        plain = self._spelt(model, {**known, "type": canonical}, path)
        return self._without_secrets(model, plain, path, str(item.get("id") or canonical))

    def _spelt(self, model: type[Plugin], item: dict[str, Any], path: str) -> dict[str, Any]:
        """With the model's own keys, none of them nested, and flags as true and false."""
        spelt: dict[str, Any] = {}
        for place, key, value in _entries(model, item, path):
            name = model.aliases.get(key, key)
            if name in spelt and spelt[name] != value:
                raise ValueError(f"{place}: '{name}' is given twice, in two spellings or places")
            known = model.model_fields.get(name)
            spelt[name] = _flag(value) if known and known.annotation is bool else value
            if join(path, name) != place:
                self.changes.append(f"{place}: is now {join(path, name)}")
        return spelt

    def _without_secrets(self, model: type[ConfigModel], item: dict[str, Any], path: str, owner: str) -> dict[str, Any]:
        safe = dict(item)
        for name, known in model.model_fields.items():
            value = item.get(name)
            if type(value) is int:
                value = str(value)
            if not _secret(known.annotation) or not isinstance(value, str) or not value:
                continue
            if is_reference(value):
                continue
            key = self._store(f"{owner}_{name}", value)
            safe[name] = f"{{{{resolve:secretsmanager:{self.secret_name}:SecretString:{key}}}}}"
            self.changes.append(f"{join(path, name)}: moved to '{key}' of the secret {self.secret_name}")
        return safe

    def _store(self, wish: str, value: str) -> str:
        """The key under which a value is stored; another one when the wish is taken by a different value."""
        base = re.sub(r"\W+", "_", wish, flags=re.ASCII)
        key, number = base, 1
        while self.secrets.setdefault(key, value) != value:
            number += 1
            key = f"{base}_{number}"
        return key


def _entries(model: type[Plugin], item: dict[str, Any], path: str) -> Iterator[tuple[str, str, Any]]:
    """Every key with its path, also those of nested objects."""
    for key, value in item.items():
        if key in model.nested and isinstance(value, dict):
            for inner, content in value.items():
                yield join(path, key, inner), inner, content
        else:
            yield join(path, key), key, value


def _flag(value: Any) -> Any:
    text = str(value).strip().lower()
    return _WORDS.get(text, value) if isinstance(value, str | int) else value


def _secret(annotation: Any) -> bool:
    return annotation is SecretStr or any(_secret(argument) for argument in get_args(annotation))
