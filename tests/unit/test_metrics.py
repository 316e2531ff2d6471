"""The metrics of a run: their names, their groups, and when a group is replaced whole."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.notifications.metrics import Metric, exposition, group_path, groups
from backups.records import Outcome, Pruned
from tests.unit.reports import lost, report, result, stored

PAGE = Path(__file__).parents[2] / "docs" / "notifications.md"


def test_the_page_lists_every_series_and_no_other() -> None:
    about = report(result(), pruned=(Pruned(source="db", destination="myamazon", kept=3),))
    pushed = {metric.name for group in groups(about) for metric in group.metrics}
    assert set(re.findall(r"`(backup_[a-z_]+)`", PAGE.read_text(encoding="utf-8"))) == pushed


def test_only_good_news_replaces_a_group_whole() -> None:
    about = report(
        result("good"),
        result("half", Outcome.PARTIAL, destinations=(stored("a"), lost("b"))),
        result("bad", Outcome.FAILED),
    )
    assert {group_path(group.labels): group.whole for group in groups(about)} == {
        "/metrics/job/good": True,
        "/metrics/job/good/instance/web1": True,
        "/metrics/job/good/instance/web1/destination/myamazon": True,
        "/metrics/job/half/instance/web1": False,
        "/metrics/job/half/instance/web1/destination/a": True,
        "/metrics/job/half/instance/web1/destination/b": False,
        "/metrics/job/bad/instance/web1": False,
        "/metrics/job/nightly/instance/web1/scope/run": False,
    }


def test_bad_news_brings_nothing_of_the_last_success() -> None:
    about = report(result(outcome=Outcome.FAILED, destinations=(lost("a"),)))
    assert not [m.name for g in groups(about) for m in g.metrics if re.search("success|size|destination_dur", m.name)]


def test_copies_that_retention_could_not_count_are_not_told() -> None:
    pruned = (Pruned(source="db", destination="myamazon", error="can't be listed"),)
    names = {metric.name for group in groups(report(result(), pruned=pruned)) for metric in group.metrics}
    assert not [name for name in names if "retained" in name]


def test_the_text_form() -> None:
    metrics = (Metric("a", "gauge", "What a is", True), Metric("b", "summary", "What b is", 2.5))
    assert exposition(metrics).decode().splitlines() == [
        "# HELP a What a is",
        "# TYPE a gauge",
        "a 1",
        "# HELP b What b is",
        "# TYPE b summary",
        "b_count 1",
        "b_sum 2.5",
    ]


@pytest.mark.parametrize("plain", ["db", "a.b-c_d~1", "_x"])
def test_plain_values_stand_in_the_path(plain: str) -> None:
    assert group_path({"job": plain}) == f"/metrics/job/{plain}"


@given(st.text())
def test_any_value_comes_back_from_its_path(value: str) -> None:
    _, _, name, step = group_path({"job": value}).split("/")
    assert step not in ("", ".", "..")
    if name == "job":
        assert step == value
    else:
        assert name == "job@base64"
        assert base64.urlsafe_b64decode("" if step == "=" else step).decode() == value
