"""Which copies stay, case by case."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import pytest
from pydantic import ValidationError

from backups.copies import Copy
from backups.retention import Decision, KeepRules, Policy, decide
from tests.unit.copies import NOW, TODAY, copy


def ages(copies: Iterable[Copy], policy: Policy) -> list[int]:
    """Ages in days of what stays."""
    decisions = decide(copies, policy, today=TODAY, now=NOW)
    return [(TODAY - decision.copy.key.date).days for decision in decisions if decision.keep]


def only(copies: Iterable[Copy], policy: Policy, age: int) -> Decision:
    """The decision on the copy of that age."""
    decisions = decide(copies, policy, today=TODAY, now=NOW)
    return next(d for d in decisions if (TODAY - d.copy.key.date).days == age)


DAILY = [copy(age) for age in range(60)]


def test_without_a_rule_everything_stays() -> None:
    decisions = decide(DAILY, Policy(), today=TODAY, now=NOW)
    assert len(decisions) == 60
    assert all(d.keep and d.reasons[0] == "no retention is set" and d.expires is None for d in decisions)


@pytest.mark.parametrize("rules", [{}, {"keep_daily": 0}, {"keep_within": ""}, {"keep_last": 0, "keep_yearly": 0}])
def test_retention_without_a_single_rule_removes_nothing(rules: dict[str, object]) -> None:
    assert ages(DAILY, Policy(rules=KeepRules.model_validate(rules))) == list(range(60))


def test_the_old_tools_three_copies_beyond_their_days_do_not_all_go() -> None:
    assert ages([copy(40), copy(41), copy(42)], Policy(days=30)) == [40]


def test_days_count_from_the_date_in_the_key_and_the_last_day_stays() -> None:
    assert ages(DAILY, Policy(days=30)) == list(range(31))
    assert only(DAILY, Policy(days=30), 30).expires == TODAY + dt.timedelta(days=1)
    assert only(DAILY, Policy(days=30), 31).reasons == ("31 days old; kept are: within 30 days",)


def test_copies_count_backups_and_not_days_or_objects() -> None:
    with_gaps = [copy(age) for age in (0, 5, 10, 300)]
    assert ages(with_gaps, Policy(copies=3)) == [0, 5, 10]
    two_objects = [copy(age, compression=suffix) for age in range(3) for suffix in ("", ".zst")]
    assert ages(two_objects, Policy(copies=2)) == [0, 0, 1, 1]


def test_a_copy_must_be_within_both_copies_and_days() -> None:
    assert ages(DAILY, Policy(copies=10, days=5)) == list(range(6))
    assert ages(DAILY, Policy(copies=3, days=5)) == [0, 1, 2]
    assert only(DAILY, Policy(copies=3, days=5), 1).reasons == ("newest 3 and within 5 days",)


def test_either_of_the_two_forms_keeps() -> None:
    rules = KeepRules(keep_monthly=2)
    assert ages(DAILY, Policy(copies=2, rules=rules)) == [0, 1, 23]
    assert only(DAILY, Policy(copies=2, rules=rules), 0).reasons == (
        "newest 2",
        "monthly 1 of 2",
        "newest verified backup",
    )


def test_an_empty_retention_beside_days_leaves_the_days() -> None:
    assert ages(DAILY, Policy(days=3, rules=KeepRules())) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("rules", "stay"),
    [
        (KeepRules(keep_last=2), [0, 1]),
        (KeepRules(keep_daily=3), [0, 1, 2]),
        (KeepRules(keep_weekly=3), [0, 1, 8]),  # Monday; the Sundays before
        (KeepRules(keep_monthly=3), [0, 23, 54]),  # 31 October, 30 September
        (KeepRules(keep_yearly=2), [0]),
        (KeepRules(keep_within="1w"), list(range(8))),
        (KeepRules(keep_within="1m"), list(range(32))),
        (KeepRules(keep_last=1, keep_weekly=2, keep_monthly=2), [0, 1, 23]),
    ],
)
def test_each_rule_keeps_the_newest_of_its_periods(rules: KeepRules, stay: list[int]) -> None:
    assert ages(DAILY, Policy(rules=rules)) == stay


def test_the_same_week_or_month_of_two_years_is_not_the_same_period() -> None:
    yearly = [copy(dt.date(year, 11, 20)) for year in (2026, 2025, 2024)]
    assert len(ages(yearly, Policy(rules=KeepRules(keep_weekly=2)))) == 2
    assert len(ages(yearly, Policy(rules=KeepRules(keep_monthly=2)))) == 2


def test_the_minimum_stays_whatever_the_rules_say() -> None:
    old = [copy(age) for age in (100, 200, 300)]
    assert ages(old, Policy(days=7)) == [100]
    assert ages(old, Policy(days=7, minimum=2)) == [100, 200]
    assert ages(old, Policy(days=7, minimum=5)) == [100, 200, 300]
    assert ages(old, Policy(days=7, minimum=0)) == []
    kept = only(old, Policy(days=7, minimum=2), 200)
    assert kept.reasons == ("one of the newest 2 verified backups",)
    assert kept.expires is None


def test_the_minimum_counts_each_source_for_itself() -> None:
    copies = [copy(100, source="db"), copy(200, source="files"), copy(300, source="files")]
    assert ages(copies, Policy(days=7)) == [100, 200]


def test_an_unverified_backup_takes_no_place_of_a_verified_one() -> None:
    copies = [copy(3, verified=False), copy(4, verified=False), copy(5), copy(6), copy(7)]
    assert ages(copies, Policy(copies=2)) == [3, 4, 5, 6]
    assert ages(copies, Policy(days=1)) == [5]


def test_an_unverified_backup_stays_no_longer_than_a_verified_one_would() -> None:
    copies = [copy(3), copy(4), copy(5, verified=False), copy(40, verified=False)]
    assert ages(copies, Policy(copies=2)) == [3, 4]
    assert ages(copies, Policy(days=30)) == [3, 4, 5]
    gone = only(copies, Policy(days=30), 40)
    assert gone.reasons == ("not verified, 40 days old; kept are: within 30 days",)


def test_what_was_written_in_the_last_two_days_may_still_get_its_manifest() -> None:
    moment = NOW - dt.timedelta(hours=47)
    copies = [copy(0), copy(90, verified=False, modified=moment)]
    kept = only(copies, Policy(copies=1), 90)
    assert kept.keep
    assert kept.reasons == ("not verified, but written in the last 2 days",)
    assert kept.expires == dt.date(2026, 11, 24)
    later = decide(copies, Policy(copies=1), today=TODAY, now=NOW + dt.timedelta(hours=1))
    assert [d.keep for d in later] == [True, False]


def test_the_newest_stays_when_a_source_has_nothing_verified() -> None:
    copies = [copy(age, verified=False) for age in (40, 41, 42)]
    assert ages(copies, Policy(days=30)) == [40]
    assert only(copies, Policy(days=30), 40).reasons == ("newest backup of a source that has no verified one",)
    assert ages(copies, Policy(days=30, minimum=0)) == []


def test_a_lock_keeps_its_object_until_it_ends() -> None:
    end = dt.datetime(2026, 12, 1, 12, tzinfo=dt.UTC)
    copies = [copy(0), copy(50, locked_until=end), copy(51, locked_until=NOW - dt.timedelta(seconds=1))]
    assert ages(copies, Policy(days=30)) == [0, 50]
    locked = only(copies, Policy(days=30), 50)
    assert locked.reasons == ("locked until 2026-12-01 12:00",)
    assert locked.expires == dt.date(2026, 12, 2)


def test_the_longest_reason_says_when_a_copy_goes() -> None:
    policy = Policy(days=5, rules=KeepRules(keep_within="10d"))
    assert only(DAILY, policy, 4).expires == TODAY + dt.timedelta(days=7)
    assert only(DAILY, Policy(rules=KeepRules(keep_within="1m")), 10).expires == dt.date(2026, 12, 14)


def test_a_duration_beyond_the_calendar_keeps_for_ever() -> None:
    assert only(DAILY, Policy(days=10**9), 59).expires is None
    assert only(DAILY, Policy(rules=KeepRules(keep_within="9999y")), 59).expires is None


def test_a_copy_dated_in_the_future_is_no_older_than_today() -> None:
    assert ages([copy(-1), copy(0), copy(40)], Policy(days=30)) == [-1, 0]


def test_the_same_source_of_two_hosts_is_counted_apart() -> None:
    copies = [copy(age, hostname=host) for host in ("web1", "web2") for age in (0, 1, 2)]
    assert ages(copies, Policy(copies=2)) == [0, 1, 0, 1]


def test_a_wrong_duration_is_an_error_of_the_job_file() -> None:
    with pytest.raises(ValidationError, match="such as '30d'"):
        KeepRules(keep_within="6h")
