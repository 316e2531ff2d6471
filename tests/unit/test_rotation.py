"""Which copies a check reads: what holds for every set of copies, and some days written out."""

from __future__ import annotations

import datetime as dt
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backups.jobfile.settings import VerifyRules
from backups.verification.ledger import Known
from backups.verification.rotation import GIB, Rotation, Waiting, rotate, spent
from backups.verification.status import Check, CheckStatus
from tests.unit.copies import NOW, copy

DAY = dt.timedelta(days=1)
UNBOUNDED = VerifyRules(every_days=30, max_gib=None)


def waiting(age: int, *, size: int = 1000, seen: float = 0, source: str = "db", **known: Any) -> Waiting:
    """A copy of so many days ago that checks have seen for so many days."""
    of = copy(age, source=source)
    given = {"size": size, "modified": of.modified, "manifest": True, "seen": NOW - seen * DAY, **known}
    return Waiting(source, "main", str(of.key), Known.model_validate(given))


def bad(status: CheckStatus, *, failures: int, days: float) -> dict[str, Any]:
    """What is known of a copy that was not found good."""
    check = Check(source="db", destination="main", status=status)
    return {"check": check, "failures": failures, "tried": NOW - days * DAY}


def reasons(rotation: Rotation) -> list[str]:
    return [turn.reason for turn in rotation.turns]


def simulated(
    rules: VerifyRules, days: int, sizes: list[int], *, kept: int, first: int, lost: frozenset[int] = frozenset()
) -> list[tuple[int, float]]:
    """Bytes read, and the longest that any copy then waits in days, for each day of a life with a copy each day."""
    ledger: dict[str, Waiting] = {}
    lived: list[tuple[int, float]] = []
    credit, last = 0, None
    for day in range(days):
        now = NOW + day * DAY
        born = range(-first if day == 0 else 0, 1)
        for back in born:
            of = waiting(-(day + back), size=sizes[(day + back) % len(sizes)])
            ledger[of.key] = Waiting("db", "main", of.key, of.known.model_copy(update={"seen": now}))
        for key in sorted(ledger)[: max(0, len(ledger) - kept)]:
            del ledger[key]
        if day in lost:
            lived.append((0, 0.0))
            continue
        rotation = rotate(ledger.values(), rules, now=now, since=now - last if last else None, credit=credit)
        read = 0
        for turn in rotation.turns:
            read += turn.copy.known.size
            known = turn.copy.known.after(Check(source="db", destination="main", status="ok"), now)
            ledger[turn.copy.key] = Waiting("db", "main", turn.copy.key, known)
        credit, last = spent(rotation, read), now
        longest = max(((now - one.known.waits_since) / DAY for one in ledger.values()), default=0.0)
        lived.append((read, longest))
    return lived


sizes = st.lists(st.integers(1, 50_000), min_size=1, max_size=7)
lives = st.tuples(st.integers(1, 40), st.integers(1, 90), st.integers(0, 90))


@settings(max_examples=60, deadline=None)
@given(sizes, lives, st.frozensets(st.integers(1, 100), max_size=8))
def test_every_copy_is_read_within_the_days(sizes: list[int], life: tuple[int, int, int], lost: frozenset[int]) -> None:
    """Even when now and then a check is lost, but never two in a row."""
    every, kept, first = life
    single = frozenset(day for day in lost if day - 1 not in lost) if every > 3 else frozenset()
    rules = VerifyRules(every_days=every, max_gib=None)
    for _, longest in simulated(rules, 100, sizes, kept=kept, first=first, lost=single):
        assert longest <= every


@settings(max_examples=40, deadline=None)
@given(sizes, lives)
def test_no_check_reads_more_than_the_bound(sizes: list[int], life: tuple[int, int, int]) -> None:
    every, kept, first = life
    rules = VerifyRules(every_days=every, max_gib=60_000 / GIB)
    for read, _ in simulated(rules, 60, sizes, kept=kept, first=first):
        assert read <= 60_000


@settings(max_examples=40, deadline=None)
@given(st.integers(5, 40), st.integers(1, 90), st.integers(0, 90))
def test_what_is_read_in_the_long_run_is_little_more_than_the_promise_needs(every: int, kept: int, first: int) -> None:
    rules = VerifyRules(every_days=every, max_gib=None)
    lived = simulated(rules, 200, [1000], kept=kept, first=first)
    stored = 1000 * kept
    needed = stored * 200 / every
    # A copy is read at most two checks before it is due, so the turn is that much shorter than the days.
    assert sum(read for read, _ in lived) <= needed * every / max(every - 3, every / 2) + stored + 1000 * (first + 1)


@settings(max_examples=60, deadline=None)
@given(sizes, st.integers(10, 90))
def test_a_first_check_does_not_read_everything(sizes: list[int], first: int) -> None:
    lived = simulated(UNBOUNDED, 3, sizes, kept=first, first=first)
    total = sum(sizes[-back % len(sizes)] for back in range(first))
    for read, _ in lived:
        assert read <= total / 10 + max(sizes)


def test_the_newest_that_was_never_read_comes_before_those_that_wait_longest() -> None:
    old = [waiting(age, seen=20, checked=NOW - (age - 25) * DAY) for age in (40, 41)]
    new = [waiting(age) for age in (3, 1, 2)]
    rotation = rotate([*old, *new], UNBOUNDED, now=NOW, since=DAY, credit=3900)
    assert [turn.copy.key for turn in rotation.turns] == [waiting(age).key for age in (1, 2, 3, 41)]
    assert reasons(rotation) == ["never read back"] * 3 + ["waits longest: 16 days"]


