"""Some calls at a time, with their results in order."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_order(call: Callable[[T], R], items: Iterable[T], at_once: int, name: str) -> Iterator[R]:
    """The result of the call for each item, in the order of the items; raises what a call raises.

    ``at_once`` calls run at a time, in threads called ``name``; the next item is taken when there is room for its call.
    One at a time they run in the thread of the caller. The threads are daemons, unlike those of an executor: whoever
    is stopped by a signal does not wait for a request that hangs.
    """
    if at_once <= 1:
        yield from map(call, items)
        return
    going: deque[Future[R]] = deque()
    for item in items:
        going.append(_begin(call, item, name))
        if len(going) == at_once:
            yield going.popleft().result()
    while going:
        yield going.popleft().result()


def _begin(call: Callable[[T], R], item: T, name: str) -> Future[R]:
    future: Future[R] = Future()

    def work() -> None:
        try:
            future.set_result(call(item))
        except BaseException as error:  # it is raised where the result is asked for
            future.set_exception(error)

    threading.Thread(target=work, name=name, daemon=True).start()
    return future
