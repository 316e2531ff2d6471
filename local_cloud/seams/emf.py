"""Metrics that a function prints in CloudWatch's embedded metric format, as the Powertools do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple


class Metric(NamedTuple):
    """One value of one metric under one set of dimensions."""

    namespace: str
    name: str
    value: float
    unit: str
    dimensions: dict[str, str]


def metrics(log: str) -> Iterator[Metric]:
    """Every metric in a function's output; lines that are something else are passed over."""
    for line in log.splitlines():
        if '"CloudWatchMetrics"' not in line:
            continue
        try:
            entry = json.loads(line)
            directives = entry["_aws"]["CloudWatchMetrics"]
        except (ValueError, TypeError, KeyError):
            continue
        for directive in directives:
            yield from _of_directive(entry, directive)


def _of_directive(entry: dict[str, Any], directive: dict[str, Any]) -> Iterator[Metric]:
    for names in directive.get("Dimensions", [[]]):
        dimensions = {name: str(entry[name]) for name in names}
        for metric in directive.get("Metrics", []):
            values = entry[metric["Name"]]
            for value in values if isinstance(values, list) else [values]:
                unit = metric.get("Unit", "None")
                yield Metric(directive["Namespace"], metric["Name"], float(value), unit, dimensions)
