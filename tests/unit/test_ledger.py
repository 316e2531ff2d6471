"""What is known of copies, from listing to listing."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import pytest

from backups.copies import Copy
from backups.verification.here import LocalBooks
from backups.verification.ledger import Known, Ledger, compared, without_good
from backups.verification.status import Check, CheckStatus
from tests.unit.copies import NOW, copy

DAY = dt.timedelta(days=1)
EMPTY = Ledger(source="db", destination="main")


def listed(*copies: Copy, ledger: Ledger = EMPTY, days: float = 0, newest_stays: bool = True) -> Ledger:
    return compared(ledger, copies, NOW + days * DAY, newest_stays=newest_stays).ledger


def read(ledger: Ledger, of: Copy, status: CheckStatus = "ok", days: float = 0) -> Ledger:
    check = Check(source="db", destination="main", key=str(of.key), status=status)
    return ledger.with_copy(str(of.key), ledger.copies[str(of.key)].after(check, NOW + days * DAY))


def known(ledger: Ledger, of: Copy) -> Known:
    return ledger.copies[str(of.key)]


def test_a_copy_counts_from_when_it_was_first_seen() -> None:
    old = copy(400)
    ledger = listed(old, ledger=listed(old), days=3)
    assert known(ledger, old).waits_since == NOW
    assert not compared(ledger, [old], NOW + 4 * DAY).changed


def test_what_was_read_is_remembered_and_what_was_removed_is_not() -> None:
    new, old = copy(1), copy(2)
    ledger = read(listed(new, old), old)
    ledger = listed(new, ledger=ledger, days=1)
    assert list(ledger.copies) == [str(new.key)]


def test_a_copy_that_was_replaced_was_never_read() -> None:
    first = copy(1)
    second = replace(first, modified=first.modified + DAY)
    ledger = listed(second, ledger=read(listed(first), first), days=1)
    assert (known(ledger, second).checked, known(ledger, second).changed) == (None, False)


def test_one_that_is_newer_than_its_manifest_or_replaces_a_bad_one_is_read_at_once() -> None:
    first = copy(1)
    written = replace(first, modified=first.modified + DAY, verified=False)
    assert known(listed(written, ledger=read(listed(first), first)), written).changed
    second = replace(first, modified=first.modified + DAY)
    bad = read(listed(first), first, "damaged")
    ledger = listed(second, ledger=bad)
    assert (known(ledger, second).changed, known(ledger, second).check) == (True, None)
    assert not known(read(ledger, second), second).changed


def test_a_bad_copy_stays_bad_until_it_is_read_as_good() -> None:
    one = copy(1)
    ledger = read(read(listed(one), one, "damaged"), one, "unreadable", days=1)
    ledger = listed(one, ledger=ledger, days=2)
    assert known(ledger, one).failures == 2
    ledger = read(ledger, one, days=2)
    assert (known(ledger, one).check, known(ledger, one).failures) == (None, 0)


@pytest.mark.parametrize("there", [True, False])
def test_a_manifest_that_is_gone_is_damage_and_one_that_came_late_is_not(there: bool) -> None:
    with_, without = copy(1, verified=True), replace(copy(1), verified=False, has_manifest=False)
    if there:
        bad = known(listed(without, ledger=read(listed(with_), with_)), with_).check
        assert bad is not None and bad.status == "damaged" and "manifest is gone" in bad.error
    else:
        assert known(listed(with_, ledger=read(listed(without), without)), with_).checked is None


def test_the_newest_copy_is_missed_when_it_is_gone_and_older_ones_are_not() -> None:
    copies = [copy(age) for age in range(4)]
    ledger = listed(*copies)
    after = listed(copies[2], ledger=ledger, days=1)
    statuses = {key: one.check.status if one.check else "" for key, one in after.copies.items()}
    assert statuses == {str(copies[0].key): "missing", str(copies[1].key): "missing", str(copies[2].key): ""}
    assert set(listed(copies[2], ledger=ledger, newest_stays=False).copies) == {str(copies[2].key)}
    assert not compared(after, [copies[2]], NOW + 2 * DAY).changed
    newer = copy(-1)
    assert set(listed(newer, copies[2], ledger=after, days=2).copies) == {str(newer.key), str(copies[2].key)}
    back = known(listed(*copies, ledger=after, days=2), copies[0])
    assert (back.check, back.changed) == (None, True)


def test_a_copy_that_never_had_a_manifest_is_not_missed() -> None:
    one = copy(0, verified=False)
    assert listed(ledger=listed(one), days=1).copies == {}


def test_of_a_place_that_is_named_no_more_only_bad_copies_are_remembered_and_no_empty_file(tmp_path: Path) -> None:
    good, bad = copy(1), copy(2)
    ledger = read(read(listed(good, bad), good), bad, "damaged")
    books = LocalBooks(tmp_path)
    books.put_ledger("nightly", ledger)
    books.put_ledger("nightly", without_good(ledger))
    assert [list(kept.copies) for kept in books.ledgers("nightly")] == [[str(bad.key)]]
    books.put_ledger("nightly", without_good(listed(good)))
    assert list(tmp_path.iterdir()) == []
