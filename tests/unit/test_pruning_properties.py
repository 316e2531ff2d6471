"""What holds for retention whatever a destination holds, however often the work is handed over, whatever changes."""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.copies import Copy, list_copies
from backups.destinations.base import StoredObject
from backups.destinations.local.destination import Local
from backups.job import Job, JobSettings
from backups.naming import LegacyKey, parse_legacy_key
from backups.pruning import Task, Work, WorkRecord, prune
from backups.pruning.look import LEAP, _listed
from backups.pruning.prune import go_on
from backups.pruning.scan import scan
from backups.pruning.work import MOST_KEYS
from backups.records import Pruned
from backups.retention import Policy, decide
from tests.unit.copies import NOW, TODAY, copy
from tests.unit.memory import Memory
from tests.unit.test_retention_properties import copies, policies

SOURCES = ("db", "files")


def task(policy: Policy, **changes: object) -> Task:
    """For the sources of one of the hosts."""
    made = Task(destination="disk", hostname="web1", sources=SOURCES, policy=policy, today=TODAY, now=NOW)
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def own(found: list[Copy]) -> list[Copy]:
    """Those that the task is about."""
    return [c for c in found if c.key.hostname == "web1"]


def whole(memory: Memory, wanted: Task) -> tuple[Pruned, ...]:
    """All of it in one go."""
    work = Work(wanted)
    assert go_on(work, memory, lambda _: False)
    return tuple(work.pruned())


def in_turns(memory: Memory, wanted: Task, objects: int) -> tuple[Pruned, ...]:
    """The same, left after so many objects and gone on with from its record, as often as needed."""
    record: WorkRecord | None = None
    for _ in range(500):
        work = Work.of(wanted, WorkRecord.model_validate_json(record.model_dump_json())) if record else Work(wanted)
        done = 0

        def enough(more: int) -> bool:
            nonlocal done
            done += more
            return done >= objects

        if go_on(work, memory, enough):
            return tuple(work.pruned())
        record = work.record()
    raise AssertionError("the work never ends")


@given(copies, policies)
def test_a_real_run_does_what_the_dry_run_says(found: list[Copy], policy: Policy) -> None:
    config = Local(id="disk", path="/disk").model_copy(
        update={"retention_copies": policy.copies, "retention_days": policy.days, "retention": policy.rules}
    )
    job = Job("nightly", JobSettings(hostname="web1"), (), (config,), ())
    memory = Memory.of(found)
    before = dict(memory.objects)
    promised = prune(job, config, memory, SOURCES, today=TODAY, now=NOW, dry_run=True)
    assert memory.objects == before
    assert prune(job, config, memory, SOURCES, today=TODAY, now=NOW) == promised
    gone = {key for record in promised[1] for key in record.removed}
    assert gone == {str(decision.copy.key) for decision in promised[0] if not decision.keep}
    assert gone == {key for key in before.keys() - memory.objects.keys() if not key.endswith(".manifest.json")}


@given(copies, policies, st.integers(0, 30))
def test_work_in_turns_does_what_it_does_in_one_go(found: list[Copy], policy: Policy, objects: int) -> None:
    one, other = Memory.of(found), Memory.of(found)
    assert in_turns(one, task(policy), objects) == whole(other, task(policy))
    assert one.objects.keys() == other.objects.keys()


@given(copies, policies, st.integers(1, 30), st.sampled_from([SOURCES, ("db",)]))
def test_nothing_of_another_host_or_job_goes_and_the_newest_verified_stays(
    found: list[Copy], policy: Policy, objects: int, sources: tuple[str, ...]
) -> None:
    memory = Memory.of(found)
    foreign = {c.key for c in found if c.key.hostname == "web2" or c.key.source_id not in sources}
    before = {name for key in foreign for name in (str(key), key.manifest)} & memory.objects.keys()
    in_turns(memory, task(policy, sources=sources), objects)
    assert before <= memory.objects.keys()
    for source in sources:
        newest = max((c.key.date for c in own(found) if c.verified and c.key.source_id == source), default=None)
        kept = {c.key.date for c in list_copies(memory, "web1", [source]) if c.verified}
        assert newest is None or newest in kept


