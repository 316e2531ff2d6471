"""Every problem of a job file is reported at once, at the place where it was written, and without its value."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.errors import JobError
from backups.job import load_job, parse_job
from backups.jobfile.reader import LISTS
from backups.sources import SOURCES
from tests.jobs import DATA, KINDS, example, job_data, job_with, parsed, problems


def test_a_good_file_has_no_problems() -> None:
    assert problems(job_data()) == []


@pytest.mark.parametrize(("kind", "type_"), KINDS)
def test_the_documented_example_of_each_type_is_read(kind: str, type_: str) -> None:
    job = parsed(job_with(kind, example(kind, type_)))
    assert getattr(job, kind)[0].type == type_


@pytest.mark.parametrize("kind", LISTS)
def test_every_type_has_an_example(kind: str) -> None:
    assert {type_ for of, type_ in KINDS if of == kind} == {str(m.model_fields["type"].default) for m in LISTS[kind]}


@pytest.mark.parametrize(
    ("kind", "alias", "type_"),
    [
        ("sources", "postgresql", "pgsql"),
        ("destinations", "gcs", "gs"),
        ("destinations", "smb", "samba"),
        ("notifications", "email", "smtp"),
    ],
)
def test_other_names_of_a_type(kind: str, alias: str, type_: str) -> None:
    job = parsed(job_with(kind, example(kind, type_, type=alias)))
    assert getattr(job, kind)[0].type == type_


def test_all_problems_come_at_once() -> None:
    data = job_data(
        hostnam="x",
        schedule="0 0 1 * 1",
        timezone="Europe/Berln",
        sources=[
            {"type": "mysql", "id": "a", "passphrase": "two\nlines", "dbhots": "x", "dbname": "y"},
            {"type": "foldr"},
            {"type": "folder", "id": "a"},
        ],
        destinations=[{"type": "samba", "host": "", "share": 3, "credentials": {"usrname": "x"}}],
    )
    found = problems(data)
    assert "hostnam: unknown key (did you mean 'hostname'?)" in found
    assert any(line.startswith("schedule: restricts the day of month and the day of week") for line in found)
    assert "timezone: is no IANA time zone such as 'Europe/Berlin' (did you mean 'Europe/Berlin'?)" in found
    assert "sources[0].dbhots: unknown key (did you mean 'dbhost'?)" in found
    assert any(line.startswith("sources[0].passphrase: must be one line") for line in found)
    assert any(line.startswith("sources[1].type: unknown type 'foldr' (did you mean 'folder'?)") for line in found)
    assert "sources[2].path: required for type 'folder'" in found
    assert "sources[2].id: sources[0] has the id 'a' as well" in found
    assert any(line.startswith("sources[1]: not encrypted") for line in found)
    assert any(line.startswith("sources[2]: not encrypted") for line in found)
    assert "destinations[0].host: must not be empty" in found
    assert "destinations[0].share: must be a text" in found
    assert "destinations[0].credentials.usrname: unknown key (did you mean 'username'?)" in found
    assert "destinations[0].password: required for type 'samba'" in found


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"sources": []}, "sources: at least one source is needed"),
        ({"destinations": []}, "destinations: at least one destination is needed"),
        ({"sources": None}, "sources: required"),
        ({"destinations": {}}, "destinations: must be a list"),
        ({"sources": ["folder"]}, "sources[0]: must be an object with a 'type'"),
        (
            {"destinations": [{"path": "/mnt"}]},
            "destinations[0].type: required, one of: gcs, gs, local, rclone, s3, samba, smb",
        ),
        ({"hostname": "../x"}, "hostname: may hold letters, digits and . _ -, and starts with a letter or digit"),
        ({"hostname": ".."}, "hostname: may hold letters, digits and . _ -, and starts with a letter or digit"),
        ({"compression": "bzip2"}, "compression: must be 'gpg', 'zstd', 'gzip' or 'none'"),
        ({"retention": []}, "retention: must be an object"),
        ({"concurrency": "many"}, "concurrency: must be a whole number"),
        ({"concurrency": 1.5}, "concurrency: must be a whole number"),
        ({"tmpdir": 7}, "tmpdir: must be a path"),
        ({"concurrency": 0}, "concurrency: must be greater than 0"),
        ({"encryption": {}}, "encryption: give either 'passphrase' or 'recipients'"),
        (
            {"encryption": {"passphrase": "x", "recipients": ["y"]}},
            "encryption: give either 'passphrase' or 'recipients'",
        ),
        ({"encryption": {"recipients": []}}, "encryption.recipients: must not be empty"),
        ({"encryption": {"passphrase": ""}}, "encryption.passphrase: must not be empty"),
        ({"encryption": {"passprase": "x"}}, "encryption.passprase: unknown key (did you mean 'passphrase'?)"),
        ({"retention": {"keep_dayly": 3}}, "retention.keep_dayly: unknown key (did you mean 'keep_daily'?)"),
        ({"modules": "backups.sources.folder"}, "modules: must be a list"),
        ({"modules": ["no such"]}, "modules[0]: must be the name of a Python module, such as 'backups.sources.mysql'"),
        ({"source": []}, "source: unknown key (did you mean 'sources'?)"),
        ({"a.b": 1}, '["a.b"]: unknown key'),
    ],
)
def test_problems_of_the_root(change: dict[str, Any], problem: str) -> None:
    assert problem in problems(job_data(**change))


@pytest.mark.parametrize(
    ("kind", "item", "problem"),
    [
        ("sources", {"type": "folder", "path": "/x", "id": "a/b"}, "sources[0].id: may hold letters"),
        ("sources", {"type": "folder", "path": "/x", "id": "-x"}, "sources[0].id: may hold letters"),
        ("sources", {"type": "folder", "path": "/x", "sudo": "maybe"}, "sources[0].sudo: must be true or false"),
        (
            "sources",
            {"type": "folder", "path": "/x", "excludes": [1]},
            "sources[0].excludes[0]: must be a text",
        ),
        ("sources", {"type": "rds", "instancename": "x", "dbname": "y"}, "sources[0].dbuser: required for type 'rds'"),
        ("sources", {"type": "rds", "instancename": "x", "dbname": "y"}, "sources[0].dbpass: required for type 'rds'"),
        ("sources", {"type": "snapshot"}, "sources[0]: give one of 'volume_id', 'instance_id'"),
        (
            "sources",
            {"type": "mysql", "dbname": 3, "dbhost": "x"},
            "sources[0].dbname: must be a text, or must be a list",
        ),
        ("sources", {"type": "folder", "path": "/x", "passphrase": " "}, "sources[0].passphrase: must not be empty"),
        (
            "sources",
            {"type": "folder", "path": "/x", "passphrase": "a", "recipients": ["b"]},
            "sources[0]: give either 'passphrase' or 'recipients', not both",
        ),
        ("destinations", {"type": "s3"}, "destinations[0].bucket: required for type 's3'"),
        (
            "destinations",
            {"type": "samba", "hostname": "a", "host": "b", "share": "c", "username": "d", "password": "e"},
            "destinations[0]: 'host' is given twice, in two spellings or places",
        ),
        ("notifications", {"type": "discord", "url": "ftp://x"}, "notifications[0].url: must be a web address"),
        ("notifications", {"type": "prometheus", "url": "push"}, "notifications[0].url: must be a web address"),
    ],
)
def test_problems_of_an_item(kind: str, item: dict[str, Any], problem: str) -> None:
    assert any(line.startswith(problem) for line in problems(job_with(kind, item)))


def test_each_place_is_named_once() -> None:
    found = problems(job_with("sources", {"type": "mysql", "dbname": 3, "dbhost": "x"}))
    assert len([line for line in found if line.startswith("sources[0].dbname")]) == 1


def test_two_without_an_id_and_with_the_same_content_need_one() -> None:
    folder = {"type": "folder", "path": "/x"}
    found = problems(job_with("sources", folder, folder))
    assert found == ["sources[1]: sources[0] has the id 'folder-x-" + found[0].split("folder-x-")[1]]
    assert found[0].endswith("give each an 'id' of its own")


def test_channels_without_an_id_get_a_number() -> None:
    chat = {"type": "telegram", "api_token": "x", "chat_id": 38}
    job = parsed(job_with("notifications", chat, {**chat, "notify_on_success": 0}, chat))
    assert [channel.id for channel in job.notifications] == ["telegram-38", "telegram-38-2", "telegram-38-3"]
    assert job.notification("telegram-38-2").notify_on_success is False


def test_channels_with_the_same_id_of_their_own_are_an_error() -> None:
    chat = {"id": "a", "type": "telegram", "api_token": "x", "chat_id": 38}
    assert problems(job_with("notifications", chat, chat)) == [
        "notifications[1].id: notifications[0] has the id 'a' as well"
    ]


def test_the_old_manuals_complete_example_is_read() -> None:
    job = load_job(DATA / "complete.json")
    assert [source.id for source in job.sources] == ["config", "data", "db"]
    assert [source.title for source in job.sources][2] == "Live server database"
    assert job.destination("myamazon").type == "s3"
    assert job.ignored == ("sources[2].path",)


def test_without_the_database_fields_the_old_manuals_example_says_what_is_missing() -> None:
    data = json.loads((DATA / "complete.json").read_text())
    for key in ("dbhost", "dbname", "dbuser", "dbpass"):
        del data["sources"][2][key]
    found = problems(data)
    assert found
    assert all(line.startswith("sources[2]") for line in found)


@pytest.mark.parametrize(
    "module",
    [
        *(f"backups.{kind}.{type_}" for kind, type_ in KINDS),
        "backups.notifications.email",
        "backups.sources.postgresql",
        "backups.destinations.smb",
    ],
)
def test_modules_of_the_old_tool_are_accepted(module: str) -> None:
    assert problems(job_data(modules=[module])) == []


def test_a_module_that_is_not_there_is_a_problem_with_its_place() -> None:
    found = problems(job_data(modules=["backups.sources.folder", "backups.sources.nope", "no_such_package.x"]))
    assert [line.partition(":")[0] for line in found] == ["modules[1]", "modules[2]"]
    assert "No module named 'backups.sources.nope'" in found[0]


@pytest.mark.parametrize("code", ["raise RuntimeError('broken')", "import sys; sys.exit(3)", "def"])
def test_a_module_that_breaks_is_a_problem_not_a_traceback(
    code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_backup_module.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    found = problems(job_data(modules=["broken_backup_module"]))
    assert len(found) == 1
    assert found[0].startswith("modules[0]: can't import 'broken_backup_module': ")


@pytest.fixture
def third_party(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that registers a type when it is imported; forgotten after the test."""
    monkeypatch.setattr(SOURCES, "_types", dict(SOURCES._types))
    monkeypatch.setattr(SOURCES, "_names", dict(SOURCES._names))
    monkeypatch.syspath_prepend(str(DATA.parent / "third_party"))
    yield "tape_backups"
    sys.modules.pop("tape_backups", None)


