"""Forms of a message with marks: the same facts, escaped, and cut to what a service takes. Pure."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterable, Sequence

from backups.notifications.message import Entry, Fact, Message
from backups.notifications.words import shortened
from backups.records import Outcome

COLOURS = {Outcome.STORED: "#2eb67d", Outcome.PARTIAL: "#e8912d", Outcome.FAILED: "#d72b3f", Outcome.SKIPPED: "#868686"}
"""Of outcomes, as in CSS."""

CUT = "… [cut]"
_WORTH_IT = 300  # characters of room in which a cut fact still says something
_GROWTH = 6  # one character becomes at most so many when it is escaped


def colour(message: Message) -> str:
    """The colour of the worst that the message tells."""
    outcomes = {entry.outcome for entry in message.entries}
    worst = (Outcome.FAILED, Outcome.PARTIAL, Outcome.SKIPPED)
    return COLOURS[next((outcome for outcome in worst if outcome in outcomes), Outcome.STORED)]


def escaped(text: str) -> str:
    """Text as HTML, also in attributes."""
    return html.escape(text)


def html_text(message: Message, limit: int, *, line_break: str, measure: Callable[[str], int] = len) -> str:
    """A bold line for each source with its facts below, of at most ``limit``."""

    def show(entry: Entry) -> str:
        line = shortened(entry.line, limit // _GROWTH // 2)
        facts = [f"{escaped(fact.name)}: {escaped(fact.value)}" for fact in entry.facts if not fact.in_line]
        return line_break.join([f"<b>{escaped(line)}</b>", *facts])

    link = escaped(message.link)
    end = f'<a href="{link}">{link}</a>' if link and len(link) < limit // 4 else ""
    shown = within(message.entries, show, limit - measure(end + line_break), measure(line_break), measure)
    return line_break.join([*shown, *([end] if end else [])])


def within(
    entries: Sequence[Entry],
    show: Callable[[Entry], str],
    limit: int,
    separator: int,
    measure: Callable[[str], int] = len,
    most: int | None = None,
) -> list[str]:
    """The first entries as ``show`` writes them, with a note when some are left out; the first one always.

    What is returned measures at most ``limit``, counting ``separator`` between two, and has ``most`` entries.
    """
    shown: list[str] = []
    used = 0
    for number, entry in enumerate(entries):
        left = len(entries) - number
        note = left_out(left - 1) if left > 1 else ""
        room = limit - used - (measure(note) + separator if note else 0)
        text = show(entry) if shown else _first(entry, show, room, measure)
        if measure(text) > room or number == most:
            return [*shown, left_out(left)]
        shown.append(text)
        used += measure(text) + separator
    return shown


def left_out(count: int) -> str:
    """The note that stands for entries."""
    return f"… [cut: {count} more]"


def html_page(message: Message, limit: int) -> str:
    """A readable page for mail: a table for each source. At most ``limit`` characters."""
    head = (
        '<!DOCTYPE html><html><body style="font-family:sans-serif;font-size:14px">'
        f'<h2 style="font-size:18px;border-left:6px solid {colour(message)};padding-left:8px">'
        f"{escaped(shortened(message.subject, 500))}</h2>"
    )
    link = escaped(message.link)
    end = (f'<p><a href="{link}">{link}</a></p>' if link else "") + "</body></html>"
    return head + "\n".join(within(message.entries, _table, limit - len(head + end), 1)) + end


def _table(entry: Entry) -> str:
    cell = '<td style="padding:2px 12px 2px 0;vertical-align:top">'
    rows = "".join(f"<tr>{cell}{escaped(f.name)}</td>{cell}{escaped(f.value)}</td></tr>" for f in entry.facts)
    title = f'<h3 style="font-size:15px;color:{COLOURS[entry.outcome]}">{escaped(entry.title)}</h3>'
    return f"{title}<p>{escaped(entry.line)}</p><table>{rows}</table>"


def _first(entry: Entry, show: Callable[[Entry], str], room: int, measure: Callable[[str], int]) -> str:
    """The first entry with as many of its facts as there is room for."""
    text = show(entry)
    for count in reversed(range(len(entry.facts))):
        if measure(text) <= room:
            break
        text = show(Entry(entry.title, entry.line, entry.outcome, (*entry.facts[:count], Fact("More", CUT))))
    return text


def fact_lines(facts: Iterable[Fact], show: Callable[[Fact], str], limit: int) -> str:
    """Facts a line each, with a note when some are left out or cut, in at most ``limit`` characters."""
    lines: list[str] = []
    room = limit - len(CUT) - 1
    for fact in facts:
        line = show(fact)
        if len(line) > room:
            short = show(Fact(fact.name, shortened(fact.value, room // _GROWTH)))
            return "\n".join([*lines, short, CUT] if len(short) <= room and room > _WORTH_IT else [*lines, CUT])
        lines.append(line)
        room -= len(line) + 1
    return "\n".join(lines)