@given(copies, policies, st.integers(0, 80))
def test_a_listing_that_breaks_removes_nothing(found: list[Copy], policy: Policy, at: int) -> None:
    memory = Memory.of(found)
    before = set(memory.objects)
    listing = len([key for key in before if key.startswith("web1/")])
    memory.break_listing_at = at
    records = whole(memory, task(policy))
    if at < listing:
        assert all("connection was cut" in record.error for record in records)
        assert memory.objects.keys() == before


@given(copies, policies, st.data())
def test_changes_since_the_listing_remove_nothing_that_whole_knowledge_would_keep(
    found: list[Copy], policy: Policy, data: st.DataObject
) -> None:
    memory = Memory.of(found)
    work = Work(task(policy))
    assert scan(work, memory, lambda _: False)
    lost = data.draw(st.lists(st.sampled_from(own(found)), unique=True) if own(found) else st.just([]))
    halves = data.draw(st.lists(st.sampled_from(lost), unique=True) if lost else st.just([]))
    for one in lost:
        if one in halves:  # a run is just replacing it: the copy is new, its manifest is not
            memory.put(dataclasses.replace(one, verified=False, has_manifest=True, modified=NOW))
        else:
            memory.objects.pop(str(one.key), None)
            memory.objects.pop(one.key.manifest, None)
    truth = decide(list_copies(memory, "web1", SOURCES), policy, today=TODAY, now=NOW)
    kept = {str(decision.copy.key) for decision in truth if decision.keep}
    go_on(work, memory, lambda _: False)
    assert kept <= memory.objects.keys()


@given(copies, policies, st.integers(1, 30), st.booleans())
def test_locks_that_a_listing_does_not_tell_are_asked_of_what_would_go_and_of_nothing_else(
    found: list[Copy], policy: Policy, objects: int, dry_run: bool
) -> None:
    told, silent = Memory.of(found), Memory.of(found)
    silent.tells_locks = False
    if dry_run:
        one, other = Work(task(policy)), Work(task(policy))
        go_on(one, told, lambda _: False, dry_run=True)
        go_on(other, silent, lambda _: False, dry_run=True)
        assert tuple(one.pruned()) == tuple(other.pruned())
    else:
        assert in_turns(silent, task(policy), objects) == whole(told, task(policy))
    assert silent.objects.keys() == told.objects.keys()
    free = [dataclasses.replace(c, locked_until=None) for c in own(found)]
    going = {str(d.copy.key) for d in decide(free, policy, today=TODAY, now=NOW) if not d.keep}
    assert {key.removesuffix(".manifest.json") for key in silent.asked} <= going


@given(copies, policies, st.data())
def test_what_was_stored_anew_since_the_listing_stays(found: list[Copy], policy: Policy, data: st.DataObject) -> None:
    memory = Memory.of(found)
    work = Work(task(policy))
    assert scan(work, memory, lambda _: False)
    again = data.draw(st.lists(st.sampled_from(own(found)), unique=True) if own(found) else st.just([]))
    for one in again:
        memory.put(dataclasses.replace(one, verified=True, has_manifest=True, modified=NOW, locked_until=None))
    go_on(work, memory, lambda _: False)
    assert {name for one in again for name in (str(one.key), one.key.manifest)} <= memory.objects.keys()
    for record in work.pruned():
        assert record.kept == len({c.key.date for c in list_copies(memory, "web1", [record.source])})


@given(copies, policies, st.integers(0, 3))
def test_a_removal_that_breaks_is_told_and_counts_what_may_be_there_still(
    found: list[Copy], policy: Policy, at: int
) -> None:
    memory = Memory.of(found)
    promised = {str(d.copy.key) for d in decide(own(found), policy, today=TODAY, now=NOW) if not d.keep}
    memory.break_removal_at = at
    records = {record.source: record for record in whole(memory, task(policy))}
    for source, record in records.items():
        left = list_copies(memory, "web1", [source])
        assert record.kept == len({c.key.date for c in left})
        if {str(c.key) for c in left} & promised:
            assert "connection was cut" in record.error


