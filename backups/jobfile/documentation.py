"""Writes docs/configuration.md from the models: ``python -m backups.jobfile.documentation > docs/configuration.md``."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from typing import Any

from backups.config import ConfigModel, Plugin
from backups.destinations import DestinationConfig
from backups.errors import ExitCode
from backups.jobfile.examples import EXAMPLES, SMALLEST
from backups.jobfile.reader import LISTS
from backups.jobfile.references import FORMS
from backups.jobfile.schema import model_schema
from backups.jobfile.settings import Encryption, JobSettings, VerifyRules
from backups.notifications import Notification
from backups.retention import KeepRules
from backups.sources import Source

BASES: dict[str, type[Plugin]] = {
    "sources": Source,
    "destinations": DestinationConfig,
    "notifications": Notification,
}
EXIT_CODES = {
    ExitCode.OK: "Everything is stored everywhere.",
    ExitCode.FAILED: "Nothing was stored.",
    ExitCode.USAGE: "Wrong arguments, or a job file that can't be used. Nothing was touched.",
    ExitCode.PARTIAL: "Some source or destination failed; the rest is stored.",
    ExitCode.INTERRUPTED: "Stopped by Ctrl-C (SIGINT).",
    ExitCode.TERMINATED: "Stopped by the system (SIGTERM).",
}
_SERVICES = {
    "secretsmanager": "The value of a key of a JSON secret in AWS Secrets Manager; without `:KEY`, the whole secret.",
    "ssm-secure": "A SecureString of the SSM Parameter Store.",
    "ssm": "Any parameter of the SSM Parameter Store.",
    "env": "An environment variable. For one machine.",
    "file": "The content of a file, without the newline at its end. For one machine.",
}
_LISTS = {
    "sources": "What is backed up. At least one.",
    "destinations": "Where copies are stored: every source at every destination. At least one.",
    "notifications": "Who is told of a run. None is needed.",
}
_SECTIONS = {"KeepRules": "[rules](#retention)", "Encryption": "[object](#encryption)"} | {
    "VerifyRules": "[object](#verification)"
}

_TEXT = """\
<!-- Made from the models by `python -m backups.jobfile.documentation`; a test fails when they differ. -->
# Job files

A job file is JSON. It names what is backed up, where the copies go, and who is told. The smallest one:

{smallest}

`backups validate JOB.json` shows everything that is wrong with a file at once, each with its place. An unknown key is
an error: a misspelt one is never skipped. `backups schema` prints a JSON Schema; an editor that is told of it, by
`"$schema": "job.schema.json"` in the file, completes and checks keys while you type.

## The root

{root}

Copies are stored under `hostname/yyyy-mm-dd/id.sql.gpg` (or `.tar.gpg`, `.json.gpg`; with `.zst` or `.gz` before
`.gpg` when zstd or gzip compressed them).

### Schedule

Five fields of cron (`30 2 * * 1-5`: minute, hour, day of month, month, day of week), or EventBridge's own
`cron(30 2 ? * 2-6 *)` or `rate(12 hours)`. Cron counts the days of the week from Sunday as 0, EventBridge from Sunday
as 1; names (`MON`) mean the same in both. EventBridge can't restrict the day of month and the day of week together.

### Encryption

Every source is encrypted: by its own `passphrase` or `recipients`, or by the root's `encryption`, which has the same
two keys. A passphrase is one line, since GnuPG reads no further.

{encryption}

## Secrets

Any text may be a reference, or hold one. It is resolved at the last moment, by the process that needs the value.

{references}

A deployed job is refused while a passphrase, password, key, token or web hook stands in it in plain.
`backups convert OLD.cfg` moves them out of an old file.

A file that holds secrets in plain belongs to the user that runs the job, with mode 0600. Nobody else may write to any
job file, since it decides what is run.

## Retention

`retention_copies` and `retention_days` at a destination: a copy stays while it is within both that are given.
`retention`, at a destination or in the root, holds rules: a copy stays while any of them keeps it. A destination
that has any of the three does not use the root's. A copy that either form keeps stays, and with none at all every
copy does.

{retention}

The newest `retention_minimum` verified copies of a source stay whatever the rules say. Only copies of the job's own
host and sources are counted and removed, and only after a run that stored a verified copy.

## Verification

