"""One check of a job's copies: whose turn it is, each read back whole, each answer kept at once, how they all stand."""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Callable, Mapping

from backups.context import Context
from backups.copies import Copy, list_copies
from backups.destinations.base import Destination
from backups.errors import BackupsError, DestinationError, StoppedError, UsageError
from backups.job import Job
from backups.jobfile.settings import VerifyRules
from backups.notifying import scrubbed
from backups.planning import run_id
from backups.restoring.decoding import StoredCopy
from backups.restoring.verify import as_it_is_now, check_steadily
from backups.storing import Connections
from backups.verification.ledger import Books, Ledger, compared, manifest_gone, without_good
from backups.verification.rotation import DAY, Rotation, Turn, Waiting, overdraft, rotate, spent
from backups.verification.status import MOST_BAD, Check, Verification
from backups.watching import Watch

log = logging.getLogger("backups.verification")

_RANK = {"missing": 0, "damaged": 1, "unreadable": 2}


def check_due(  # noqa: PLR0913 - what a check works with, and what bounds it
    job: Job,
    books: Books,
    context: Context,
    watch: Watch,
    *,
    seconds: float | None = None,
    execution: str = "",
    now: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC),
) -> tuple[Verification, list[Check]]:
    """Read back the copies whose turn it is; how the job's copies stand then, and what this check has found.

    After ``seconds`` no further copy is begun. Whatever ends it, what was read is kept, and the status says how far it
    came, and as which ``execution``. Raises StoppedError, UsageError when the job wants no checks, and BackupsError
    when the books can't be read or written.
    """
    rules = job.settings.verification
    if rules is None:
        raise UsageError(
            f"job '{job.name}' wants no checks: 'verification' is null",
            hint="take that out of the job file; without --due the newest copies are verified",
        )
    checking = _Checking(job, rules, books, context, watch, execution, now)
    try:
        checking.look()
        checking.read(seconds)
    except StoppedError:
        checking.broken = "the check was stopped; the next one goes on where it ended"
        raise
    except Exception as error:
        checking.broken = context.secrets.scrub(f"the check broke off: {error}")
        raise
    finally:
        checking.close()
        status = checking.status()
        books.put_verification(status)
    return status, checking.checks


