"""One check of a job's copies at a time, wherever it runs: a lease, which its holder renews while it works.

Nobody compares clocks. Whoever finds a lease watches it: if it is renewed, somebody is at work; if it was not for a
whole term, its holder is dead. It is then taken by a conditional write, which one alone can win. A holder that could
not renew it writes nothing any more before the term is over.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Protocol

from backups.context import Cancel
from backups.errors import BackupsError
from backups.records import Record
from backups.verification.ledger import Books, Ledger
from backups.verification.status import Verification

log = logging.getLogger("backups.verification")

TERM = 120.0
"""Seconds."""
_RENEWALS = 4
"""In a term: it may go wrong twice before the holder gives up."""


class Lease(Record):
    """Who checks the copies of a job, or did last."""

    holder: str
    execution: str = ""
    """As which of the stack."""
    renewed: int = 0
    """How often: no two writes are alike."""
    over: bool = False
    """The holder has ended, and let go of it."""


class LeasableBooks(Books, Protocol):
    """Books that many processes reach. Every method raises BackupsError when they do not answer."""

    def lease(self, job: str) -> tuple[Lease, str] | None:
        """The job's lease and the version of this record; None when there is none."""

    def put_lease(self, job: str, lease: Lease, version: str) -> str:
        """Replace this version, or create the first when that is empty; the new one, empty when it is another now."""


@contextlib.contextmanager
def leased(
    books: LeasableBooks, job: str, cancel: Cancel, *, execution: str = "", term: float = TERM
) -> Iterator[Books]:
    """Hold the copies of a job: gives books that are written only as long as nobody else may hold them.

    Waits for a ``term`` of seconds if the holder before seems to be dead. Raises BackupsError when another check is at
    work, and StoppedError. When the lease is lost in the block, ``cancel`` is set.
    """
    holding = _Holding(books, job, cancel, execution, term)
    holding.take()
    thread = threading.Thread(target=holding.keep, name="lease", daemon=True)
    thread.start()
    try:
        yield holding
    finally:
        holding.ended.set()
        thread.join()
        holding.let_go()


class _Holding:
    """Books under a lease."""

    def __init__(self, books: LeasableBooks, job: str, cancel: Cancel, execution: str, term: float) -> None:
        self.ended = threading.Event()
        self._books, self._job, self._cancel, self._term = books, job, cancel, term
        self._lease = Lease(holder=uuid.uuid4().hex, execution=execution)
        self._version = ""
        self._renewed = 0.0
        """When the last renewal began that succeeded, by the monotonic clock."""
        self._lost = False

    def ledgers(self, job: str) -> list[Ledger]:
        return self._books.ledgers(job)

    def put_ledger(self, job: str, ledger: Ledger) -> None:
        self._check()
        self._books.put_ledger(job, ledger)

    def verification(self, job: str) -> Verification | None:
        return self._books.verification(job)

    def put_verification(self, verification: Verification) -> None:
        self._check()
        self._books.put_verification(verification)

    def take(self) -> None:
        """Become the holder. Raises BackupsError, StoppedError."""
        if self._write(self._lease):
            return
        found, since = self._books.lease(self._job), time.monotonic()
        while found and not found[0].over and time.monotonic() - since < self._term:
            self._cancel.wait(self._term / _RENEWALS)
            before, found = found, self._books.lease(self._job)
            if found and found[1] != before[1] and not found[0].over:
                raise self._busy(found[0])
        if found and not found[0].over:
            log.warning("the check before has died: execution '%s'", found[0].execution)
        self._version = found[1] if found else ""
        if not self._write(self._lease):
            raise self._busy(found[0] if found else None)

    def keep(self) -> None:
        """Renew it until the end."""
        while not self.ended.wait(self._term / _RENEWALS):
            try:
                self._lost = not self._write(self._lease.model_copy(update={"renewed": self._lease.renewed + 1}))
            except BackupsError as error:
                log.warning("%s", error)
            if not self._is_held():
                self._cancel.set(signal.SIGTERM)
                return

    def let_go(self) -> None:
        """Let the next one begin at once; without that it waits for a term."""
        try:
            if not self._lost:
                self._write(self._lease.model_copy(update={"over": True}))
        except BackupsError as error:
            log.warning("%s", error)

    def _write(self, lease: Lease) -> bool:
        began = time.monotonic()
        version = self._books.put_lease(self._job, lease, self._version)
        if not version:  # or it was written, and the answer got lost, so that it was sent again
            found = self._books.lease(self._job)
            version = found[1] if found and found[0] == lease else ""
        if version:
            self._lease, self._version, self._renewed = lease, version, began
        return bool(version)

    def _is_held(self) -> bool:
        """For the renewals before the last; what is being written then is done before the term is over."""
        return not self._lost and time.monotonic() - self._renewed < self._term * (1 - 1 / _RENEWALS)

    def _check(self) -> None:
        if not self._is_held():
            raise BackupsError(
                f"the check of job '{self._job}' lost its lease: it could not renew it in time",
                hint="the next check goes on; did the state bucket not answer?",
            )

    def _busy(self, lease: Lease | None) -> BackupsError:
        who = f": execution '{lease.execution}'" if lease and lease.execution else ""
        return BackupsError(
            f"another check of the copies of job '{self._job}' is still going{who}",
            hint="wait for its end or stop it; nothing was touched by this one",
        )