def test_due_copies_come_first_whatever_was_earned() -> None:
    due = waiting(70, seen=60, checked=NOW - 29 * DAY)
    rotation = rotate([waiting(1), waiting(2), due], UNBOUNDED, now=NOW, since=DAY)
    assert reasons(rotation) == ["due on 2026-11-24"]
    assert spent(rotation, 1000) == 0


def test_one_copy_is_read_once_in_its_days_and_not_at_every_check() -> None:
    lived = simulated(UNBOUNDED, 90, [10**9], kept=1, first=0)
    # Its key changes every day, so it is never due: what is read is what the days of the promise allow.
    assert sum(read > 0 for read, _ in lived) == 3


def test_bad_copies_are_read_again_after_one_two_and_four_days() -> None:
    for failures, days in ((1, 1), (2, 2), (3, 4), (9, 30)):
        early = waiting(9, seen=9, **bad("unreadable", failures=failures, days=days - 0.5))
        again = waiting(9, seen=9, **bad("damaged", failures=failures, days=days - 0.1))
        assert rotate([early], UNBOUNDED, now=NOW).turns == ()
        assert reasons(rotate([again], UNBOUNDED, now=NOW))[0].startswith("was damaged on 2026-1")


def test_what_was_changed_is_read_at_once() -> None:
    assert reasons(rotate([waiting(5, changed=True), waiting(1)], UNBOUNDED, now=NOW)) == ["was changed"]


def test_a_missing_copy_is_not_read() -> None:
    gone = waiting(1, seen=90, **bad("missing", failures=1, days=3))
    assert rotate([gone], UNBOUNDED, now=NOW).turns == ()


def test_a_bound_that_is_too_low_says_what_is_needed() -> None:
    copies = [waiting(age, size=10 * GIB) for age in range(60)]
    rotation = rotate(copies, VerifyRules(every_days=30, max_gib=15), now=NOW, since=DAY)
    assert len(rotation.turns) == 1
    assert rotation.warnings == ("reading every copy within 30 days takes 20 GiB each time; 'max_gib' allows 15",)
    assert rotate(copies, VerifyRules(every_days=30, max_gib=20), now=NOW, since=DAY).warnings == ()


def test_a_copy_above_the_bound_is_read_alone_when_it_is_due() -> None:
    large = waiting(40, size=20 * GIB, seen=29.5)
    due = waiting(41, seen=29)
    rules = VerifyRules(every_days=30, max_gib=15)
    rotation = rotate([large, due], rules, now=NOW, since=DAY)
    assert [turn.copy for turn in rotation.turns] == [large]
    assert rotation.warnings == ("1 due copies have to wait, since 'max_gib' allows 15 GiB each time",)
    assert [turn.copy for turn in rotate([due], rules, now=NOW, since=DAY).turns] == [due]


def test_a_copy_above_the_bound_is_saved_up_for() -> None:
    copies = [waiting(1, size=20 * GIB), waiting(2), waiting(3)]
    rules = VerifyRules(every_days=2, max_gib=7)  # too little for the promise
    first = rotate(copies, rules, now=NOW, since=DAY)
    second = rotate(copies, rules, now=NOW, since=DAY, credit=spent(first, 0))
    third = rotate(copies, rules, now=NOW, since=DAY, credit=spent(second, 0))
    assert (first.turns, second.turns) == ((), ())
    assert [turn.copy for turn in third.turns] == copies[:1]
    assert spent(third, 20 * GIB) < GIB


def test_nothing_spends_what_a_large_copy_that_was_bad_is_saved_up_for() -> None:
    large = waiting(40, size=20 * GIB, seen=29, **bad("unreadable", failures=1, days=2))
    copies = [large, waiting(1, size=GIB)]
    rules = VerifyRules(every_days=2, max_gib=7)
    credit, read = 0, []
    for _ in range(3):
        rotation = rotate(copies, rules, now=NOW, since=DAY, credit=credit)
        read.append([turn.copy for turn in rotation.turns])
        credit = spent(rotation, sum(turn.copy.known.size for turn in rotation.turns))
    assert read == [[], [], [large]]


@settings(max_examples=40, deadline=None)
@given(sizes, lives)
def test_copies_above_the_bound_cost_no_more_in_the_long_run(sizes: list[int], life: tuple[int, int, int]) -> None:
    """Never more than one copy, or what the bound and the promise allow."""
    every, kept, first = life
    lived = simulated(VerifyRules(every_days=every, max_gib=10_000 / GIB), 60, sizes, kept=kept, first=first)
    assert all(read <= max(10_000, *sizes) for read, _ in lived)


def test_due_copies_that_must_wait_are_counted() -> None:
    copies = [waiting(40 + age, size=GIB, seen=29) for age in range(4)]
    rotation = rotate(copies, VerifyRules(every_days=30, max_gib=3), now=NOW, since=DAY)
    assert len(rotation.turns) == 3
    assert rotation.warnings == ("1 due copies have to wait, since 'max_gib' allows 3 GiB each time",)


def test_damage_counts_as_an_answer_and_a_failed_reading_does_not() -> None:
    damaged = waiting(9, seen=9, **bad("damaged", failures=1, days=1)).known
    unreadable = waiting(9, seen=9, **bad("unreadable", failures=1, days=1)).known
    assert (NOW - damaged.waits_since, NOW - unreadable.waits_since) == (DAY, 9 * DAY)
