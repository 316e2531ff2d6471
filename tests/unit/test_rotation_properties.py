"""The rotation under a bound, over any ledger and sizes: in time, never more than one copy over, nobody blocked."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from hypothesis import example, given, settings
from hypothesis import strategies as st

from backups.jobfile.settings import VerifyRules
from backups.verification.ledger import Known
from backups.verification.rotation import DAY, GIB, Waiting, overdraft, rotate, spent
from backups.verification.status import Check, CheckStatus
from tests.unit.copies import NOW, copy

SIZES = st.lists(
    st.builds(lambda n, zeros: n * 10**zeros, st.integers(1, 9), st.integers(0, 4)), min_size=1, max_size=25
)
"""From one byte to ninety thousand: with a bound for the sum of them, some are far above it."""


def stored(sizes: list[int], read: list[int]) -> list[Waiting]:
    """Copies that were found good so many days ago, or never; all were first seen today then."""
    copies = []
    for number, size in enumerate(sizes):
        of = copy(number + 1)
        days = read[number % len(read)] if read else 0
        known = Known(
            size=size, modified=of.modified, manifest=True, seen=NOW, checked=NOW - days * DAY if days else None
        )
        copies.append(Waiting("db", "main", str(of.key), known.model_copy(update={"seen": NOW - days * DAY})))
    return copies


def lived(
    copies: list[Waiting], rules: VerifyRules, at: list[dt.datetime], bad: dict[int, CheckStatus]
) -> tuple[list[int], dict[int, float]]:
    """What each check reads, and the longest that each copy waits, in days."""
    copies, credit, overdrawn = list(copies), 0, 0
    last: dt.datetime | None = None
    numbers = {one.key: number for number, one in enumerate(copies)}
    reads, waits = [], dict.fromkeys(range(len(copies)), 0.0)
    for now in at:
        since = now - last if last else None
        rotation = rotate(copies, rules, now=now, since=since, credit=credit, overdrawn=overdrawn)
        for turn in rotation.turns:
            number = numbers[turn.copy.key]
            check = Check(source="db", destination="main", status=bad.get(number, "ok"))
            copies[number] = replace(turn.copy, known=turn.copy.known.after(check, now))
        reads.append(sum(turn.copy.known.size for turn in rotation.turns))
        credit, overdrawn, last = spent(rotation, reads[-1]), overdraft(rotation, reads[-1]), now
        for number, one in enumerate(copies):
            waits[number] = max(waits[number], (now - one.known.waits_since) / DAY)
    return reads, waits


def bounded(sizes: list[int], every: int, share: float) -> VerifyRules:
    """A bound of which the promise needs this share."""
    return VerifyRules(every_days=every, max_gib=(sum(sizes) / every / share + 1) / GIB)


def days(count: int) -> list[dt.datetime]:
    return [NOW + number * DAY for number in range(count)]


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(5, 30))
@example([8, 20, 600, 2000, 20_000, 1], 30)  # large ones that come due together, and one that is read too soon
@example([6000, 800, 80, 80, 200], 30)
@example([900, 40_000, 600, 70, 5, 7000], 30)
@example([100, 3000, 300, 300, 300, 400], 28)  # small ones that come due together with a large one
def test_within_a_bound_that_suffices_every_copy_is_in_time(sizes: list[int], every: int) -> None:
    _, waits = lived(stored(sizes, []), bounded(sizes, every, 0.4), days(4 * every), {})
    assert max(waits.values()) <= every


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(5, 30), st.lists(st.integers(0, 50), max_size=9), st.floats(0.2, 3), st.data())
def test_checks_in_a_row_never_read_more_than_their_bounds_and_one_copy(
    sizes: list[int], every: int, read: list[int], share: float, data: st.DataObject
) -> None:
    """Whatever is known of the copies, also when the bound is far too low and every second copy is bad."""
    status: st.SearchStrategy[CheckStatus] = st.sampled_from(["ok", "ok", "damaged", "unreadable"])
    bad = dict(enumerate(data.draw(st.lists(status, max_size=len(sizes)))))
    rules = bounded(sizes, every, share)
    reads, _ = lived(stored(sizes, read), rules, days(3 * every), bad)
    bound = int((rules.max_gib or 0) * GIB)
    over = 0
    for size in reads:
        over = max(0, over + size - bound)  # of the worst row of checks that ends here
        assert over <= max(sizes)


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(8, 30), st.data())
def test_one_that_is_bad_keeps_no_other_from_being_read(sizes: list[int], every: int, data: st.DataObject) -> None:
    number = data.draw(st.integers(0, len(sizes) - 1))
    status: CheckStatus = data.draw(st.sampled_from(["damaged", "unreadable"]))
    # It is read again and again: what that takes is added to the need, five times in a turn.
    rules = bounded([*sizes, *[sizes[number]] * 5], every, 0.4)
    reads, waits = lived(stored(sizes, []), rules, days(4 * every), {number: status})
    assert all(longest <= every for other, longest in waits.items() if other != number)
    assert any(reads)


def test_a_check_by_hand_does_not_make_the_daily_one_late() -> None:
    """An hour after it, what comes due before tomorrow is read nevertheless."""
    (one,) = stored([10], [29])
    half = one.known.model_copy(update={"seen": NOW - 29.5 * DAY, "checked": NOW - 29.5 * DAY})
    rules = VerifyRules(every_days=30, max_gib=None)
    rotation = rotate([replace(one, known=half)], rules, now=NOW, since=dt.timedelta(hours=1))
    assert [turn.reason[:6] for turn in rotation.turns] == ["due on"]
