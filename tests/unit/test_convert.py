"""Old job files become ones that may be deployed: valid, in one spelling, and without a secret."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backups.errors import JobError
from backups.job import parse_job
from backups.jobfile.convert import Converted, convert, repaired
from backups.secrets import Secrets
from tests.jobs import DATA, KINDS, example, job_with, parsed, problems


def _converted(data: dict[str, Any], name: str = "nightly") -> Converted:
    return convert(json.dumps(data), name=name)


def test_the_old_manuals_complete_example_as_printed_becomes_valid() -> None:
    text = (DATA / "complete-as-printed.json").read_text()
    result = convert(text, name="nightly")
    assert result.secret_name == "backups/nightly"
    assert result.secrets == {
        "config_passphrase": "youllneverguesswhat",
        "data_passphrase": "youllneverguesswhat",
        "db_passphrase": "youllneverguesswhat",
        "myamazon_aws_secret_access_key": "YOURSECRETACCESSKEY",
    }
    assert result.changes[:2] == (
        "line 30: removed the comma after the last item",
        "modules: removed those that are built in",
    )
    assert "sources[2].path: removed, it did nothing" in result.changes
    data = json.loads(result.job)
    assert "modules" not in data
    assert data["sources"][0]["passphrase"] == (
        "{{resolve:secretsmanager:backups/nightly:SecretString:config_passphrase}}"
    )
    data["sources"][2].update(dbhost="localhost", dbname="live", dbuser="backups", dbpass="{{resolve:env:DBPASS}}")
    job = parsed(data)
    assert job.plain_secrets() == []
    assert job.ignored == ()


def test_the_brace_of_the_old_manuals_mail_example_is_repaired() -> None:
    text = (
        '{\n  "host": "h",\n  "credentials": {}\n    "username": "u",\n    "password": "p"\n  },\n  "use_tls": 1,\n}\n'
    )
    valid, repairs = repaired(text)
    assert json.loads(valid) == {"host": "h", "credentials": {"username": "u", "password": "p"}, "use_tls": 1}
    assert repairs == [
        "line 3: removed a brace that closed an object before its keys",
        "line 7: removed the comma after the last item",
    ]


def test_spellings_become_those_of_the_models() -> None:
    data = job_with(
        "destinations",
        {"id": "share", "type": "smb", "host": "h", "share": "s", "credentials": {"username": "u", "password": "pppp"}},
    )
    data["notifications"] = [{"type": "discord", "url": "https://d.example.org/token", "notify_on_success": "0"}]
    result = _converted(data)
    new = json.loads(result.job)
    assert new["destinations"][0] == {
        "id": "share",
        "type": "samba",
        "hostname": "h",
        "share": "s",
        "username": "u",
        "password": "{{resolve:secretsmanager:backups/nightly:SecretString:share_password}}",
    }
    assert new["notifications"][0]["notify_on_success"] is False
    assert "destinations[0].host: is now destinations[0].hostname" in result.changes
    assert "destinations[0].credentials.password: is now destinations[0].password" in result.changes
    assert result.secrets["discord_url"] == "https://d.example.org/token"


def test_the_old_manuals_rds_example_that_says_pgsql_becomes_rds() -> None:
    item = {**example("sources", "rds"), "type": "pgsql", "dbpass": "pppp"}
    new = json.loads(_converted(job_with("sources", item)).job)
    assert new["sources"][0]["type"] == "rds"
    assert problems(new) == []


def test_two_secrets_of_one_name_get_two_keys_and_equal_ones_share_theirs() -> None:
    data = job_with("notifications", *({"type": "discord", "url": f"https://{name}"} for name in ("a", "b", "a")))
    result = _converted(data)
    urls = [channel["url"].removesuffix("}}").rpartition(":")[2] for channel in json.loads(result.job)["notifications"]]
    assert urls == ["discord_url", "discord_url_2", "discord_url"]
    assert result.secrets["discord_url"] == "https://a"
    assert result.secrets["discord_url_2"] == "https://b"


def test_what_is_a_reference_already_stays() -> None:
    data = job_with("sources", example("sources", "pgsql"))
    data["encryption"] = {"passphrase": "{{resolve:env:PASS}}"}
    result = _converted(data)
    assert result.secrets == {}
    assert json.loads(result.job)["encryption"] == data["encryption"]


def test_modules_of_others_stay() -> None:
    data = job_with("sources", example("sources", "folder"))
    data["modules"] = ["backups.sources.folder", "backups.notifications.email", "company.tape"]
    assert json.loads(_converted(data).job)["modules"] == ["company.tape"]


def test_a_number_that_should_be_a_password_is_moved_as_text() -> None:
    result = _converted(job_with("sources", example("sources", "pgsql", dbpass=123456)))
    assert result.secrets["ledger_dbpass"] == "123456"
    assert problems(json.loads(result.job)) == []


def test_what_is_unknown_is_left_for_the_check_to_find() -> None:
    data = {"hostnam": "x", "sources": [3, {"type": "tape", "reel": 1}, {"path": "/x"}], "destinations": "none"}
    assert json.loads(_converted(data).job) == data


@pytest.mark.parametrize("name", ["with space", "ümläut", "a:b}}", "plain"])
def test_the_references_work_whatever_the_job_is_called(name: str) -> None:
    result = _converted(job_with("sources", example("sources", "folder", passphrase="pppp")), name=name)
    assert problems(json.loads(result.job)) == []
    secret_names: list[str] = []

    def lookup(rest: str) -> str:
        secret_name, _, key = rest.partition(":SecretString:")
        secret_names.append(secret_name)
        return result.secrets[key]

    job = parse_job(result.job.encode(), name="x", where="x")
    resolved = Secrets({"secretsmanager": lookup}).resolve(job.sources[0])
    assert resolved.passphrase is not None
    assert resolved.passphrase.get_secret_value() == "pppp"
    assert secret_names == [result.secret_name]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1,, }', "old.cfg:1:8: not valid JSON"),
        ('{"a": "x}', "old.cfg:1:7: not valid JSON"),
        ("[]", "old.cfg: a job file is a JSON object"),
        (
            '{"destinations": [{"type": "samba", "host": "a", "hostname": "b"}]}',
            "old.cfg: destinations[0].hostname: 'hostname' is given twice",
        ),
    ],
)
def test_what_cannot_be_repaired_is_an_error_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(JobError) as caught:
        convert(text, name="old", where="old.cfg")
    assert caught.value.problems[0].startswith(problem)


SECRET_FIELDS = {"dbpass", "password", "url", "access_token", "api_token", "aws_secret_access_key", "passphrase"}


@pytest.mark.parametrize(("kind", "type_"), KINDS)
def test_no_secret_stays_in_the_file_or_shows_in_what_is_told(kind: str, type_: str) -> None:
    planted = {key: f"https://PLANTED-{key}" for key in example(kind, type_) if key in SECRET_FIELDS}
    if type_ in ("matrix", "prometheus"):
        del planted["url"]
    data = job_with(kind, example(kind, type_, **planted))
    data["encryption"] = {"passphrase": "PLANTED-passphrase"}
    result = _converted(data)
    told = result.job + repr(result) + "".join(result.changes)
    assert "PLANTED" not in told
    assert set(result.secrets.values()) == {*planted.values(), "PLANTED-passphrase"}
    assert problems(json.loads(result.job)) == []


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=12,
)


@given(JSON)
def test_valid_json_needs_no_repair(data: Any) -> None:
    for text in (json.dumps(data), json.dumps(data, indent=2, ensure_ascii=False)):
        assert repaired(text) == (text, [])


@given(st.dictionaries(st.text(), st.one_of(st.text(), st.lists(st.text(), min_size=1)), min_size=1))
def test_commas_after_the_last_item_are_removed_and_texts_are_left_alone(data: dict[str, Any]) -> None:
    text = json.dumps(data, indent=1).replace("\n ]", ",\n ]")[:-2] + ",\n}"
    assert json.loads(repaired(text)[0]) == data