def test_a_module_may_register_more_types(third_party: str) -> None:
    tape = {"type": "tape", "drive": "/dev/st0", "library": "b"}
    assert any("unknown type 'tape'" in line for line in problems(job_with("sources", tape)))
    job = parsed({**job_with("sources", tape), "modules": [third_party]})
    assert job.sources[0].label == "Tape"
    found = problems({**job_with("sources", {"type": "tape"}), "modules": [third_party]})
    assert found == ["sources[0].drive: required for type 'tape'", "sources[0].library: required for type 'tape'"]


@pytest.mark.parametrize("text", ["one\ntwo", "one\n", "\none"])
def test_a_passphrase_of_which_gpg_would_read_a_part_is_refused(text: str) -> None:
    for data in (
        job_data(encryption={"passphrase": text}),
        job_with("sources", {"type": "folder", "path": "/x", "passphrase": text}),
    ):
        found = problems(data)
        assert len(found) == 1
        assert "passphrase: must be one line, since gpg reads no further" in found[0]


@pytest.mark.parametrize("text", ['"quo\'ted"', "ünïcödé ☃", "tab\tand  spaces ", "$(rm -rf /)", "{{resolve:env:X}}"])
def test_any_passphrase_of_one_line_is_taken_as_it_is(text: str) -> None:
    job = parsed(job_data(encryption={"passphrase": text}))
    assert job.settings.encryption is not None
    assert job.settings.encryption.passphrase is not None
    assert job.settings.encryption.passphrase.get_secret_value() == text


