"""The command line's own help is right: each example in it is a command that parses."""

from __future__ import annotations

import argparse
import re
import shlex

import pytest

from backups.cli.arguments import backup_parser, parser
from backups.cli.texts import EXIT_CODES
from backups.errors import ExitCode

COMMANDS = ["run", "plan", "list", "verify", "restore", "prune", "validate", "schema", "convert", "start", "watch"]
TOUCHING = {"run", "list", "verify", "restore", "prune"}


def subparsers() -> dict[str, argparse.ArgumentParser]:
    """Every command's own parser."""
    [action] = [each for each in parser()._actions if isinstance(each, argparse._SubParsersAction)]
    return dict(action.choices)


def test_every_command_is_there() -> None:
    assert set(subparsers()) == {*COMMANDS, "cancel", "notify"}


@pytest.mark.parametrize("name", sorted({*COMMANDS, "cancel", "notify"}))
def test_help_shows_examples_that_parse_and_exit_codes(name: str) -> None:
    text = subparsers()[name].format_help()
    assert EXIT_CODES.strip() in text
    assert ("RUN_AS_USER" in text) == (name in TOUCHING)
    examples = re.findall(r"^ +(?:[\d* ]+ )?backups (.+?)(?:   .*| [|>] .*)?$", text.partition("example")[2], re.M)
    assert examples
    for example in examples:
        given = parser().parse_args(shlex.split(example))
        assert given.as_user == (given.command is not None and example.split()[0] in TOUCHING)


def test_exit_codes_in_the_help_are_all_there_are() -> None:
    shown = {int(code) for code in re.findall(r"^  (\d+)", EXIT_CODES, re.MULTILINE)}
    assert shown == set(ExitCode)


def test_abbreviated_options_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """`--dry` that some day means something else must not run."""
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["run", "job.json", "--dry"])
    assert ended.value.code == ExitCode.USAGE
    assert "--dry" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"backups \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_old_command_takes_what_it_always_took() -> None:
    given = backup_parser().parse_args(["-v", "/home/backups/mynightlybackup.cfg"])
    assert (str(given.job), given.verbose, given.as_user) == ("/home/backups/mynightlybackup.cfg", True, True)
