"""What holds for every set of copies and every policy."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from backups.copies import Copy
from backups.naming import CopyKey
from backups.retention import Decision, KeepRules, Policy, decide
from tests.unit.copies import NOW, TODAY, copy

moments = st.datetimes(dt.datetime(2023, 1, 1), dt.datetime(2027, 6, 1), timezones=st.just(dt.UTC))

copies = st.lists(
    st.builds(
        copy,
        st.integers(-3, 1200),
        source=st.sampled_from(["db", "files"]),
        hostname=st.sampled_from(["web1", "web2"]),
        verified=st.booleans(),
        compression=st.sampled_from(["", ".zst"]),
        modified=moments,
        locked_until=st.none() | moments,
    ),
    max_size=40,
    unique_by=lambda c: str(c.key),
)
durations = st.sampled_from(["", "1d", "2w", "1m", "6m", "1y", "1y6m"])
counts = st.integers(0, 14)
rules = st.builds(
    KeepRules,
    keep_last=counts,
    keep_within=durations,
    keep_daily=counts,
    keep_weekly=counts,
    keep_monthly=counts,
    keep_yearly=counts,
)
policies = st.builds(
    Policy,
    copies=st.none() | st.integers(1, 20),
    days=st.none() | st.integers(1, 400),
    rules=st.none() | rules,
    minimum=st.integers(1, 3),
)
later = st.integers(0, 900)


def at(found: list[Copy], policy: Policy, days: int) -> list[Decision]:
    """Decide so many days later."""
    span = dt.timedelta(days=days)
    return decide(found, policy, today=TODAY + span, now=NOW + span)


def removed(decisions: list[Decision]) -> set[CopyKey]:
    """The keys of what goes."""
    return {decision.copy.key for decision in decisions if not decision.keep}


@given(copies, policies)
def test_every_copy_is_decided_once_with_a_reason(found: list[Copy], policy: Policy) -> None:
    decisions = at(found, policy, 0)
    assert sorted(str(d.copy.key) for d in decisions) == sorted(str(c.key) for c in found)
    assert all(d.reasons and all(d.reasons) for d in decisions)
    assert all(d.keep or d.expires is None for d in decisions)


@given(copies, policies, later)
def test_the_newest_verified_backups_never_go(found: list[Copy], policy: Policy, days: int) -> None:
    gone = removed(at(found, policy, days))
    for owner in {(c.key.hostname, c.key.source_id) for c in found}:
        own = [c for c in found if (c.key.hostname, c.key.source_id) == owner]
        dates = sorted({c.key.date for c in own if c.verified}, reverse=True)
        assert not {c.key for c in own if c.key.date in dates[: policy.minimum]} & gone


@given(copies, policies, later)
def test_something_of_every_source_stays(found: list[Copy], policy: Policy, days: int) -> None:
    left = {(d.copy.key.hostname, d.copy.key.source_id) for d in at(found, policy, days) if d.keep}
    assert left == {(c.key.hostname, c.key.source_id) for c in found}


@given(copies, policies, later, later)
def test_what_goes_on_one_day_goes_on_every_later_one(found: list[Copy], policy: Policy, days: int, more: int) -> None:
    assert removed(at(found, policy, days)) <= removed(at(found, policy, days + more))


@given(copies, policies, later)
def test_other_hosts_and_sources_make_no_difference(found: list[Copy], policy: Policy, days: int) -> None:
    def own(c: Copy) -> bool:
        return (c.key.hostname, c.key.source_id) == ("web1", "db")

    alone = at([c for c in found if own(c)], policy, days)
    assert alone == [d for d in at(found, policy, days) if own(d.copy)]


@given(copies, policies, later)
def test_deciding_again_after_the_removal_removes_no_verified_backup(
    found: list[Copy], policy: Policy, days: int
) -> None:
    left = [d.copy for d in at(found, policy, days) if d.keep]
    again = at(left, policy, days)
    assert all(d.keep for d in again if d.copy.verified)


@given(copies, policies)
def test_a_copy_goes_by_the_day_that_was_told_and_not_before_it(found: list[Copy], policy: Policy) -> None:
    for decision in at(found, policy, 0):
        if decision.keep and decision.expires:
            days = (decision.expires - TODAY).days
            assert decision.copy.key in removed(at(found, policy, days))
            if decision.copy.verified and not decision.copy.locked_until:
                assert decision.copy.key not in removed(at(found, policy, days - 1))


@given(copies, policies)
def test_the_order_of_a_listing_does_not_matter(found: list[Copy], policy: Policy) -> None:
    assert at(found, policy, 0) == at(found[::-1], policy, 0)