SECRET = "PLANTED-4711-SECRET"
VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 70000), st.just(SECRET), st.just([SECRET]), st.just({"a": SECRET}),
    st.just(f"{{{{resolve:{SECRET}:x}}}}"), st.just(f"{SECRET}\n{SECRET}"),
    st.just(f"https://{SECRET}.example.org/{SECRET}"),
)  # fmt: skip


@given(data=st.data(), kind_type=st.sampled_from(KINDS))
def test_no_value_ever_shows_in_a_problem(data: st.DataObject, kind_type: tuple[str, str]) -> None:
    """Whatever is wrong with whichever field, the answer is a job or problems, and these hold no value."""
    kind, type_ = kind_type
    model = LISTS[kind].get(type_)
    assert model is not None
    names = sorted({*model.model_fields, *model.aliases, *model.nested, "unknown"} - {"type", "id"})
    wrong = data.draw(st.dictionaries(st.sampled_from(names), VALUES, max_size=6))
    content = json.dumps(job_with(kind, example(kind, type_, **wrong))).encode()
    try:
        job = parse_job(content, name="nightly", where="nightly.json")
    except JobError as error:
        assert SECRET not in str(error)
    else:
        shown = " ".join((*job.hints(), *job.plain_secrets(), *job.unavailable()))
        assert SECRET not in shown


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=8,
)
ITEM = st.one_of(
    JSON,
    st.fixed_dictionaries(
        {"type": st.sampled_from([type_ for _, type_ in KINDS])}, optional={"id": JSON, "path": JSON}
    ),
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            **{name: st.one_of(JSON, st.lists(ITEM, max_size=3)) for name in LISTS},
            **{name: JSON for name in ("hostname", "tmpdir", "schedule", "timezone", "encryption", "retention")},
        },
    )
)
def test_any_json_is_a_job_or_a_job_error(data: dict[str, Any]) -> None:
    content = json.dumps(data).encode()
    try:
        parse_job(content, name="nightly", where="nightly.json")
    except JobError as error:
        assert error.problems
