"""Forms with marks: nothing unescaped, nothing longer than asked for, nothing left out in silence."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.notifications.message import Entry, Fact
from backups.notifications.rendering import render, render_start
from backups.notifications.rich import COLOURS, colour, fact_lines, html_page, html_text, within
from backups.notifications.words import fitted, human_time, utf16_units
from backups.records import Outcome, Pruned, RunReport
from tests.unit.reports import FAILURE, START, SUCCESS, lost, report, result, stored

TEXT = st.text(max_size=300)
REPORTS = st.builds(
    lambda names, error, link, warnings: report(
        *(result(f"s{n}", Outcome.FAILED, name=x, error=error, warnings=warnings) for n, x in enumerate(names)),
        link=link,
        error=error,
    ),
    st.lists(TEXT, max_size=8),
    TEXT,
    TEXT,
    st.lists(TEXT, max_size=4).map(tuple),
)


def bytes_of(text: str) -> int:
    return len(text.encode())


@pytest.mark.parametrize("measure", [len, utf16_units, bytes_of])
@given(about=REPORTS, limit=st.integers(1000, 5000))
def test_html_is_never_longer_than_asked_for_and_always_whole(about: RunReport, limit: int, measure: object) -> None:
    assert callable(measure)
    made = html_text(render(about), limit, line_break="<br>", measure=measure)
    assert 0 < measure(made) <= limit
    tags = re.findall(r'</?(?:b|a|br)(?: href="[^"<>]*")?>', made)
    assert [tag for tag in tags if tag.startswith("</")] == [
        f"</{tag[1]}>" for tag in tags if not tag.startswith("</") and tag != "<br>"
    ]
    bare = re.sub(r'</?(?:b|a|br)(?: href="[^"<>]*")?>', "", made)
    assert not re.search(r"[<>\"]|&(?!(?:amp|lt|gt|quot|#x27);)", bare)


@given(about=REPORTS, limit=st.integers(3000, 9000))
def test_a_page_is_never_longer_than_asked_for(about: RunReport, limit: int) -> None:
    assert len(html_page(render(about), limit)) <= limit


def test_entries_that_are_left_out_are_counted() -> None:
    many = render(report(*(result(f"s{n}", Outcome.FAILED, error="x" * 500) for n in range(20))))
    made = html_text(many, 3000, line_break="\n")
    shown = made.count("<b>")
    assert made.endswith(f"… [cut: {20 - shown} more]")
    limited = within(many.entries, lambda entry: entry.title, 100_000, 0, most=3)
    assert len(limited) == 4
    assert limited[-1] == "… [cut: 17 more]"


def test_the_first_entry_is_told_whatever_its_length() -> None:
    entry = Entry("t", "line", Outcome.FAILED, tuple(Fact(f"n{n}", "v" * 500) for n in range(30)))
    (text,) = within([entry], lambda e: e.line + "".join(f.value for f in e.facts), 2000, 1)
    assert len(text) <= 2000
    assert text.endswith("… [cut]")
    assert text.count("v") == 1500


def test_facts_that_are_cut_say_so() -> None:
    facts = (Fact("Error", "<" * 900), Fact("Time", "1 s"))
    made = fact_lines(facts, lambda fact: f"{fact.name}: {html.escape(fact.value)}", 2000)
    assert len(made) <= 2000
    assert made.startswith("Error: &lt;&lt;")
    assert made.count("[cut]") == 2
    assert fact_lines(facts, lambda fact: fact.name, 2000) == "Error\nTime"
    assert fact_lines(facts, lambda fact: fact.value, 100) == "… [cut]"


def test_each_outcome_has_a_colour_and_the_worst_is_shown() -> None:
    assert len(set(COLOURS.values())) == len(Outcome)
    assert colour(render(SUCCESS)) == COLOURS[Outcome.STORED]
    assert colour(render(FAILURE)) == COLOURS[Outcome.FAILED]
    assert colour(render(report(result(), result("b", Outcome.PARTIAL)))) == COLOURS[Outcome.PARTIAL]
    assert colour(render(report(outcome=Outcome.SKIPPED))) == COLOURS[Outcome.SKIPPED]
    assert colour(render_start(START)) == COLOURS[Outcome.STORED]


def test_an_entry_has_the_facts_that_its_line_lacks() -> None:
    places = (stored("a").model_copy(update={"seconds": 3700}), lost("b", "gone", "make it"))
    pruned = Pruned(source="db", destination="a", error="can't be listed")
    made = render(report(result(outcome=Outcome.PARTIAL, destinations=places, warnings=("odd",)), pruned=(pruned,)))
    source, retention = made.entries
    assert [(fact.name, fact.value) for fact in source.facts] == [
        ("Not stored at", "'b': gone (make it)"),
        ("Size", "12.3 MB"),
        ("Source", "'db' of job 'nightly', run run-1"),
        ("Time", "7 min 0 s, from 2026-11-23 02:00 to 02:07 UTC"),
        ("Stored at", "'a' in 1 h 1 min"),
        ("Warning", "odd"),
    ]
    assert (source.line,) == made.lines
    assert retention.line == "Retention: 1 problem"
    assert [fact.value for fact in retention.facts] == ["Retention of 'db' at 'a' failed: can't be listed"]


def test_the_run_itself_is_an_entry_when_it_has_an_error() -> None:
    made = render(report(result(), outcome=Outcome.PARTIAL, error="stopped", hint="start again"))
    assert [entry.title for entry in made.entries] == ["nightly (Job) on web1", "Live Company Data (MySQL) on web1"]
    assert [fact.value for fact in made.entries[0].facts][:2] == ["stopped", "start again"]
    assert made.subject == "ERROR: Backup of nightly (Job) on web1 failed"  # its source has not
    assert tuple(entry.line for entry in made.entries) == made.lines


def test_a_run_that_begins_names_its_sources() -> None:
    made = render_start(START)
    assert made.subject == "Backup of nightly (Job) on web1 has started"
    assert made.text == "Backup of 'nightly' (Job) on 'web1' has started [sources: 2]."
    assert made.entries[0].facts[0] == Fact("Sources", "Live Company Data, Etc")
    assert made.identity != render(SUCCESS).identity


@given(st.text(), st.integers(0, 500))
def test_fitted_text_fits(text: str, limit: int) -> None:
    assert len(fitted(lambda room: html.escape(text[:room]), limit)) <= limit


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (3599.7, "1 h 0 min"), (90_061, "25 h 1 min")],
)
def test_times_are_readable(seconds: float, text: str) -> None:
    assert human_time(seconds) == text
