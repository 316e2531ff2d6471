from __future__ import annotations

import signal
import threading

import pytest

from backups.context import Cancel
from backups.errors import ExitCode, StoppedError


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)]
)
def test_a_stop_is_an_error_with_the_exit_code_of_its_signal(number: int, code: ExitCode) -> None:
    cancel = Cancel()
    cancel.check()
    assert not cancel.stopped
    cancel.set(number)
    assert cancel.stopped
    with pytest.raises(StoppedError) as caught:
        cancel.check()
    assert caught.value.code is code


def test_a_stop_calls_what_was_registered_and_not_taken_back() -> None:
    cancel = Cancel()
    called: list[object] = []
    cancel.on_stop(lambda: called.append("first"))
    forget = cancel.on_stop(lambda: called.append("forgotten"))
    cancel.on_stop(lambda: called.append("last"))
    forget()
    forget()
    cancel.set(signal.SIGTERM)
    assert called == ["first", "last"]


def test_what_is_registered_after_a_stop_is_called_at_once() -> None:
    cancel = Cancel()
    called: list[object] = []
    cancel.set(signal.SIGTERM)
    cancel.on_stop(lambda: called.append("late"))
    assert called == ["late"]


def test_one_that_fails_does_not_keep_the_others_from_stopping() -> None:
    cancel = Cancel()
    called: list[object] = []
    cancel.on_stop(lambda: called.remove("nothing"))
    cancel.on_stop(lambda: called.append("second"))
    cancel.set(signal.SIGTERM)
    assert called == ["second"]


def test_a_stop_ends_a_wait() -> None:
    cancel = Cancel()
    cancel.wait(0)
    threading.Timer(0.05, cancel.set, (signal.SIGTERM,)).start()
    with pytest.raises(StoppedError):
        cancel.wait(600)
    with pytest.raises(StoppedError):
        cancel.wait(600)


def test_a_signal_may_interrupt_the_thread_that_is_registering() -> None:
    """The handler runs in the main thread, between any two steps of it."""
    cancel = Cancel()
    called: list[object] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: cancel.set(number))
    try:
        sender = threading.Thread(target=_send, args=(200,))
        sender.start()
        while sender.is_alive():
            cancel.on_stop(lambda: called.append("meanwhile"))()
        sender.join()
        cancel.on_stop(lambda: called.append("after"))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert cancel.stopped
    assert called[-1] == "after"


def _send(times: int) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGUSR1)