@given(copies, policies, st.data())
def test_what_is_refused_is_told_and_stays_with_its_manifest(
    found: list[Copy], policy: Policy, data: st.DataObject
) -> None:
    memory = Memory.of(found)
    promised = sorted(str(d.copy.key) for d in decide(own(found), policy, today=TODAY, now=NOW) if not d.keep)
    refused = data.draw(st.lists(st.sampled_from(promised), unique=True)) if promised else []
    memory.refuses = dict.fromkeys(refused, "locked")
    before = set(memory.objects)
    told = {key: reason for record in whole(memory, task(policy)) for key, reason in record.refused.items()}
    assert told == dict.fromkeys(refused, "locked")
    beside = {f"{key}.manifest.json" for key in refused} & before
    assert {*refused} | beside <= memory.objects.keys()
    assert not ({*promised} - {*refused}) & memory.objects.keys()


@given(copies, policies, st.integers(1, 4), st.integers(1, 30), st.booleans())
def test_batches_under_way_at_the_same_time_do_what_one_after_the_other_does(
    found: list[Copy], policy: Policy, batch: int, objects: int, refuse: bool
) -> None:
    one, other = Memory.of(found), Memory.of(found)
    one.parallel = 4  # type: ignore[misc]
    if refuse:
        one.refuses = other.refuses = {str(c.key): "held" for c in found if c.key.date.day % 3 == 0}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backups.pruning.plan.BATCH", batch)
        assert in_turns(one, task(policy), objects) == whole(other, task(policy))
    assert one.objects.keys() == other.objects.keys()


