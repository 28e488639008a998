"""`run`: an engine that serves until it is stopped, or a signal comes."""

from __future__ import annotations

import threading
from typing import Any

from ..base.action import Handler
from ..base.logs import log_to_stderr
from .engine import Engine
from .signals import SignalPipe, handling_signals


def run(handler: Handler, *addresses: str, **options: Any) -> None:
    """Serve until the engine is stopped, or SIGINT or SIGTERM comes; a second one ends at once.

    The first reactor runs on the calling thread, so with one reactor no other thread is needed.
    Where a handler on it has not returned when the second signal came, KeyboardInterrupt is raised
    in that handler, and by `run`. A handler on another thread that does not return is left behind
    STOP_GRACE seconds after `stop_timeout`.

    Signals are handled where that is the main thread. One that is ignored stays ignored (a shell
    has SIGINT ignored by what it starts with `&`). A handler that the program has set for one of
    them is called first, and then the engine stops; what it raises, `run` raises in the end. Any
    other handler of a signal runs between two steps of that reactor: let it only call `execute` of
    a loop, `async_write` or `wake` of a connection, `submit` of a worker pool, or `stop` of the
    engine, which wait for nothing there, and raise nothing.

    Warnings are printed to standard error unless the program has said where the log shall go.
    Raises what `Engine` and `Engine.start` raise, and what made a reactor fail. gnet: Run.
    """
    engine = Engine(handler, *addresses, **options)
    log_to_stderr(engine.logging)
    if threading.current_thread() is not threading.main_thread():
        engine.run_here()
        return
    with SignalPipe(engine) as pipe:
        with handling_signals(pipe):
            engine.run_here(pipe.fileno(), pipe.handle)
        pipe.raise_what_was_raised()
