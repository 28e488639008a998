"""What a worker does with a call: its result goes into a future, or back to a connection."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

from ..base.errors import ConnectionClosed, QueueFull
from ..base.logs import Log

Task = Callable[[], object]


class Executes(Protocol):
    """Where a result goes."""

    def execute(self, call: Task) -> None: ...


class OnLoop(Protocol):
    """A connection, as work for it sees it."""

    @property
    def loop(self) -> Executes: ...


def fulfil(future: Future[Any], call: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """Make the call, unless the future was cancelled, which gets what it returns or raises."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = call(*args, **kwargs)
    except BaseException as error:
        future.set_exception(error)
        del future  # the error's traceback refers to this frame: no cycle
    else:
        future.set_result(result)


def bring_back(
    log: Log,
    conn: OnLoop,
    call: Callable[[], Any],
    then: Callable[..., object],
) -> None:
    """Make the call, and `then(conn, result, error)` on the connection's thread."""
    result, failure = None, None
    try:
        result = call()
    except BaseException as error:
        failure = error
    try:
        conn.loop.execute(partial(then, conn, result, failure))
    except (ConnectionClosed, QueueFull) as error:
        log.error("a result for %r is lost: %s", conn, error)
    finally:
        failure = None  # its traceback refers to this frame: no cycle
