"""Destinations that break, stall or hang while others store; and the second chance that they get."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.context import Context
from backups.errors import DeniedError, DestinationError
from backups.fanout import Patience
from backups.records import Outcome
from tests.integration.scripted import ENDLESS, KEY, MANIFEST, Faults, Hang, Setup, fail, nothing_left, shell, until

HEAD = "head -c 30000000 /dev/urandom"
STEPS = ["connect", "create", "write", "commit"]


@pytest.fixture
def setup(tmp_path: Path, context: Context) -> Iterator[Setup]:
    """Looks after each test whether anything goes on or stays."""
    with nothing_left(context):
        yield Setup(tmp_path, context)


@pytest.mark.parametrize("step", STEPS)
def test_one_that_broke_gets_a_copy_from_a_good_one(setup: Setup, step: str) -> None:
    faults = Faults(**{step: [fail("the disk said no")]})
    result = setup.run(shell(HEAD), setup.faulty("a", faults), setup.local("b"), setup.local("c"))
    assert (result.outcome, result.error) == (Outcome.STORED, "")
    first, *others = result.destinations
    assert (first.status, first.copied_from, first.error) == ("stored", "b", "at first: the disk said no")
    assert [(place.status, place.copied_from, place.error) for place in others] == [("stored", "", "")] * 2
    for name in "abc":
        assert setup.files(name) == [KEY, MANIFEST]
    assert (setup.path("a") / KEY).read_bytes() == (setup.path("b") / KEY).read_bytes()


def test_one_that_broke_in_the_middle_does_not_disturb_the_others(setup: Setup) -> None:
    faults = Faults(create=[None, fail("never")], write=[None] * 3 + [fail("the cable is out")])
    result = setup.run(shell(HEAD), setup.local("b"), setup.faulty("a", faults))
    assert result.outcome is Outcome.PARTIAL
    assert result.error == "a: the cable is out"
    assert setup.files("b") == [KEY, MANIFEST]
    assert setup.files("a") == []


@pytest.mark.parametrize("step", STEPS)
def test_one_that_stays_broken_is_reported_and_the_others_store(setup: Setup, step: str) -> None:
    faults = Faults(**{step: fail("access denied", DeniedError)})
    result = setup.run(shell(HEAD), setup.faulty("a", faults), setup.local("b"))
    assert result.outcome is Outcome.PARTIAL
    assert result.error == "a: access denied"
    assert [place.status for place in result.destinations] == ["failed", "stored"]
    assert setup.files("a") == []
    assert setup.files("b") == [KEY, MANIFEST]


@pytest.mark.parametrize("step", STEPS)
def test_all_that_broke_are_reported_each_with_its_reason(setup: Setup, step: str) -> None:
    first, second = (Faults(**{step: fail(reason)}) for reason in ("no room", "no route"))
    result = setup.run(shell(HEAD), setup.faulty("a", first), setup.faulty("b", second))
    assert (result.outcome, result.key) == (Outcome.FAILED, "")
    assert result.error == "a: no room; b: no route"
    assert setup.files("a") == setup.files("b") == []


def test_a_source_is_ended_once_no_destination_is_left(setup: Setup) -> None:
    faults = Faults(write=[None, fail("no room")])
    result = setup.run(shell(ENDLESS), setup.faulty("a", faults))
    assert result.error == "a: no room"
    assert setup.files("a") == []


def test_an_unforeseen_error_of_one_is_its_own_failure(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    faults = Faults(write=fail("what now", ZeroDivisionError), abort=fail("and now", ZeroDivisionError))
    result = setup.run(shell(HEAD), setup.faulty("a", faults), setup.local("b"))
    assert result.error == "a: unexpected ZeroDivisionError: what now"
    assert setup.files("a") == []
    assert setup.files("b") == [KEY, MANIFEST]
    assert "Traceback" in caplog.text


def test_a_foreseen_error_is_logged_in_a_line_whatever_caused_it(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    def refused() -> None:
        raise DestinationError("no route", hint="check the cable") from ConnectionRefusedError(111, "refused")

    result = setup.run(shell(HEAD), setup.faulty("a", Faults(write=refused)), setup.local("b"))
    assert result.error == "a: no route"
    assert "destination a: no route (check the cable)" in caplog.text
    assert "Traceback" not in caplog.text


def test_closing_a_destination_changes_no_outcome(setup: Setup) -> None:
    result = setup.run(shell(HEAD), setup.faulty("a", Faults(close=[fail("no answer", OSError)])))
    assert result.outcome is Outcome.STORED


@pytest.mark.parametrize("step", ["create manifest", "write manifest", "commit manifest"])
def test_a_copy_without_its_manifest_is_not_stored(setup: Setup, step: str) -> None:
    faults = Faults(**{step: fail("no room")})
    result = setup.run(shell(HEAD), setup.faulty("a", faults), setup.local("b"))
    assert result.outcome is Outcome.PARTIAL
    assert result.error == "a: the copy is there, but not its manifest: no room"
    assert result.destinations[0].verified == ""
    assert setup.files("a") == [KEY]
    assert setup.files("b") == [KEY, MANIFEST]


def test_a_manifest_that_fails_once_is_written_with_the_second_chance(setup: Setup) -> None:
    result = setup.run(shell(HEAD), setup.faulty("a", Faults(commit_manifest=[fail()])), setup.local("b"))
    assert result.outcome is Outcome.STORED
    assert setup.files("a") == [KEY, MANIFEST]


def test_no_manifest_anywhere_is_a_failure(setup: Setup) -> None:
    result = setup.run(shell(HEAD), setup.faulty("a", Faults(commit_manifest=fail("no room"))))
    assert (result.outcome, result.key) == (Outcome.FAILED, "")


def test_the_manifests_of_good_copies_do_not_wait_for_a_second_chance(setup: Setup) -> None:
    hang = Hang()
    good = Faults(read=[hang])
    run = setup.start(shell(HEAD), setup.faulty("a", good), setup.faulty("b", Faults(create=[fail()])))
    assert good.reached("read").wait(30)
    assert setup.files("a") == [KEY, MANIFEST]
    hang.release()
    assert run.result().outcome is Outcome.STORED


def test_a_second_chance_looks_at_what_it_reads(setup: Setup, caplog: pytest.LogCaptureFixture) -> None:
    def spoil() -> None:
        copy = setup.path("b") / KEY
        copy.write_bytes(copy.read_bytes()[:-1] + b"!")

    broken = Faults(create=[fail("no route")])
    result = setup.run(
        shell(HEAD), setup.faulty("a", broken), setup.faulty("b", Faults(read=[spoil])), setup.local("c")
    )
    assert result.outcome is Outcome.STORED
    assert result.destinations[0].copied_from == "c"
    assert "not what was stored" in caplog.text
    assert (setup.path("a") / KEY).read_bytes() == (setup.path("c") / KEY).read_bytes()


@pytest.mark.parametrize("trouble", [fail("gone"), fail("bug", ZeroDivisionError)])
def test_a_second_chance_that_can_not_read_changes_nothing_for_the_good_one(setup: Setup, trouble: object) -> None:
    good = Faults(read=trouble)  # type: ignore[arg-type]
    result = setup.run(shell(HEAD), setup.faulty("a", Faults(create=[fail("no route")])), setup.faulty("b", good))
    assert (result.outcome, result.error) == (Outcome.PARTIAL, "a: no route")
    assert setup.files("a") == []
    assert setup.files("b") == [KEY, MANIFEST]


class TestStalled:
    """Destinations that neither fail nor go on."""

    @pytest.fixture(autouse=True)
    def _impatient(self, setup: Setup) -> None:
        setup.patience = Patience(stall=0.4, commit=0.8, abort=0.1)

    @pytest.mark.parametrize("step", ["connect", "create", "write"])
    @pytest.mark.parametrize("size", [30_000_000, 10_000])  # more than the window, and all of it in the window
    def test_one_that_takes_nothing_is_dropped_and_the_others_finish(self, setup: Setup, step: str, size: int) -> None:
        hang = Hang()
        faults = Faults(**{step: hang})
        run = setup.start(shell(f"head -c {size} /dev/urandom"), setup.faulty("a", faults), setup.local("b"))
        result = run.result()
        assert result.outcome is Outcome.PARTIAL
        assert result.error == "a: took no data for 0.4 s and was dropped"
        assert setup.files("b") == [KEY, MANIFEST]
        assert setup.objects("a") == []
        hang.release()
        until(lambda: setup.files("a") == [])

    @pytest.mark.parametrize("step", ["commit", "commit manifest"])
    def test_one_that_hangs_in_its_commit_is_dropped(self, setup: Setup, step: str) -> None:
        hang = Hang()
        run = setup.start(shell(HEAD), setup.faulty("a", Faults(**{step: hang})), setup.local("b"))
        result = run.result()
        assert result.outcome is Outcome.PARTIAL
        assert "did not finish within 0.8 s and was dropped" in result.error
        assert setup.files("b") == [KEY, MANIFEST]
        hang.release()

    def test_a_good_one_that_hangs_when_it_is_read_is_left_for_another(self, setup: Setup) -> None:
        hang = Hang()
        broken, hangs = Faults(create=[fail("no route")]), Faults(read=hang)
        run = setup.start(shell(HEAD), setup.faulty("a", broken), setup.faulty("b", hangs), setup.local("c"))
        result = run.result()
        assert result.outcome is Outcome.STORED
        assert result.destinations[0].copied_from == "c"
        hang.release()

    def test_a_slow_one_is_no_stalled_one(self, setup: Setup) -> None:
        """Blocks of a megabyte, each slower than nothing but faster than the limit; the whole takes longer than it."""
        result = setup.run(shell(HEAD), setup.faulty("a", Faults(write=Hang().pause(0.05))), setup.local("b"))
        assert result.outcome is Outcome.STORED

    def test_a_silent_source_stalls_no_destination(self, setup: Setup) -> None:
        result = setup.run(shell("printf a; sleep 1; printf b"), setup.local("a"))
        assert result.outcome is Outcome.STORED


def test_parts_are_planned_from_the_bound_that_the_source_gives(setup: Setup) -> None:
    faults, again = Faults(), Faults(create=[fail()])
    setup.run(shell("echo a", size_bound=123), setup.faulty("a", faults), setup.faulty("b", again))
    copy, manifest = ((setup.path("a") / name).stat().st_size for name in (KEY, MANIFEST))
    assert faults.bounds == [123, manifest]
    assert again.bounds == [123, copy, manifest]