Every copy is read back whole, again and again: its size and sha256 are compared with its manifest, and gpg decrypts it
to nothing, which makes its own check. Deployed, a check of each job runs by `schedule` and reads a share of the copies,
the newest that was never read and those that wait longest first, so that each has its turn within `every_days`. On one
machine `backups verify --due JOB.json` does the same, from cron. [operations.md](operations.md#checks-of-the-copies)
says what a check tells, and to whom.

{verification}

{lists}
## Spellings of old files

Flags may be `true` or `false`, `1` or `0`, `"1"` or `"0"`. Modules of the old tool in `modules` are accepted. A
source, destination or notification without `id` gets one from its type and content.

## Exit codes

{exit_codes}
"""


def configuration_markdown() -> str:
    """The text of docs/configuration.md."""
    return _TEXT.format(
        smallest=_json(SMALLEST),
        root=_root_table(),
        encryption=_keys_table(Encryption),
        references=_table(("Reference", "Value"), [(f"`{form}`", _SERVICES[name]) for name, form in FORMS.items()]),
        retention=_keys_table(KeepRules),
        verification=_keys_table(VerifyRules),
        lists="\n".join(_list_section(name) for name in LISTS),
        exit_codes=_table(("Code", "Meaning"), [(str(int(code)), EXIT_CODES[code]) for code in ExitCode]),
    )


def _list_section(name: str) -> str:
    base = BASES[name]
    skip = {"type", "id"}
    common = _keys_table(base, first={"type": ("text", "required", f"Which kind of {LISTS[name].kind} it is.")})
    own = [_type_section(name, model, set(base.model_fields) | skip) for model in LISTS[name]]
    return (
        "\n\n".join([f"## {name.capitalize()}", _LISTS[name], f"Every type has these keys:\n\n{common}", *own]) + "\n"
    )


def _type_section(name: str, model: type[Plugin], common: set[str]) -> str:
    type_ = str(model.model_fields["type"].default)
    names = [known for known in LISTS[name].names() if LISTS[name].canonical(known) == type_]
    others = [f"`{known}`" for known in names if known != type_]
    parts = [f"### `{type_}`: {model.label or type_}", inspect.cleandoc(model.__doc__ or "")]
    if model.unavailable:
        parts.append("Job files with it are checked, but it can't run yet.")
    if others:
        parts.append(f"Also written {', '.join(others)}.")
    if type_ in EXAMPLES[name]:
        parts.append(_json(EXAMPLES[name][type_]))
    parts.append(_keys_table(model, skip=common))
    spellings = [f"`{alias}` for `{field}`" for alias, field in model.aliases.items()]
    if spellings:
        parts.append(f"Another spelling: {', '.join(spellings)}.")
    if model.nested:
        parts.append(f"Any of these may as well stand in an object `{'`, `'.join(model.nested)}`.")
    return "\n\n".join(parts)


def _root_table() -> str:
    rows = {name: (f"list of [{name}](#{name})", "", text) for name, text in _LISTS.items()}
    for name in ("sources", "destinations"):
        rows[name] = (rows[name][0], "required", rows[name][2])
    return _keys_table(JobSettings, first=rows)


def _keys_table(
    model: type[ConfigModel], *, skip: set[str] | None = None, first: dict[str, tuple[str, str, str]] | None = None
) -> str:
    definitions: dict[str, Any] = {}
    properties = model_schema(model, definitions)["properties"]
    rows = [(f"`{name}`", *row) for name, row in (first or {}).items()]
    for name, field in model.model_fields.items():
        if name in (skip or ()) or name in (first or ()):
            continue
        default = "required" if field.is_required() else _default(properties[name].get("default"))
        description = " ".join(properties[name].get("description", "").split())
        rows.append((f"`{name}`", _type(properties[name], definitions), default, description))
    return _table(("Key", "Type", "Default", "Meaning"), rows) if rows else ""


def _type(schema: dict[str, Any], definitions: dict[str, Any]) -> str:
    """A schema in words."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return _SECTIONS.get(name) or _type(definitions[name], definitions)
    if "anyOf" in schema:
        members = [_type(member, definitions) for member in schema["anyOf"] if member.get("type") != "null"]
        return "true or false" if members[0] == "true or false" else " or ".join(dict.fromkeys(members))
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}), definitions)}s"
    if schema.get("format") == "password":
        return "secret"
    words = {"string": "text", "integer": "whole number", "number": "number"}
    words |= {"boolean": "true or false", "object": "object"}
    return words.get(schema.get("type", ""), "anything")


def _default(value: object) -> str:
    return "" if value in (None, "", [], ()) else f"`{json.dumps(value)}`"


def _json(example: dict[str, Any]) -> str:
    return f"```json\n{json.dumps(example, indent=2)}\n```"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


if __name__ == "__main__":
    print(configuration_markdown(), end="")
