"""Whether a channel that wants to hear of changes only is told of a run, and what it then knows. Pure."""

from __future__ import annotations

from backups.notifications.base import Notification
from backups.records import Notified, Outcome, RunReport, Told

_THE_RUN = ""  # stands for the run itself, which has no source that failed


def due(channel: Notification, report: RunReport, before: Told | None) -> bool:
    """Whether a run is news to the channel, or a reminder is due. Nothing told before counts as all well."""
    if channel.notify_on == "every run":
        return True
    now = failing(report)
    if now != (before.failing if before else ()):
        return True
    if not now or not before or not channel.remind_days:
        return False
    return (report.started.date() - before.at.date()).days >= channel.remind_days


def told_after(report: RunReport, before: Told | None, answer: Notified) -> Told | None:
    """What the channel knows after a run. What it could not be told is news again the next time."""
    now = failing(report)
    heard = answer.status == "sent" or (answer.status == "not wanted" and now != (before.failing if before else ()))
    return Told(at=report.started, failing=now) if heard else before


def failing(report: RunReport) -> tuple[str, ...]:
    """Ids of what was not stored everywhere, sorted; none after a run that stored everything."""
    if report.outcome is Outcome.STORED:
        return ()
    bad = {result.source for result in report.results if result.outcome is not Outcome.STORED}
    if report.error or not bad:
        bad.add(_THE_RUN)
    return tuple(sorted(bad))
