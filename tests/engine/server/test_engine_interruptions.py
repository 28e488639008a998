"""An engine that is used by who interrupts it, at any line, as a handler of a signal does."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from threading import Thread

import pytest
import ringnet
from engine_tools import BACKENDS, WAIT, Recorder, dial, on_loop, receive, served, until
from interruption_tools import Interruption, at_each_line, bounded

HOME = Path(ringnet.__file__).parent
FILES = {
    str(path) for room in ("engine", "uring", "fallback") for path in (HOME / room).rglob("*.py")
}

Call = Callable[[ringnet.Engine], object]
ANY: dict[str, Call] = {
    "execute": lambda engine: engine.reactors[0].execute(int),
    "count": lambda engine: (engine.count_connections(), engine.connections(), repr(engine)),
    "stop": lambda engine: engine.request_stop(5),
    "write": lambda engine: [conn.async_write(b"!") for conn in engine.connections()],
    "wait": lambda engine: engine.wait(0) if not engine.reactors[0].is_current else None,
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("outer", ["execute", "count", "write", "wait"])
@pytest.mark.parametrize("inner", ["execute", "count", "write", "wait"])
def test_anything_in_anything(backend: str, outer: str, inner: str) -> None:
    handler = Recorder()
    with served(backend, handler) as engine, dial(engine) as client:
        handler.expect("open")

        def trial(line: int) -> bool:
            interruption = Interruption(FILES, line, partial(ANY[inner], engine))
            interruption.during(partial(ANY[outer], engine))
            return interruption.left <= 0

        bounded(lambda: at_each_line(trial))
        client.sendall(b"end")
        while b"end" not in receive(client, 1) + client.recv(65536):
            pass


@pytest.mark.parametrize("backend", ["io_uring", "epoll"])
@pytest.mark.parametrize("outer", ["stop", "wait"])
@pytest.mark.parametrize("inner", ["stop", "wait", "count"])
def test_stop_and_wait(backend: str, outer: str, inner: str) -> None:
    """`stop` waits for nothing where it interrupts `wait`; the engine ends in any case."""
    calls: dict[str, Call] = {
        "stop": lambda engine: engine.stop(5),
        "wait": lambda engine: engine.wait(0.05),
        "count": ANY["count"],
    }

    def trial(line: int) -> bool:
        with served(backend, Recorder()) as engine:
            interruption = Interruption(FILES, line, partial(calls[inner], engine))
            interruption.during(partial(calls[outer], engine))
            if isinstance(interruption.outcome, Exception):  # never for ever
                assert inner == "wait"
                assert "would wait for the code that it interrupts" in str(interruption.outcome)
            engine.request_stop()
            assert engine.wait(WAIT)
        return interruption.left <= 0

    bounded(lambda: at_each_line(trial))


@pytest.mark.parametrize("backend", BACKENDS)
def test_stop_on_the_loop_in_whatever_a_loop_does(backend: str) -> None:
    """With the lines of a loop's own steps: a turn, an accepted connection, its end."""

    def trial(line: int) -> bool:
        handler = Recorder()
        with served(backend, handler) as engine:
            loop = engine.reactors[0]
            interruption = Interruption(FILES, line * 7, partial(ANY["stop"], engine))
            on_loop(loop, partial(loop.execute, partial(trace_on, interruption)))
            # A listener that closes meanwhile refuses, or resets what waits in its backlog.
            with suppress(ConnectionRefusedError, ConnectionResetError), dial(engine):
                until(lambda: interruption.left <= 0 or not handler.seen.empty())
            waiter = Thread(target=engine.stop, daemon=True)
            waiter.start()
            waiter.join(WAIT)
            assert not waiter.is_alive()
            assert not engine.is_running
        return interruption.left <= 0

    bounded(lambda: at_each_line(trial))


def trace_on(interruption: Interruption) -> None:
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        frame.f_trace = interruption.trace  # type: ignore[assignment]
    sys.settrace(interruption.trace)