@given(copies, policies, st.integers(1, 3), st.integers(0, 6))
def test_when_the_destination_breaks_among_several_batches_the_records_tell_what_is_gone(
    found: list[Copy], policy: Policy, batch: int, at: int
) -> None:
    memory = Memory.of(found)
    memory.parallel, memory.break_removal_at = 4, at  # type: ignore[misc]
    before = {name for name in memory.objects if not name.endswith(".manifest.json")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backups.pruning.plan.BATCH", batch)
        records = whole(memory, task(policy))
    gone = before - memory.objects.keys()
    assert {name for record in records for name in record.removed} == gone
    left = {c.key.source_id for c in own(found) if str(c.key) in memory.objects}
    promised = decide(own(found), policy, today=TODAY, now=NOW)
    due = {d.copy.key.source_id for d in promised if not d.keep and str(d.copy.key) in memory.objects}
    assert due <= left and due <= {record.source for record in records if record.error}


def test_what_this_run_has_stored_must_be_in_the_listing() -> None:
    """A server that ends its listing early, without an error, hides the newest: nothing it shows is old then."""
    found = [copy(age) for age in (0, 40, 41, 42)]
    memory = Memory.of(found[1:])
    (record,) = whole(memory, task(Policy(copies=1), sources=("db",), stored={"db": str(found[0].key)}))
    assert "does not show web1/2026-11-23/db.sql.gpg" in record.error
    assert (record.removed, record.kept) == ((), 3)
    assert len(list_copies(memory, "web1")) == 3


def test_a_listing_without_order_removes_nothing() -> None:
    class Disorderly(Memory):
        def list(self, prefix: str) -> Iterator[StoredObject]:
            yield from reversed(list(super().list(prefix)))

    memory = Disorderly.of([copy(age) for age in (0, 40, 41)])
    before = set(memory.objects)
    (record,) = whole(memory, task(Policy(copies=1), sources=("db",)))
    assert "out of order" in record.error
    assert memory.objects.keys() == before
    assert len(list_copies(memory, "web1")) == 3  # a restore does not depend on it


def test_thousands_that_go_are_counted_and_not_all_listed() -> None:
    memory = Memory.of([copy(age) for age in range(2500)])
    (record,) = whole(memory, task(Policy(copies=1), sources=("db",)))
    assert (record.removed_count, len(record.removed), record.kept) == (2499, MOST_KEYS, 1)
    assert [len(keys) for keys in memory.removals] == [1000, 1000, 1000, 1000, 499, 499]
    assert memory.removals[0][0].startswith("web1/2020-01-")  # the oldest first


def legacy_copy(age: int, source: str = "db", stamp: str = "") -> Copy:
    """What the old tool has stored without its host."""
    date = TODAY - dt.timedelta(days=age)
    key = LegacyKey("web1", date, source, "sql", stamp=stamp or date.strftime("%Y%m%d-020000"))
    return Copy(key, 1000, dt.datetime.combine(date, dt.time(2), dt.UTC), verified=False)


def test_what_the_old_tool_stored_stays_unless_the_job_says_otherwise() -> None:
    memory = Memory.of([copy(0), copy(1), *(legacy_copy(age) for age in (10, 40, 400))])
    before = set(memory.objects)
    whole(memory, task(Policy(days=30), sources=("db",)))
    assert memory.objects.keys() == before
    (record,) = whole(memory, task(Policy(days=30), sources=("db",), legacy=True))
    assert sorted(record.removed) == ["db/20251019-020000/db.sql.gpg", "db/20261014-020000/db.sql.gpg"]
    assert record.kept == 3
    assert "db/20261113-020000/db.sql.gpg" in memory.objects


def test_copies_of_the_old_tool_keep_no_verified_one_from_staying() -> None:
    """By the same policy as others: unverified, they never take the place of one that is verified."""
    memory = Memory.of([copy(20), copy(21), *(legacy_copy(age) for age in (10, 11, 12))])
    (record,) = whole(memory, task(Policy(copies=2), sources=("db",), legacy=True))
    left = {str(c.key) for c in list_copies(memory, "web1", ["db"], legacy=True)}
    assert {str(copy(20).key), str(copy(21).key)} <= left
    assert record.removed == ("db/20261111-020000/db.sql.gpg",)


def test_the_newest_copy_of_the_old_tool_stays_while_there_is_no_verified_one() -> None:
    memory = Memory.of([legacy_copy(age) for age in (100, 200, 300)])
    (record,) = whole(memory, task(Policy(days=30), sources=("db",), legacy=True))
    assert [str(c.key) for c in list_copies(memory, "web1", ["db"], legacy=True)] == [str(legacy_copy(100).key)]
    assert record.kept == 1


@pytest.mark.parametrize(
    "foreign",
    [
        "db/20200101-020000/other.sql.gpg",  # another file
        "db/20200101-020000/db.sql",  # not encrypted: not the tool's
        "db/latest/db.sql.gpg",
        "db/20201301-020000/db.sql.gpg",  # no day
        "db2/20200101-020000/db2.sql.gpg",  # another source
        "20200101-020000/db/db.sql.gpg",
    ],
)
def test_what_the_old_tool_did_not_store_is_left_alone(foreign: str) -> None:
    memory = Memory.of([copy(0)])
    memory.objects[foreign] = StoredObject(foreign, 3, NOW - dt.timedelta(days=900))
    whole(memory, task(Policy(days=1), sources=("db",), legacy=True))
    assert foreign in memory.objects


def test_copies_of_a_host_that_is_called_like_the_source_are_not_taken_for_the_old_tool_s() -> None:
    """``db/2020-01-01/db.sql.gpg`` may be host db's copy of today's layout; its manifest says so."""
    other = copy(900, hostname="db")
    memory = Memory.of([copy(0), other])
    whole(memory, task(Policy(days=1), sources=("db",), legacy=True))
    assert {str(other.key), other.key.manifest} <= memory.objects.keys()


@pytest.mark.parametrize(
    "stamp", ["2020-01-31", "20200131", "20200131T020000Z", "2020-01-31_02-00", "2020-01-31 02:00:07"]
)
def test_stamps_of_the_old_tool(stamp: str) -> None:
    key = f"db/{stamp}/db.tar.gpg"
    parsed = parse_legacy_key(key, "web1")
    assert parsed and parsed.date == dt.date(2020, 1, 31)
    assert str(parsed) == key


@pytest.mark.parametrize(
    "going", [range(0, 4000, 1999), range(1500, 1510), range(0, 4000, 7), [0, 1, 3998, 3999], [3999]]
)
def test_a_look_finds_what_is_wanted_without_going_through_all_that_lies_between(going: Sequence[int]) -> None:
    names = [f"web1/2026-11-20/s{number:04}.tar.gpg" for number in range(4000)]
    memory = Memory(StoredObject(name, 1, NOW) for name in names)
    wanted = sorted(["web1/2026-11-19/a", *(names[number] for number in going), names[-1] + "x", "web1/2026-11-21/z"])
    assert [found.key for found in _listed(memory, wanted)] == [names[number] for number in going]
    assert memory.listed <= len(range(going[0], going[-1] + 1)) + 2 * LEAP
    if len(going) <= 4:
        assert memory.listed <= (len(going) + 2) * (LEAP + 1)
