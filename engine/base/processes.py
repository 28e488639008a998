"""Engines and processes: the end of the program, and forks.

An engine's threads and rings belong to the process that created it. In a forked child the engine no
longer works, and its methods raise EngineStateError; the child's copies of its descriptors are
closed when the child ends or executes another program.
"""

from __future__ import annotations

import atexit
import os
import weakref
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol

EXIT_TIMEOUT: Final = 1.0  # seconds that connections have to end when the program ends
# Seconds that handlers have to return after the stop timeout. Nothing waits longer for a handler:
# neither `stop` nor `run`, nor the end of the program.
STOP_GRACE: Final = 1.0


class Forked(Protocol):
    """An object that exists as a copy in a forked child."""

    def after_fork(self) -> None: ...


class Running(Forked, Protocol):
    """An engine, as the end of the program sees it."""

    @property
    def is_running(self) -> bool: ...
    @property
    def is_given_up(self) -> bool: ...
    def request_stop(self, timeout: float | None = None) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...


_running: weakref.WeakSet[Running] = weakref.WeakSet()
_pools: weakref.WeakSet[Forked] = weakref.WeakSet()


def note_running(engine: Running) -> None:
    """Register an engine that has started."""
    _running.add(engine)


def note_pool(pool: Forked) -> None:
    """Register a new worker pool."""
    _pools.add(pool)


@atexit.register
def _stop_all() -> None:
    """Close connections gracefully when the program ends while engines are running.

    All engines together get EXIT_TIMEOUT for it, plus STOP_GRACE for handlers that do not return:
    their threads are daemons, which the interpreter abandons.
    """
    engines = [engine for engine in _running if engine.is_running and not engine.is_given_up]
    for engine in engines:
        engine.request_stop(EXIT_TIMEOUT)
    deadline = monotonic() + EXIT_TIMEOUT + STOP_GRACE
    for engine in engines:
        with suppress(Exception):  # a failure was logged already, and there is no caller left
            engine.wait(max(0.0, deadline - monotonic()))


def _disown_all() -> None:
    """In a forked child."""
    for engine in list(_running):
        engine.after_fork()
    _running.clear()
    for pool in list(_pools):
        pool.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
