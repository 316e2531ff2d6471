"""References to secrets are checked when the file is read, not when the backup runs."""

from __future__ import annotations

import pytest

from backups.jobfile.references import FORMS, is_whole_reference, reference_problem
from tests.jobs import job_data, problems

GOOD = [
    *FORMS.values(),
    "{{resolve:secretsmanager:NAME}}",
    "{{resolve:secretsmanager:NAME:SecretString:KEY:AWSCURRENT}}",
    "{{resolve:secretsmanager:NAME:SecretString:KEY::version}}",
    "{{resolve:secretsmanager:arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf:SecretString:key}}",
    "{{resolve:ssm-secure:/prod/db/password}}",
    "{{resolve:file:/run/secrets/with a space}}",
]
BAD = [
    "{{resolve:vault:x}}",
    "{{resolve:secretmanager:NAME:SecretString:KEY}}",
    "{{resolve:}}",
    "{{resolve}}",
    "{{resolve:env:}}",
    "{{resolve:env:NAME}",
    "{{resolve:env:NAME",
    "{{ resolve:env:NAME}}",
    "{{Resolve:env:NAME}}",
    "{{resolve:env:NA ME}}",
    "{{resolve:env:1NAME}}",
    "{{resolve:secretsmanager:NAME:KEY}}",
    "{{resolve:secretsmanager:NAME:SecretBinary:KEY}}",
    "{{resolve:env:GOOD}} and {{resolve:nope:BAD}}",
]


@pytest.mark.parametrize("text", [*GOOD, "", "no reference", "{{ other }}", "a {{resolve:env:A}} b {{resolve:env:B}}"])
def test_good_ones_pass(text: str) -> None:
    assert reference_problem(text) == ""


@pytest.mark.parametrize("text", BAD)
def test_bad_ones_are_refused_with_the_way_to_write_them(text: str) -> None:
    problem = reference_problem(text)
    assert "reference" in problem
    assert "{{resolve:" in problem


def test_a_near_miss_is_named() -> None:
    assert "did you mean 'secretsmanager'?" in reference_problem("{{resolve:secretmanager:NAME}}")
    assert reference_problem("{{resolve:env:}}") == "malformed reference: write {{resolve:env:NAME}}"


def test_what_stands_in_a_bad_one_is_not_shown() -> None:
    assert "hunter2" not in reference_problem("{{resolve:hunter2}}")
    assert "hunter2" not in reference_problem("{{resolve:hunter2:hunter2}}")


@pytest.mark.parametrize("text", GOOD)
def test_a_whole_reference_holds_nothing_else(text: str) -> None:
    assert is_whole_reference(text)
    assert not is_whole_reference(f"{text} ")
    assert not is_whole_reference(f"x{text}")
    assert is_whole_reference(text * 2)


def test_nothing_is_no_reference() -> None:
    assert not is_whole_reference("")


def test_the_job_file_names_the_place_of_a_bad_one() -> None:
    data = job_data(encryption={"passphrase": "{{resolve:vault:x}}"})
    data["sources"][0]["excludes"] = ["a", "{{resolve:env:}}"]
    found = problems(data)
    assert any(line.startswith("encryption.passphrase: a reference to an unknown service") for line in found)
    assert "sources[0].excludes[1]: malformed reference: write {{resolve:env:NAME}}" in found
