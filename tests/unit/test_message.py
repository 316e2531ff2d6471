"""The words of a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.notifications.rendering import render
from backups.notifications.words import human_size, one_line, shortened
from backups.records import Outcome, Pruned
from tests.unit.reports import FAILURE, SUCCESS, lost, report, result, stored

DOCUMENTED = "Backup of 'Live Company Data' (MySQL) on 'web1'"


def test_success_has_the_old_tools_words() -> None:
    message = render(SUCCESS)
    assert message.ok
    assert message.subject == "Backup of Live Company Data (MySQL) on web1 was successful"
    assert message.text == f"{DOCUMENTED} was successful [size: 12.3 MB]."


def test_failure_has_the_old_tools_words_and_the_hint() -> None:
    message = render(FAILURE)
    assert not message.ok
    assert message.subject == "ERROR: Backup of Live Company Data (MySQL) on web1 failed"
    assert message.text == f"{DOCUMENTED} failed: mysqldump ended with status 2 (check dbuser)"


@pytest.mark.parametrize("label", ["Folder", "MySQL", "PostgreSQL", "RDS", "Snapshot"])
def test_the_type_is_told_by_its_label(label: str) -> None:
    assert f"'Live Company Data' ({label}) on" in render(report(result(label=label))).text


def test_a_source_stored_in_part_reads_as_a_failure_that_says_where_it_is_and_where_not() -> None:
    places = (stored("a"), stored("b"), lost("c", "c: bucket is gone", hint="make it"), lost("d", "d: timeout"))
    message = render(report(result(outcome=Outcome.PARTIAL, destinations=places)))
    assert not message.ok
    assert message.subject.startswith("ERROR: ")
    assert message.text == (
        f"{DOCUMENTED} failed: stored at 'a', 'b' [size: 12.3 MB] but not at 'c', 'd'; "
        "'c': c: bucket is gone (make it); 'd': d: timeout"
    )


def test_a_source_stored_nowhere_tells_the_reason_of_each_destination() -> None:
    places = (lost("c", "bucket is gone"), lost("d", ""))
    message = render(report(result(outcome=Outcome.FAILED, destinations=places)))
    assert message.text == f"{DOCUMENTED} failed: 'c': bucket is gone; 'd': no reason was given"


def test_a_reason_that_the_error_already_holds_is_told_once() -> None:
    places = (lost("c", "bucket is gone"),)
    failed = result(outcome=Outcome.FAILED, error="stored nowhere: bucket is gone", destinations=places)
    assert render(report(failed)).text == f"{DOCUMENTED} failed: stored nowhere: bucket is gone"


def test_a_failure_without_any_reason_is_still_a_failure() -> None:
    assert render(report(result(outcome=Outcome.FAILED))).text == f"{DOCUMENTED} failed: no reason was given"


def test_several_sources_have_a_line_each_the_worst_first() -> None:
    message = render(
        report(
            result("a", name="A"),
            result("b", Outcome.PARTIAL, name="B", destinations=(stored(), lost())),
            result("c", Outcome.FAILED, name="C", error="gone"),
        )
    )
    assert message.subject == "ERROR: Backup of nightly (2 of 3 sources) on web1 failed"
    assert [line.split("'")[1] for line in message.lines] == ["C", "B", "A"]


def test_several_sources_that_are_all_stored() -> None:
    message = render(report(result("a"), result("b")))
    assert message.subject == "Backup of nightly (2 sources) on web1 was successful"
    assert len(message.lines) == 2


def test_a_run_that_planned_nothing_has_its_own_line() -> None:
    message = render(report(outcome=Outcome.FAILED, error="job file is gone", hint="deploy again"))
    assert message.subject == "ERROR: Backup of nightly (Job) on web1 failed"
    assert message.text == "Backup of 'nightly' (Job) on 'web1' failed: job file is gone (deploy again)"


def test_a_run_without_results_and_reason_is_a_failure() -> None:
    assert render(report()).text == "Backup of 'nightly' (Job) on 'web1' failed: no source has a result"


def test_a_skipped_run_has_its_own_line() -> None:
    message = render(report(outcome=Outcome.SKIPPED, error="run-0 is still going"))
    assert not message.ok
    assert message.subject == "ERROR: Backup of nightly (Job) on web1 was skipped"
    assert message.text == "Backup of 'nightly' (Job) on 'web1' was skipped: run-0 is still going"


def test_an_error_of_the_run_stands_before_its_results() -> None:
    message = render(report(result(), outcome=Outcome.PARTIAL, error="stopped by SIGTERM"))
    assert message.lines[0] == "Backup of 'nightly' (Job) on 'web1' failed: stopped by SIGTERM"
    assert message.lines[1] == f"{DOCUMENTED} was successful [size: 12.3 MB]."
    assert message.subject.startswith("ERROR: ")


def test_warnings_refused_removals_and_the_link_stand_below() -> None:
    message = render(
        report(
            result(warnings=("tar: ./log: file changed as we read it",)),
            pruned=(
                Pruned(source="db", destination="a", refused={"web1/x.gpg": "forbidden"}, removed=("web1/y.gpg",)),
                Pruned(source="db", destination="b", error="b: can't be listed"),
                Pruned(source="db", destination="c", kept=7),
            ),
            link="https://console.example/run-1",
        )
    )
    assert message.ok
    assert message.text.splitlines()[1:] == [
        "Warning for 'Live Company Data' (MySQL): tar: ./log: file changed as we read it",
        "Retention of 'db' at 'a' could not remove web1/x.gpg: forbidden",
        "Retention of 'db' at 'b' failed: b: can't be listed",
        "See https://console.example/run-1",
    ]


def test_many_warnings_and_refusals_are_counted() -> None:
    warnings = tuple(f"file {number} changed" for number in range(25))
    pruned = Pruned(source="db", destination="a", refused={f"k{number}": "no" for number in range(12)})
    message = render(report(result(warnings=warnings), pruned=(pruned,)))
    assert message.notes[10] == "Warning for 'Live Company Data' (MySQL): 15 more warnings"
    assert message.notes[-1] == "Retention of 'db' at 'a' could not remove 2 more objects"
    more = render(report(result(), pruned=(Pruned(source="db", destination="a", refused={"x": "no"}, more_refused=7),)))
    assert more.notes[-1] == "Retention of 'db' at 'a' could not remove 7 more objects"
    assert len(message.notes) == 22


def test_a_name_or_error_with_line_breaks_makes_no_line_of_its_own() -> None:
    forged = "x' was successful.\r\nBackup of 'y\u2028\x1b[31m"
    message = render(report(result(name=forged), result("b", Outcome.FAILED, error="one\ntwo\x00three")))
    assert len(message.text.splitlines()) == 2
    assert message.lines[0].endswith("failed: one two three")
    assert "\n" not in render(report(result(name=forged))).subject


def test_a_long_error_is_cut_with_a_note() -> None:
    message = render(report(result(outcome=Outcome.FAILED, error="x" * 1_000_000)))
    assert len(message.text) < 1200
    assert message.text.endswith("… [cut]")


def test_a_long_message_loses_its_last_lines_and_says_so() -> None:
    results = [result(f"s{n}", name=f"Source {n}") for n in range(100)]
    message = render(report(*results, result("bad", Outcome.FAILED, error="gone"), link="https://there"))
    text = message.cut(1000)
    lines = text.splitlines()
    assert len(text) <= 1000
    assert lines[0].endswith("failed: gone")
    assert lines[-1] == "See https://there"
    assert lines[-2] == f"… [cut: {101 - (len(lines) - 2)} more lines]"


@given(st.integers(0, 3000), st.integers(0, 30), st.text(max_size=80))
def test_a_cut_message_is_never_longer_than_asked_for(limit: int, sources: int, link: str) -> None:
    results = [result(f"s{n}", name=f"Source {n}" * 5) for n in range(sources)]
    assert len(render(report(*results, link=link)).cut(limit)) <= limit


@given(st.text())
def test_one_line_is_one_line_that_can_be_sent(text: str) -> None:
    clean = one_line(text)
    assert len(clean.splitlines()) <= 1
    assert clean.isprintable()
    clean.encode()


def test_one_line_takes_names_that_are_no_unicode() -> None:
    assert one_line("caf\udce9 menu") == "caf menu"


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1.0 KB"),
        (1024**2 - 1, "1.0 MB"),
        (12_897_485, "12.3 MB"),
        (5 * 1024**3, "5.0 GB"),
        (48 * 1024**4, "48.0 TB"),
        (3 * 1024**5, "3.0 PB"),
    ],
)
def test_sizes_have_base_1024_and_one_decimal(size: int, text: str) -> None:
    assert human_size(size) == text


def test_shortened_text_is_at_most_as_long_as_asked_for() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("a" * 50, 20) == "a" * 13 + "… [cut]"
    assert len(shortened("a" * 50, 3)) == 3