class _Checking:
    """A check that is going on. Raises BackupsError when the books can't be read."""

    def __init__(  # noqa: PLR0913, PLR0917 - everything that a check works with
        self,
        job: Job,
        rules: VerifyRules,
        books: Books,
        context: Context,
        watch: Watch,
        execution: str,
        now: Callable[[], dt.datetime],
    ) -> None:
        self.checks: list[Check] = []
        self.broken = ""
        """Why it did not come to its end."""
        self._job, self._rules, self._books = job, rules, books
        self._context, self._watch, self._execution, self._now = context, watch, execution, now
        self._started = now()
        self._clock = time.monotonic()
        self._going = True
        self._before = books.verification(job.name)
        places = {(source.id, there.id) for source in job.sources for there in job.destinations}
        kept = {ledger.where: ledger for ledger in books.ledgers(job.name)}
        self._ledgers = {where: ledger for where, ledger in kept.items() if where in places}
        self._former = [ledger for where, ledger in kept.items() if where not in places]
        """Of sources and destinations that the job no longer names."""
        self._copies: dict[tuple[str, str], StoredCopy] = {}
        """What destinations list, by destination and key."""
        self._left_out: dict[str, str] = {}
        credit, overdrawn = (self._before.credit, self._before.overdrawn) if self._before else (0, 0)
        self._rotation = Rotation((), credit, overdrawn, 0, ())
        self._read_copies = self._read_bytes = 0
        self._connections = Connections(job.destinations, context)

    def look(self) -> None:
        """Bring the ledgers up to what the destinations list, and choose whose turn it is."""
        for ledger in self._former:
            bad_alone = without_good(ledger)
            if bad_alone != ledger:
                self._books.put_ledger(self._job.name, bad_alone)
        for id_ in self._connections.configs:
            self._context.cancel.check()
            try:
                destination = self._connections.get(id_)
                listed = self._listed(destination)
            except StoppedError:
                raise
            except BackupsError as error:
                self._leave_out(id_, error)
            else:
                self._take_up(id_, destination, listed)
        waiting = [
            Waiting(ledger.source, ledger.destination, key, known)
            for ledger in self._ledgers.values()
            for key, known in ledger.copies.items()
            if (ledger.destination, key) in self._copies
        ]
        since = self._started - self._before.started if self._before else None
        left = {"credit": self._rotation.credit, "overdrawn": self._rotation.overdrawn}
        self._rotation = rotate(waiting, self._rules, now=self._started, since=since, **left)
        for warning in self._rotation.warnings:
            self._watch.warn(warning)
        self._watch.note(f"{len(self._rotation.turns)} of {len(waiting)} copies have their turn")
        self._books.put_verification(self.status())

    def read(self, seconds: float | None) -> None:
        """Read one copy after the other; each answer is kept before the next begins."""
        for turn in self._rotation.turns:
            self._context.cancel.check()
            if seconds is not None and time.monotonic() - self._clock > seconds:
                self._watch.warn(f"{seconds / 3600:.0f} h are over: the next check goes on")
                return
            if turn.copy.destination not in self._left_out:
                self._read(turn)

    def close(self) -> None:
        """The check is over."""
        self._going = False
        self._connections.close()

    def status(self) -> Verification:
        """How the copies stand."""
        known = [one for ledger in self._ledgers.values() for one in ledger.copies.values()]
        bad = sorted((one.check for one in known if one.check), key=lambda c: (_RANK[c.status], c.key, c.destination))
        counts = {status: sum(check.status == status for check in bad) for status in _RANK}
        there = [one for one in known if not (one.check and one.check.status == "missing")]
        finished = self._now()
        span = self._rules.every_days * DAY
        return Verification(
            job=self._job.name,
            run=run_id(self._started),
            execution=self._execution,
            hostname=self._job.hostname,
            started=self._started,
            finished=finished,
            within_days=self._rules.every_days,
            copies=len(there),
            size=sum(one.size for one in there),
            going=self._going,
            checked=self._read_copies,
            checked_size=self._read_bytes,
            oldest=min((one.waits_since for one in there), default=None),
            overdue=sum(finished - one.waits_since > span for one in there),
            bad=tuple(bad[:MOST_BAD]),
            **counts,
            left_out=self._left_out,
            warnings=self._rotation.warnings,
            credit=spent(self._rotation, self._read_bytes),
            overdrawn=overdraft(self._rotation, self._read_bytes),
            error=self.broken,
        )

    def _take_up(self, id_: str, destination: Destination, listed: Mapping[str, list[Copy]]) -> None:
        """Bring the ledgers of a destination up to its listing."""
        stays = self._job.policy_for(self._job.destination(id_)).minimum > 0
        for source, copies in listed.items():
            self._copies |= {(id_, str(copy.key)): StoredCopy(id_, destination, copy) for copy in copies}
            ledger = self._ledgers.get((source, id_)) or Ledger(source=source, destination=id_)
            after = compared(ledger, copies, self._started, newest_stays=stays)
            self._ledgers[source, id_] = after.ledger
            if after.changed:
                self._books.put_ledger(self._job.name, after.ledger)
            known = ledger.copies
            for key, one in after.ledger.copies.items():
                if one.check and (key not in known or known[key].check != one.check):
                    self._found(one.check)

    def _listed(self, destination: Destination) -> Mapping[str, list[Copy]]:
        """By source, those without copies too."""
        listed: dict[str, list[Copy]] = {source.id: [] for source in self._job.sources}
        for copy in list_copies(destination, self._job.hostname, listed.keys()):
            listed[copy.key.source_id].append(copy)
        return listed

    def _read(self, turn: Turn) -> None:
        """Read one copy; one that is gone meanwhile is looked for by the next check."""
        waiting = turn.copy
        stored = self._copies[waiting.destination, waiting.key]
        log.info("%s at %s: %s", waiting.key, waiting.destination, turn.reason)
        check = check_steadily(self._job, stored, self._context, self._watch)
        if check is None or (check.status == "unreadable" and self._is_gone(stored)):
            return
        ledger = self._ledgers[waiting.source, waiting.destination]
        if check.status == "ok" and waiting.known.manifest and not stored.copy.has_manifest:
            seen = {"size": check.size, "seconds": check.seconds}
            check = manifest_gone(ledger.where, waiting.key).model_copy(update=seen)
        check = scrubbed(check, self._context.secrets.scrub)
        ledger = ledger.with_copy(waiting.key, waiting.known.after(check, self._now()))
        self._ledgers[ledger.where] = ledger
        self._books.put_ledger(self._job.name, ledger)
        self._read_copies += 1
        self._read_bytes += check.size
        self._found(check)
        # A check may take a day: damage is told at once. And one that dies has paid for what it has read.
        self._books.put_verification(self.status())

    def _is_gone(self, stored: StoredCopy) -> bool:
        """Whether the destination answers no more: then that is what is wrong, and not its copies."""
        try:
            as_it_is_now(stored)
        except DestinationError as error:
            self._leave_out(stored.destination_id, error)
            return True
        return False

    def _leave_out(self, id_: str, error: BackupsError) -> None:
        self._left_out[id_] = self._context.secrets.scrub(str(error))
        self._watch.warn(f"{id_} can't be looked at: {error}")

    def _found(self, check: Check) -> None:
        self.checks.append(check)
        if check.status != "ok":
            self._watch.warn(f"{check.key} at {check.destination} is {check.status}: {check.error}")
