"""Running a call on a worker: its result goes into a future, or back to a connection."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, Protocol

from ..base.errors import ConnectionClosed, QueueFull
from ..base.logs import Log

Task = Callable[[], object]


class Executes(Protocol):
    """The event loop that a result goes to."""

    def execute(self, call: Task) -> None: ...


class OnLoop(Protocol):
    """A connection, as a worker pool sees it."""

    @property
    def loop(self) -> Executes: ...


def fulfil(future: Future[Any], call: Callable[..., Any], args: Any, kwargs: Any) -> None:
    """Make the call unless the future was cancelled, and set its result or exception."""
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
    """Make the call, then have `then(conn, result, error)` called on the connection's thread."""
    result, failure = None, None
    try:
        result = call()
    except BaseException as error:
        failure = error
    try:
        conn.loop.execute(partial(then, conn, result, failure))
    except (ConnectionClosed, QueueFull) as error:
        log.error("the result of a task for %r is lost: %s", conn, error)
    finally:
        failure = None  # its traceback refers to this frame: no cycle
