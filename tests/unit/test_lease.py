"""One check of a job's copies at a time: who gets the lease, who loses it, and what a loser may still write."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from backups.cloud.state import State
from backups.context import Cancel
from backups.errors import BackupsError, StoppedError
from backups.verification.lease import LeasableBooks, Lease, leased
from backups.verification.ledger import Ledger
from backups.verification.status import Verification
from tests.servers.local_cloud import wait_for
from tests.unit.deployment import deployment

TERM = 0.4
LONG = 8.0
LEDGER = Ledger(source="db", destination="main")


@dataclass
class Shelf:
    """Books in memory whose lease is compared and swapped; that may stop to answer, or lose an answer."""

    kept: tuple[Lease, str] | None = None
    ledgers_put: int = 0
    is_down: bool = False
    loses_answers: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def lease(self, job: str) -> tuple[Lease, str] | None:
        return self.kept

    def put_lease(self, job: str, lease: Lease, version: str) -> str:
        if self.is_down:
            raise BackupsError("no answer")
        with self.lock:
            if version != (self.kept[1] if self.kept else ""):
                return ""
            number = int(self.kept[1]) + 1 if self.kept else 1
            self.kept = lease, str(number)
            return "" if self.loses_answers else str(number)

    def ledgers(self, job: str) -> list[Ledger]:
        return []

    def put_ledger(self, job: str, ledger: Ledger) -> None:
        self.ledgers_put += 1

    def verification(self, job: str) -> Verification | None:
        return None

    def put_verification(self, verification: Verification) -> None:
        raise AssertionError(verification)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long term with many renewals, so that no machine is too slow for it."""
    monkeypatch.setattr("backups.verification.lease._RENEWALS", 80)


@pytest.fixture(params=["memory", "bucket"])
def books(request: pytest.FixtureRequest) -> Iterator[LeasableBooks]:
    """What the lease asks of a bucket, with conditional writes in both."""
    with ExitStack() as stack:
        state: State | Shelf = stack.enter_context(deployment()).state if request.param == "bucket" else Shelf()
        yield state


@pytest.mark.usefixtures("often")
def test_a_second_check_is_refused_while_the_first_renews(books: LeasableBooks) -> None:
    with (
        leased(books, "nightly", Cancel(), execution="first", term=LONG),
        pytest.raises(BackupsError, match="copies of job 'nightly' is still going: execution 'first'"),
    ):
        leased(books, "nightly", Cancel(), execution="second", term=LONG).__enter__()
    with leased(books, "nightly", Cancel(), term=LONG) as held:  # at once: the one before has let go
        held.put_ledger("nightly", LEDGER)
        if isinstance(books, State):  # where each job has its own, and it is no ledger
            assert [ledger.where for ledger in books.ledgers("nightly")] == [LEDGER.where]
            assert books.lease("weekly") is None


def test_after_a_dead_one_the_next_waits_for_a_term_and_goes_on(books: LeasableBooks) -> None:
    assert books.put_lease("nightly", Lease(holder="dead"), "")
    began = time.monotonic()
    with leased(books, "nightly", Cancel(), term=TERM):
        assert time.monotonic() - began >= TERM
        found = books.lease("nightly")
        assert found and found[0].holder != "dead"


def test_whoever_waits_for_a_dead_one_can_be_stopped(books: LeasableBooks) -> None:
    assert books.put_lease("nightly", Lease(holder="dead"), "")
    cancel = Cancel()
    cancel.set(15)
    with pytest.raises(StoppedError):
        leased(books, "nightly", cancel, term=LONG).__enter__()


@pytest.mark.usefixtures("often")
def test_who_lost_it_writes_nothing_more_and_leaves_it_to_the_other(books: LeasableBooks) -> None:
    cancel = Cancel()
    with leased(books, "nightly", cancel, term=LONG) as held:
        held.put_ledger("nightly", LEDGER)
        found = books.lease("nightly")
        while not books.put_lease("nightly", Lease(holder="other"), found[1] if found else ""):
            found = books.lease("nightly")
        wait_for(lambda: cancel.stopped, "the loss was not noticed")
        with pytest.raises(BackupsError, match="lost its lease"):
            held.put_ledger("nightly", LEDGER)
    found = books.lease("nightly")
    assert found and (found[0].holder, found[0].over) == ("other", False)


def test_who_can_not_renew_it_writes_nothing_more_before_the_term_is_over() -> None:
    shelf, cancel = Shelf(), Cancel()
    with leased(shelf, "nightly", cancel, term=TERM) as held:
        shelf.is_down = True
        wait_for(lambda: cancel.stopped, "it went on")
        with pytest.raises(BackupsError, match="could not renew it in time"):
            held.put_ledger("nightly", LEDGER)
    assert shelf.ledgers_put == 0
    assert shelf.kept and not shelf.kept[0].over


@pytest.mark.usefixtures("often")
def test_an_answer_that_gets_lost_costs_nothing() -> None:
    """The client then sends the write again, and is told that the version is another."""
    shelf, cancel = Shelf(loses_answers=True), Cancel()
    with leased(shelf, "nightly", cancel, term=LONG) as held:
        wait_for(lambda: shelf.kept and shelf.kept[0].renewed > 2, "it was not renewed")
        held.put_ledger("nightly", LEDGER)
    assert not cancel.stopped
    assert shelf.kept and shelf.kept[0].over


@pytest.mark.usefixtures("often")
@pytest.mark.parametrize("before", [None, Lease(holder="dead"), Lease(holder="ended", over=True)])
def test_of_many_at_once_one_gets_it(before: Lease | None) -> None:
    shelf = Shelf((before, "1") if before else None)
    at_once, refused = threading.Barrier(8), threading.Semaphore(0)

    def try_it(number: int) -> str:
        at_once.wait()
        try:
            with leased(shelf, "nightly", Cancel(), term=LONG / 4):
                for _ in range(7):
                    refused.acquire(timeout=LONG)
                return f"held by {number}"
        except BackupsError:
            refused.release()
            return "refused"

    with ThreadPoolExecutor(8) as pool:
        ends = list(pool.map(try_it, range(8)))
    assert ends.count("refused") == 7
