"""`run`: an engine that serves until it is stopped, or a signal arrives."""

from __future__ import annotations

import threading
from typing import Any

from ..base.action import Handler
from ..base.logs import log_to_stderr
from .engine import Engine
from .signals import SignalPipe, handling_signals


def run(handler: Handler, *addresses: str, **options: Any) -> None:
    """Serve until the engine is stopped or SIGINT or SIGTERM arrives; a second signal ends it at
    once.

    The first reactor runs on the calling thread, so with one reactor no other thread is needed. If
    a handler on it does not return after the second signal, KeyboardInterrupt is raised in that
    handler, and by `run`. A handler on another thread that does not return is abandoned STOP_GRACE
    seconds after `stop_timeout`.

    Signals are handled if the calling thread is the main thread. An ignored signal stays ignored (a
    shell ignores SIGINT for commands started with `&`). If the program has set a handler for one of
    them, that is called first, and then the engine stops; `run` finally raises its exception, if it
    raised one. Handlers of other signals run between two steps of that reactor: they should raise
    nothing, and call only `execute` of a loop, `async_write` or `wake` of a connection, `submit` of
    a worker pool, or `stop` of the engine, which do not wait there.

    Warnings are printed to standard error unless the program has configured logging. Raises the
    errors of `Engine` and `Engine.start`, and that of a reactor that failed. gnet: Run.
    """
    engine = Engine(handler, *addresses, **options)
    log_to_stderr(engine.logging)
    if threading.current_thread() is not threading.main_thread():
        engine.run_here()
        return
    with SignalPipe(engine) as pipe:
        with handling_signals(pipe):
            engine.run_here(pipe.fileno(), pipe.handle)
        pipe.reraise()
