"""What engines have to do with processes: their end, and their forks.

An engine's threads and rings belong to the process that made it. In a forked child nothing of it
works any more, and what is tried raises EngineStateError; the child's copies of its descriptors are
closed when it ends or executes another program.
"""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .server import Engine

_running: weakref.WeakSet[Engine] = weakref.WeakSet()


def note_running(engine: Engine) -> None:
    """An engine has started."""
    _running.add(engine)


@atexit.register
def _stop_all() -> None:
    """A program that ends with an engine running closes its connections in good order."""
    for engine in list(_running):
        if engine.is_running:
            engine.stop(timeout=1.0)


def _disown_all() -> None:
    """In a forked child."""
    for engine in list(_running):
        engine.be_forked()
    _running.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
