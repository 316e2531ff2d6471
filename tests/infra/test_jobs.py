"""Which job files may be deployed: every problem of every file at once, and no value of any secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from backups.errors import JobError, UsageError
from backups.sources.rds import RDS
from infra.jobs import read_jobs, refusals, warnings
from tests.infra.conftest import JOBS
from tests.jobs import parsed

PLANTED = "planted-in-plain"


def nightly(**changes: Any) -> dict[str, Any]:
    return {**json.loads((JOBS / "nightly.json").read_text()), **changes}


def refused(directory: Path, **files: dict[str, Any] | str) -> list[str]:
    """The problems of these files, without the directory."""
    for name, content in files.items():
        text = content if isinstance(content, str) else json.dumps(content)
        (directory / f"{name}.json").write_text(text)
    with pytest.raises(JobError) as caught:
        read_jobs(directory)
    return [problem.replace(f"{directory}/", "") for problem in caught.value.problems]


def test_good_files_are_read_by_name(tmp_path: Path) -> None:
    assert [deployed.name for deployed in read_jobs(JOBS)] == ["nightly", "weekly"]
    assert read_jobs(tmp_path) == []


def test_a_missing_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such directory"):
        read_jobs(tmp_path / "gone")


def test_every_problem_of_every_file_at_once(tmp_path: Path) -> None:
    found = refused(
        tmp_path,
        broken='{"sources": [,]}',
        nameless={key: value for key, value in nightly().items() if key != "hostname"},
        typo=nightly(scedule="30 2 * * *"),
    )
    assert len(found) == 3
    assert found[0].startswith("broken.json:1:14: not valid JSON")
    assert found[1].startswith("nameless.json: hostname: required in a deployed job")
    assert found[2].startswith("typo.json: scedule: unknown key (did you mean 'schedule'?)")


def test_secrets_in_plain_are_refused_without_showing_them(tmp_path: Path) -> None:
    data = nightly(encryption={"passphrase": PLANTED})
    data["sources"][0]["dbpass"] = PLANTED
    data["notifications"][0]["url"] = f"https://hooks.example.org/{PLANTED}"
    found = refused(tmp_path, plain=data)
    assert [line.split(": ")[1] for line in found] == [
        "encryption.passphrase",
        "sources[0].dbpass",
        "notifications[0].url",
    ]
    assert PLANTED not in "\n".join(found)


def test_references_to_what_a_task_does_not_have_are_refused(tmp_path: Path) -> None:
    data = nightly(encryption={"passphrase": "{{resolve:env:PASS}}"})
    data["sources"][0]["dbpass"] = "{{resolve:file:/run/secret}}"
    found = refused(tmp_path, local=data)
    assert any("the root: {{resolve:env:…}} names an environment variable" in line for line in found)
    assert any("sources[0]: {{resolve:file:…}} names a file" in line for line in found)


def test_types_that_mean_nothing_in_a_task_are_refused(tmp_path: Path) -> None:
    data = nightly(
        destinations=[{"id": "disk", "type": "local", "path": "/mnt"}],
        notifications=[{"id": "flag", "type": "flagfile", "filename": "/tmp/flag"}],
    )
    found = refused(tmp_path, here=data)
    assert [line.split(":")[1].strip() for line in found] == ["destinations[0]", "notifications[0]"]


def test_a_flag_file_of_a_deployed_job_is_on_a_host_or_a_plain_key_of_a_bucket(tmp_path: Path) -> None:
    flags = [
        {"id": "here", "type": "flagfile", "filename": "/tmp/flag"},
        {"id": "host", "type": "flagfile", "filename": "/tmp/flag", "host": "tag:Role=web"},
        {"id": "bucket", "type": "flagfile", "filename": "flags/nightly.ok", "bucket": "monitoring"},
        {"id": "any", "type": "flagfile", "filename": "flags/*", "bucket": "monitoring"},
    ]
    found = refused(tmp_path, flags=nightly(notifications=flags))
    assert found == [
        "flags.json: notifications[0]: would write to the disk of a Lambda, which nobody sees: give the 'host' or the "
        "'bucket' of the file",
        "flags.json: notifications[3].filename: must be a plain key, since rights are derived from it",
    ]


def test_rclone_needs_its_configuration_as_a_secret_and_is_warned_of(tmp_path: Path) -> None:
    box = {"id": "box", "type": "rclone", "remote": "box"}
    assert refused(tmp_path, bare=nightly(destinations=[box])) == [
        "bare.json: destinations[0].config: required in a deployed job, since a worker has no file of rclone's"
    ]
    job = parsed(nightly(destinations=[{**box, "config": "{{resolve:ssm-secure:/rclone}}"}]))
    assert refusals(job) == []
    assert [line for line in warnings(job) if "backups prune" in line]


@pytest.mark.parametrize(
    ("field", "value"),
    [("bucket", "{{resolve:ssm:bucket}}"), ("prefix", "team-*/"), ("prefix", "${aws:username}/")],
)
def test_names_that_rights_are_derived_from_are_plain(tmp_path: Path, field: str, value: str) -> None:
    data = nightly()
    data["destinations"][0][field] = value
    assert refused(tmp_path, wide=data) == [
        f"wide.json: destinations[0].{field}: must be a plain name, since rights are derived from it"
    ]


def test_types_that_can_t_run_yet_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RDS, "unavailable", "its server is not built")
    data = nightly()
    data["sources"] = [
        {
            "id": "db",
            "type": "rds",
            "instancename": "i",
            "dbname": "d",
            "dbuser": "u",
            "dbpass": "{{resolve:ssm-secure:x}}",
        }
    ]
    assert any("type 'rds' is understood but can't run yet" in line for line in refused(tmp_path, later=data))


@pytest.mark.parametrize("name", ["with space", "a.b", "a" * 64])
def test_names_that_are_no_names_are_refused(tmp_path: Path, name: str) -> None:
    assert any("the file's name becomes the job's" in line for line in refused(tmp_path, **{name: nightly()}))


def test_a_folder_is_warned_of() -> None:
    deployed = read_jobs(JOBS)[0]
    (warning,) = warnings(deployed.job)
    assert warning.startswith("sources[1]: without 'host'")
