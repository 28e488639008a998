"""What engines have to do with processes: their end, and their forks.

An engine's threads and rings belong to the process that made it. In a forked child nothing of it
works any more, and what is tried raises EngineStateError; the child's copies of its descriptors are
closed when it ends or executes another program.
"""

from __future__ import annotations

import atexit
import os
import weakref
from contextlib import suppress
from time import monotonic
from typing import Final, Protocol

EXIT_TIMEOUT: Final = 1.0  # seconds that connections have to end when the program does
# Seconds that handlers get to return when the time to stop is over. Nothing waits for one that
# takes longer: neither `stop` nor `run`, nor the end of the program.
STOP_GRACE: Final = 1.0


class Forked(Protocol):
    """What a forked child has a copy of."""

    def be_forked(self) -> None: ...


class Running(Forked, Protocol):
    """An engine, as the end of its program sees it."""

    @property
    def is_running(self) -> bool: ...
    @property
    def is_given_up(self) -> bool: ...
    def request_stop(self, timeout: float | None = None) -> None: ...
    def wait(self, timeout: float | None = None) -> bool: ...


_running: weakref.WeakSet[Running] = weakref.WeakSet()
_pools: weakref.WeakSet[Forked] = weakref.WeakSet()


def note_running(engine: Running) -> None:
    """An engine has started."""
    _running.add(engine)


def note_pool(pool: Forked) -> None:
    """A worker pool was made."""
    _pools.add(pool)


@atexit.register
def _stop_all() -> None:
    """A program that ends with an engine running closes its connections in good order.

    All engines together get EXIT_TIMEOUT for it, and STOP_GRACE for handlers that do not return:
    their threads are daemons, which the interpreter leaves behind.
    """
    engines = [engine for engine in _running if engine.is_running and not engine.is_given_up]
    for engine in engines:
        engine.request_stop(EXIT_TIMEOUT)
    deadline = monotonic() + EXIT_TIMEOUT + STOP_GRACE
    for engine in engines:
        with suppress(Exception):  # what made it fail was logged, and nobody is left to get it
            engine.wait(max(0.0, deadline - monotonic()))


def _disown_all() -> None:
    """In a forked child."""
    for engine in list(_running):
        engine.be_forked()
    _running.clear()
    for pool in list(_pools):
        pool.be_forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
