"""Time limits of requests to a share."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from backups.destinations.samba.watch import Watch


class Late:
    """Counts how often it was called."""

    def __init__(self) -> None:
        self.called = threading.Semaphore(0)
        self.times = 0

    def __call__(self) -> None:
        self.times += 1
        self.called.release()


@pytest.fixture
def late() -> Late:
    return Late()


@pytest.fixture
def watch(late: Late) -> Iterator[Watch]:
    watch = Watch(late)
    yield watch
    watch.close()
    assert watch._thread is None or not watch._thread.is_alive()


def test_a_block_that_takes_too_long_is_told_of_once(watch: Watch, late: Late) -> None:
    with watch.limit(0.01):
        assert late.called.acquire(timeout=60)
        assert not late.called.acquire(timeout=0.05)
    assert late.times == 1


def test_a_shorter_limit_counts_while_a_longer_one_is_waited_for(watch: Watch, late: Late) -> None:
    with watch.limit(3600), watch.limit(1800):
        with watch.limit(0.01):
            assert late.called.acquire(timeout=60)
        with watch.limit(0.01):
            assert late.called.acquire(timeout=60)


def test_a_limit_that_begins_while_an_old_one_is_waited_for_is_kept(watch: Watch, late: Late) -> None:
    """The thread wakes for one that is over, and goes on with those that are there."""
    with watch.limit(0.05):
        pass
    with watch.limit(0.2):
        assert late.called.acquire(timeout=60)


def test_a_block_in_time_is_not_told_of(watch: Watch, late: Late) -> None:
    for _ in range(100):
        with watch.limit(60):
            pass
    assert not late.times
    assert not watch._limits


def test_it_ends_without_ever_having_been_used(late: Late) -> None:
    Watch(late).close()
    assert not late.times


def test_errors_pass(watch: Watch) -> None:
    with pytest.raises(KeyError), watch.limit(60):
        raise KeyError
    assert not watch._limits
