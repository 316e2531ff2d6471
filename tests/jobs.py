"""Job files for tests: small ones that are right, to be made wrong one piece at a time."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from backups.errors import JobError
from backups.job import Job, parse_job
from backups.jobfile.examples import EXAMPLES

DATA = Path(__file__).parent / "data" / "jobs"
KINDS = [(kind, type_) for kind, types in EXAMPLES.items() for type_ in types]
"""Every type, with the list it stands in."""


def job_data(**root: Any) -> dict[str, Any]:
    """A job with one folder and one directory."""
    data: dict[str, Any] = {
        "sources": [{"id": "etc", "type": "folder", "path": "/etc", "passphrase": "correct horse"}],
        "destinations": [{"id": "disk", "type": "local", "path": "/mnt/disk", "retention_days": 30}],
    }
    return {**data, **root}


def job_with(kind: str, *items: dict[str, Any]) -> dict[str, Any]:
    """The job with these items in one of its lists, and encryption for all."""
    data = job_data(encryption={"passphrase": "correct horse"})
    del data["sources"][0]["passphrase"]
    return {**data, kind: copy.deepcopy(list(items))}


def example(kind: str, type_: str, **changes: Any) -> dict[str, Any]:
    """The documented example of a type, with some keys changed."""
    return {**copy.deepcopy(EXAMPLES[kind][type_]), **changes}


def parsed(data: dict[str, Any]) -> Job:
    """Parse a job file with this content."""
    return parse_job(json.dumps(data).encode(), name="nightly", where="jobs/nightly.json")


def problems(data: dict[str, Any] | bytes) -> list[str]:
    """What is wrong with a job file, without the file's name; empty when nothing is."""
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    try:
        parse_job(content, name="nightly", where="jobs/nightly.json")
    except JobError as error:
        assert all(line.startswith("jobs/nightly.json:") for line in error.problems)
        return [line.removeprefix("jobs/nightly.json:").lstrip() for line in error.problems]
    return []
