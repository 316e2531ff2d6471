"""docs/configuration.md is what the models say."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from backups.errors import ExitCode
from backups.jobfile import documentation
from backups.jobfile.documentation import BASES, EXIT_CODES, configuration_markdown
from backups.jobfile.examples import SMALLEST
from backups.jobfile.reader import LISTS
from tests.jobs import problems

DOCUMENT = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_document_is_up_to_date() -> None:
    again = "run: python -m backups.jobfile.documentation > docs/configuration.md"
    assert DOCUMENT.read_text(encoding="utf-8") == configuration_markdown(), again


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert documentation.__file__
    runpy.run_path(documentation.__file__, run_name="__main__")
    assert capsys.readouterr().out == configuration_markdown()


def test_the_smallest_job_is_a_whole_one() -> None:
    assert problems(SMALLEST) == []


@pytest.mark.parametrize("kind", LISTS)
def test_every_type_and_every_key_is_there(kind: str) -> None:
    text = configuration_markdown()
    for model in LISTS[kind]:
        type_ = model.model_fields["type"].default
        section = text.split(f"\n### `{type_}`: ", 1)[1].split("\n#", 1)[0]
        for key in set(model.model_fields) - set(BASES[kind].model_fields):
            assert f"| `{key}` |" in section, f"{type_}: {key}"
        assert ("can't run yet" in section) == bool(model.unavailable)


def test_every_exit_code_is_explained() -> None:
    assert set(EXIT_CODES) == set(ExitCode)


def test_the_examples_are_json_and_the_tables_even() -> None:
    text = configuration_markdown()
    blocks = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    assert len(blocks) > len([model for registry in LISTS.values() for model in registry])
    for block in blocks:
        json.loads(block)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
