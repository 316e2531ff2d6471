"""Which copies stay and which go, and why. Pure: the clock is an argument, the answer carries a reason.

What is counted is backups, not objects: all copies of one source with one date are one backup. Ages are calendar
days between the date in the key and the day of the run, so a backup of 30 days' age stays with `retention_days` 30.

- `retention_copies` and `retention_days` combine as in the old tool: a backup stays while it is within both that
  are given.
- The rules of `retention` combine as in restic: a backup stays while any of them keeps it. One without a single
  rule is no retention at all, so a mistake there removes nothing.
- With both forms a backup stays while either keeps it. With neither everything stays.
- The newest `minimum` verified backups of a source stay, whatever the rules say.
- A verified backup is counted among verified ones only. An unverified one is judged as if every backup was
  verified: it never takes the place of a verified one, and never stays for longer than a verified one would. Two
  more things keep it: being written in the last two days, since its run may still be going, and being the newest of a
  source that has no verified backup. Unverified copies are what an interrupted run left, or the old tool's.
- A locked object stays until its lock ends.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from pydantic import field_validator

from backups.config import ConfigModel, NotNegative
from backups.duration import Duration, parse_duration

if TYPE_CHECKING:  # destinations, which copies come from, have the fields of this module
    from backups.copies import Copy

UNVERIFIED_STAYS = dt.timedelta(days=2)
"""How long an unverified copy stays in any case."""


class KeepRules(ConfigModel):
    """Rules that combine as in restic: a copy stays while any of them keeps it."""

    keep_last: NotNegative = 0
    """The newest N backups."""

    keep_within: str = ""
    """Backups no older than a duration such as `30d`, `8w`, `6m`, `1y` or `1y6m`."""

    keep_daily: NotNegative = 0
    """The newest backup of each of the last N days that have one."""

    keep_weekly: NotNegative = 0
    """The newest backup of each of the last N weeks that have one."""

    keep_monthly: NotNegative = 0
    """The newest backup of each of the last N months that have one."""

    keep_yearly: NotNegative = 0
    """The newest backup of each of the last N years that have one."""

    @field_validator("keep_within")
    @classmethod
    def _a_duration(cls, value: str) -> str:
        if value:
            parse_duration(value)
        return value


@dataclass(frozen=True)
class Policy:
    """What applies to one destination. With no rule at all every copy stays."""

    copies: int | None = None
    days: int | None = None
    rules: KeepRules | None = None
    minimum: int = 1


@dataclass(frozen=True)
class Decision:
    """What becomes of one copy."""

    copy: Copy
    keep: bool
    reasons: tuple[str, ...]
    """What keeps it, or why nothing does."""
    expires: dt.date | None = None
    """The first day on which it goes if nothing else changes; None when that is never, or when it goes now."""
    counts: bool = False
    """It is one of so many backups that stay: were it not there, one that goes might have to stay in its place."""


def decide(copies: Iterable[Copy], policy: Policy, *, today: dt.date, now: dt.datetime) -> list[Decision]:
    """What becomes of each copy, by host and source, the newest first.

    ``today`` is the day of the run in the job's time zone, ``now`` (aware) is compared to times of objects.
    """
    sources: dict[tuple[str, str], list[Copy]] = defaultdict(list)
    for copy in copies:
        sources[copy.key.hostname, copy.key.source_id].append(copy)
    decisions: list[Decision] = []
    for _, own in sorted(sources.items()):
        own.sort(key=lambda copy: (-copy.key.date.toordinal(), str(copy.key)))
        decisions += _decide_source(own, policy, today, now)
    return decisions


@dataclass(frozen=True)
class _Stay:
    """Something that keeps a backup, until the day before ``until`` (None: for as long as nothing changes)."""

    reason: str
    until: dt.date | None = None
    counts: bool = False
    """It stays for its place among the others, not for its own age."""


def _decide_source(copies: list[Copy], policy: Policy, today: dt.date, now: dt.datetime) -> list[Decision]:
    every = sorted({copy.key.date for copy in copies}, reverse=True)
    verified = sorted({copy.key.date for copy in copies if copy.verified}, reverse=True)
    among_all = _stays(every, policy, today)
    among_verified = among_all if verified == every else _stays(verified, policy, today)
    decisions = []
    for copy in copies:
        date = copy.key.date
        stays = among_verified[date] if date in among_verified else among_all[date]
        stays = stays + _floor(date, verified, every, policy.minimum) + _own(copy, now)
        decisions.append(_decision(copy, stays, policy, today))
    return decisions


def _stays(dates: Sequence[dt.date], policy: Policy, today: dt.date) -> dict[dt.date, list[_Stay]]:
    """What the rules keep of the backups of these dates, the newest first."""
    stays: dict[dt.date, list[_Stay]] = {date: [] for date in dates}
    if not _is_set(policy):
        return {date: [_Stay("no retention is set")] for date in dates}
    if policy.copies or policy.days:
        for date in dates[: policy.copies or None]:
            if not policy.days or (today - date).days <= policy.days:
                until = _later(date, policy.days + 1) if policy.days else None
                stays[date].append(_Stay(_original(policy), until, counts=bool(policy.copies)))
    if policy.rules:
        for date, stay in _kept_by(policy.rules, dates, today):
            stays[date].append(stay)
    return stays


def _kept_by(rules: KeepRules, dates: Sequence[dt.date], today: dt.date) -> Iterable[tuple[dt.date, _Stay]]:
    for period, count, bucket in _periods(rules):
        if not count:
            continue
        for number, date in enumerate(_newest_of_each(dates, bucket)[:count], start=1):
            yield date, _Stay(f"{period} {number} of {count}", counts=True)
    if rules.keep_within:
        duration = parse_duration(rules.keep_within)
        oldest = duration.before(today)
        for date in dates:
            if date >= oldest:
                yield date, _Stay(f"within {rules.keep_within}", _end(date, duration))


def _is_set(policy: Policy) -> bool:
    """Whether there is any rule; an empty ``retention`` has none."""
    rules = policy.rules
    return bool(
        policy.copies or policy.days or (rules and (rules.keep_within or any(n for _, n, _ in _periods(rules))))
    )


def _periods(rules: KeepRules) -> list[tuple[str, int, Callable[[dt.date], object]]]:
    """Name, number and what tells two periods apart. By date a backup is the only one of its day."""
    return [
        ("last", rules.keep_last, lambda date: date),
        ("daily", rules.keep_daily, lambda date: date),
        ("weekly", rules.keep_weekly, lambda date: date.isocalendar()[:2]),
        ("monthly", rules.keep_monthly, lambda date: (date.year, date.month)),
        ("yearly", rules.keep_yearly, lambda date: date.year),
    ]


def _newest_of_each(dates: Sequence[dt.date], bucket: Callable[[dt.date], object]) -> list[dt.date]:
    newest: dict[object, dt.date] = {}
    for date in dates:
        newest.setdefault(bucket(date), date)
    return list(newest.values())


def _floor(date: dt.date, verified: Sequence[dt.date], every: Sequence[dt.date], minimum: int) -> list[_Stay]:
    if date in verified[:minimum]:
        reason = "newest verified backup" if minimum == 1 else f"one of the newest {minimum} verified backups"
        return [_Stay(reason, counts=True)]
    if not verified and minimum and date == every[0]:
        return [_Stay("newest backup of a source that has no verified one", counts=True)]
    return []


def _own(copy: Copy, now: dt.datetime) -> list[_Stay]:
    """What keeps this one copy, whatever becomes of its backup."""
    stays = []
    if not copy.verified and now - copy.modified < UNVERIFIED_STAYS:
        until = copy.modified + UNVERIFIED_STAYS
        stays.append(_Stay("not verified, but written in the last 2 days", _later(until.date(), 1)))
    if copy.locked_until and copy.locked_until > now:
        until = copy.locked_until
        stays.append(_Stay(f"locked until {until:%Y-%m-%d %H:%M}", _later(until.date(), 1)))
    return stays


def _decision(copy: Copy, stays: Sequence[_Stay], policy: Policy, today: dt.date) -> Decision:
    if not stays:
        return Decision(copy, False, (_unkept(copy, policy, today),))
    untils = [stay.until for stay in stays]
    expires = None if None in untils else max(until for until in untils if until)
    counts = any(stay.counts for stay in stays)
    return Decision(copy, True, tuple(stay.reason for stay in stays), expires, counts)


def _unkept(copy: Copy, policy: Policy, today: dt.date) -> str:
    """Why nothing keeps a copy."""
    age = (today - copy.key.date).days
    wanted = [_original(policy)] if policy.copies or policy.days else []
    if policy.rules:
        wanted += [f"{period} {count}" for period, count, _ in _periods(policy.rules) if count]
        wanted += [f"within {policy.rules.keep_within}"] if policy.rules.keep_within else []
    unverified = "" if copy.verified else "not verified, "
    return f"{unverified}{age} {'day' if age == 1 else 'days'} old; kept are: {', '.join(wanted)}"


def _original(policy: Policy) -> str:
    """``retention_copies`` and ``retention_days`` in words."""
    newest = f"newest {policy.copies}" if policy.copies else ""
    within = f"within {policy.days} days" if policy.days else ""
    return " and ".join(part for part in (newest, within) if part)


@lru_cache(maxsize=4096)  # sources share their dates
def _end(date: dt.date, duration: Duration) -> dt.date | None:
    """The first day on which a backup is older than the duration."""
    try:
        day = date + dt.timedelta(days=duration.months * 28 + duration.days)  # never too late: months are longer
        while duration.before(day) <= date:
            day += dt.timedelta(days=1)
    except OverflowError:
        return None
    return day


def _later(date: dt.date, days: int) -> dt.date | None:
    """So many days after; None when the calendar ends before that."""
    try:
        return date + dt.timedelta(days=days)
    except OverflowError:
        return None
