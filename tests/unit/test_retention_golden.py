"""Long histories, night by night, against tables that were checked by hand."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from backups.copies import Copy
from backups.retention import KeepRules, Policy, decide
from tests.unit.copies import copy

GOLDEN = Path(__file__).parent.parent / "data" / "retention"
FIRST, LAST = dt.date(2024, 1, 1), dt.date(2026, 11, 23)

POLICIES = {
    "grandfather_father_son": Policy(rules=KeepRules(keep_daily=7, keep_weekly=4, keep_monthly=12, keep_yearly=3)),
    "old_tool_copies_and_days": Policy(copies=14, days=10),
    "within_and_monthly": Policy(rules=KeepRules(keep_within="2w", keep_monthly=6)),
}


def history(policy: Policy, outage: range) -> str:
    """Make a copy and prune each night, without copies while there is an outage; what is left, and why."""
    held: list[Copy] = []
    decisions = []
    for night in range((LAST - FIRST).days + 1):
        today = FIRST + dt.timedelta(days=night)
        if (LAST - today).days not in outage:
            held.append(copy(today))
        decisions = decide(held, policy, today=today, now=dt.datetime.combine(today, dt.time(3), dt.UTC))
        held = [decision.copy for decision in decisions if decision.keep]
    lines = [
        f"{d.copy.key.date:%Y-%m-%d %a} until {d.expires or 'replaced'}: {', '.join(d.reasons)}"
        for d in decisions
        if d.keep
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", POLICIES)
def test_nightly_copies_of_three_years(name: str) -> None:
    assert history(POLICIES[name], range(0)) == (GOLDEN / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", POLICIES)
def test_nightly_copies_that_stopped_forty_days_ago(name: str) -> None:
    assert history(POLICIES[name], range(40)) == (GOLDEN / f"{name}_after_an_outage.txt").read_text()
