"""Writes that are on their way, against a server of which only the credit is looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from backups.destinations.samba.writes import Writes, credit


class File:
    """An open file on a connection whose window has this room, and whose server gives back what a write has taken."""

    def __init__(self, window: int) -> None:
        self.fd: Any = self
        self.connection = SimpleNamespace(sequence_window={"low": 0, "high": window}, max_write_size=1 << 20)
        self.end_of_file = 0
        self.heard: list[int] = []

    def _write_response(self, size: int) -> int:
        self.connection.sequence_window["high"] += 1
        self.heard.append(size)
        return size


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Writes:
    def request(self: Writes, data: memoryview, offset: int) -> int:
        self._file.connection.sequence_window["low"] += 1
        return len(data)

    monkeypatch.setattr(Writes, "_request", request)
    return Writes()


def test_another_request_finds_credit_although_writes_took_all(writes: Writes) -> None:
    file = File(2)
    for offset in (0, 10):
        writes.add(offset, bytes(10))
    writes.advance(file, 3)
    assert (credit(file), file.heard) == (0, [])
    writes.leave_credit(file)
    assert credit(file) > 0
    assert file.heard == [10], "only as many answers are waited for as it takes"
    writes.leave_credit(file)
    writes.advance(file, 0)
    assert file.heard == [10, 10]


def test_the_credit_of_a_connection_that_is_gone_is_not_waited_for(writes: Writes) -> None:
    writes.add(0, bytes(10))
    writes.advance(File(1), 3)
    writes.leave_credit(File(0))
