"""A source learns whose work it does, and at the end whether a verified copy stands anywhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backups.commands import Command
from backups.context import Context, Task
from backups.errors import SourceError
from backups.progress import Progress
from backups.records import Outcome
from backups.sources.base import SourceStream
from backups.sources.command_stream import CommandStream
from tests.integration.scripted import KEY, Faults, Scripted, Setup, fail, nothing_left

TOLD: list[object] = []


class Settling(Scripted):
    """Notes down what it is told."""

    refuses: bool = False

    def open(self, context: Context) -> SourceStream:
        TOLD.append(context.task)
        context.task.tell("waiting for it")
        return SettlingStream(Command(self.argv), self.refuses)


class SettlingStream(CommandStream):
    """The child's output."""

    def __init__(self, command: Command, refuses: bool) -> None:
        super().__init__(command)
        self._refuses = refuses

    def close(self) -> None:
        super().close()
        TOLD.append("closed")

    def settle(self, stored: bool) -> None:
        TOLD.append(stored)
        if stored and self._refuses:
            raise SourceError("it can't be made to count")


@pytest.fixture
def setup(tmp_path: Path, context: Context) -> Iterator[Setup]:
    TOLD.clear()
    with nothing_left(context):
        yield Setup(tmp_path, context)


def source(script: str = "echo data", *, refuses: bool = False) -> Settling:
    return Settling(id="data", argv=("/bin/sh", "-c", script), refuses=refuses, time_limit=77)


def test_it_knows_its_task_and_is_told_after_the_end_that_a_copy_is_stored(setup: Setup) -> None:
    progress = Progress("data")
    assert setup.run(source(), setup.local("a"), progress=progress).outcome is Outcome.STORED
    task, *told = TOLD
    assert isinstance(task, Task) and task.tell == progress.enter
    assert (task.job, task.run, task.hostname, task.source) == ("nightly", "20261123T020000Z", "host", "data")
    assert (task.key, task.time_limit) == (KEY, 77)
    assert told == ["closed", True]


def test_one_good_destination_is_enough(setup: Setup) -> None:
    faults = Faults(commit=fail())
    assert setup.run(source(), setup.local("a"), setup.faulty("b", faults)).outcome is Outcome.PARTIAL
    assert TOLD[1:] == ["closed", True]


@pytest.mark.parametrize("step", ["connect", "write", "commit", "commit_manifest"])
def test_without_a_verified_copy_it_does_not_count(setup: Setup, step: str) -> None:
    result = setup.run(source(), setup.faulty("a", Faults(**{step: fail()})))
    assert result.outcome is Outcome.FAILED
    assert TOLD[1:] == ["closed", False]


def test_nor_when_the_stream_was_not_whole(setup: Setup) -> None:
    assert setup.run(source("echo data; exit 1"), setup.local("a")).outcome is Outcome.FAILED
    assert TOLD[1:] == ["closed", False]


def test_a_source_that_can_not_be_made_to_count_has_failed(setup: Setup) -> None:
    result = setup.run(source(refuses=True), setup.local("a"))
    assert (result.outcome, result.error) == (Outcome.FAILED, "it can't be made to count")
