"""Calls at a time: in order, no more than allowed, and nobody waits for one that hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from backups.parallel import in_order


@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_results_come_in_the_order_of_the_items(at_once: int) -> None:
    assert list(in_order(lambda n: n * n, range(20), at_once, "square")) == [n * n for n in range(20)]
    assert list(in_order(str, [], at_once, "none")) == []


@pytest.mark.parametrize("at_once", [1, 3])
def test_no_item_is_taken_before_there_is_room_for_its_call(at_once: int) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(20):
            taken += 1
            yield number

    for number in in_order(lambda n: n, items(), at_once, "take"):
        assert taken <= number + at_once


def test_so_many_calls_run_at_a_time() -> None:
    together = threading.Barrier(3)
    assert len([*in_order(lambda _: together.wait(60), range(9), 3, "meet")]) == 9


@pytest.mark.parametrize("at_once", [1, 3])
def test_an_error_is_raised_in_the_place_of_its_result(at_once: int) -> None:
    results = in_order(lambda n: 12 // (3 - n), range(6), at_once, "divide")
    assert [next(results) for _ in range(3)] == [4, 6, 12]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_a_single_call_at_a_time_stays_in_the_thread_of_the_caller() -> None:
    """Its connection may be one that is only for that thread, and a signal ends it at once."""
    assert [*in_order(lambda _: threading.current_thread(), range(2), 1, "same")] == [threading.current_thread()] * 2


def test_the_end_of_the_process_waits_for_no_call() -> None:
    (thread,) = {*in_order(lambda _: threading.current_thread(), range(1), 2, "daemon")}
    assert thread.daemon and thread.name == "daemon"
