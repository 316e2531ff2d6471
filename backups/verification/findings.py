"""What there is to tell of a check: each copy that is not good, what was not looked at, promises that can't be kept.

Pure. The watch of a deployed stack tells it, and on one machine the check itself.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator

from backups.records import Finding
from backups.verification.rotation import DAY
from backups.verification.status import Check, Verification

_CHECK_GRACE = 3 * DAY
"""How long the daily check of the copies may stay away."""
_RAISE = "raise 'max_gib' or 'every_days' of 'verification'"


def of_checks(checks: Iterable[Check]) -> Iterator[Finding]:
    """A finding for each copy that is not good."""
    for check in checks:
        if check.status != "ok":
            what = f"copy {check.key} of '{check.source}' at '{check.destination}'"
            state = "can't be read back" if check.status == "unreadable" else f"is {check.status}"
            yield Finding(
                severity="error",
                kind=check.status,
                source=check.source,
                destination=check.destination,
                key=check.key,
                text=f"{what} {state}: {check.error}",
                hint=check.hint,
            )


def of_bad(verification: Verification) -> Iterator[Finding]:
    """Every copy that is known not to be good, as far as the status lists them."""
    yield from of_checks(verification.bad)
    if verification.more_bad:
        text = f"{verification.more_bad} more copies are damaged, missing or can't be read back"
        yield Finding(severity="error", kind="damaged", text=text, hint="the ledgers beside the status have them all")


def of_places(verification: Verification) -> Iterator[Finding]:
    """Destinations that the last check could not look at."""
    for destination, error in verification.left_out.items():
        text = f"the copies at '{destination}' could not be checked: {error}"
        hint = "whether they are good is not known; the next check tries again"
        yield Finding(severity="error", kind="unreadable", destination=destination, text=text, hint=hint)


def of_promise(verification: Verification, now: dt.datetime) -> Iterator[Finding]:
    """Copies that wait too long, and checks that stay away."""

    def finding(text: str, hint: str) -> Finding:
        return Finding(severity="warning", kind="unverified", text=text, hint=hint)

    if verification.error:
        yield finding(f"the last check of the copies was not whole: {verification.error}", "look at its log")
    if now - verification.finished > _CHECK_GRACE:
        when = f"{verification.finished:%Y-%m-%d %H:%M} UTC"
        yield finding(f"the copies were not checked since {when}", "is the schedule of the check enabled?")
    if not verification.copies:
        return
    if verification.overdue or verification.age_hours(now) > verification.within_days * 24:
        days = int(verification.age_hours(now) // 24)
        yield finding(f"a copy was not read back for {days} days; {verification.within_days} are allowed", _RAISE)
    for warning in verification.warnings:
        yield finding(f"not every copy can be read back in time: {warning}", _RAISE)


def never_checked(since: dt.datetime, now: dt.datetime) -> Iterator[Finding]:
    """A job of which no check has left a status, although they are expected since then."""
    if now - since > _CHECK_GRACE:
        text = f"the copies were never checked; checks are expected since {since:%Y-%m-%d %H:%M} UTC"
        yield Finding(severity="warning", kind="unverified", text=text, hint="is the schedule of the check enabled?")
